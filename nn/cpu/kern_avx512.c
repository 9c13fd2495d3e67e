/* kern_avx512.c - vector code for AVX-512 (F, DQ, VL). */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(                                                          \
    __attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))),                     \
    apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#endif
#define KERN_NAME kj_kern_avx512
#define KERN_ISA  "avx512"
#include "nn/cpu/kern.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int kj_kern_no_avx512; /* ISO C wants one declaration */
#endif
