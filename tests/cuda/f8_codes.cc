/* f8_codes.cc - FP8 of nn/arith.h beside that of NVIDIA's cuda_fp8.h, which holds for the
 * processor as for a GPU: every code's value, and the codes of every 16th float32. */
#include <cstdio>
#include <cstring>
#include <cuda_fp8.h>

#include "nn/arith.h"

static float value(__nv_fp8_storage_t c, bool e5m2)
{
    __half_raw h = __nv_cvt_fp8_to_halfraw(c, e5m2 ? __NV_E5M2 : __NV_E4M3);
    return __half2float(__half(h));
}

int main()
{
    unsigned long bad = 0;
    for (int e5m2 = 0; e5m2 < 2; e5m2++) {
        for (unsigned c = 0; c < 256; c++) {
            float a = e5m2 ? kj_from_e5m2({(uint8_t)c}) : kj_from_e4m3({(uint8_t)c});
            float b = value((__nv_fp8_storage_t)c, e5m2);
            bad += memcmp(&a, &b, 4) != 0 && !(a != a && b != b);
        }
        for (uint64_t u = 0; u < (uint64_t)1 << 32; u += 16) {
            /* In what no rounding sees, every pattern comes by. */
            uint32_t v = (uint32_t)u | (uint32_t)(u >> 7 & 15);
            float x;
            memcpy(&x, &v, 4);
            uint8_t a = e5m2 ? kj_to_e5m2(x).u : kj_to_e4m3(x).u;
            uint8_t b =
                __nv_cvt_float_to_fp8(x, __NV_SATFINITE, e5m2 ? __NV_E5M2 : __NV_E4M3);
            bad += a != b && !(x != x && value(a, e5m2) != value(a, e5m2) &&
                               value(b, e5m2) != value(b, e5m2));
        }
    }
    if (bad)
        printf("f8_codes: %lu are not as NVIDIA's\n", bad);
    return bad != 0;
}
