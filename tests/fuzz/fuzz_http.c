/* fuzz_http - any bytes as an HTTP message. */
#include <stdint.h>
#include <stdlib.h>

#include "extract/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct kj_http h;
    struct kj_buf a, b;
    struct kj_str type, charset;
    unsigned flags;
    kj_buf_init(&a, 1 << 20);
    kj_buf_init(&b, 1 << 20);
    kj_http_parse((const char *)p, n, &h);
    kj_http_type(kj_http_get(&h, "content-type"), &type, &charset);
    struct kj_str body = kj_http_body(&h, &a, &b, &flags);
    uint64_t sum = 0; /* every byte of the result is readable */
    for (size_t i = 0; i < body.n; i++)
        sum += (unsigned char)body.p[i];
    if (body.n > n && body.n > a.cap)
        abort();
    kj_buf_release(&a);
    kj_buf_release(&b);
    return sum == 1;
}
