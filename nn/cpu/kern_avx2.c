/* kern_avx2.c - vector code for AVX2 with FMA. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define KERN_NAME kj_kern_avx2
#define KERN_ISA  "avx2"
#include "nn/cpu/kern.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int kj_kern_no_avx2; /* ISO C wants one declaration */
#endif
