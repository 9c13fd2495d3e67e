/* fuzz_encoder_config.c - config.json of encoders; what is accepted must be within
 * the limits that the loader counts on. */
#include <stdlib.h>

#include "base/err.h"
#include "classify/encoder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kj_encoder_config c;
    struct kj_err err = KJ_ERR_INIT;
    if (kj_encoder_config_parse(&c, (const char *)data, size, &err) == KJ_OK) {
        if (c.hidden < 1 || c.heads < 1 || c.hidden % c.heads != 0 || c.layers < 1 ||
            c.max_tokens < 3 || c.first_position + c.max_tokens > c.positions ||
            !c.prefix || (c.labels && !c.names))
            abort();
        kj_encoder_config_release(&c);
    } else if (err.rc != KJ_FAIL || !err.msg[0]) {
        abort();
    }
    return 0;
}
