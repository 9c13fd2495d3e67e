/* fuzz_order.c - any bytes as order.bin: refused, or entries that cover the
 * tokens one behind the other. The first 3 bytes are the counts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/order.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_err err = KJ_ERR_INIT;
    if (n < 3)
        return 0;
    if (kj_order_check(p + 3, n - 3, p[0], p[1], p[2], &err) != KJ_OK)
        return err.rc == KJ_FAIL && err.msg[0] ? 0 : (abort(), 0);
    uint64_t w[2], before = 0;
    for (size_t i = 0; i <= p[0]; i++) {
        memcpy(w, p + 3 + KJ_ORDER_HEAD + 16 * i, 16);
        if ((i ? w[0] <= before : w[0] != 0) ||
            (i < p[0] && (KJ_ORDER_DOC(w[1]) >= p[1] || w[1] >> KJ_ORDER_PART >= p[2])))
            abort();
        before = w[0];
    }
    return 0;
}
