/* kern_avx512.c - vector code for AVX-512 (F, DQ, VL). */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#define KERN_NAME kj_kern_avx512
#define KERN_ISA  "avx512"
#include "nn/cpu/kern.inc"
#else
typedef int kj_kern_no_avx512; /* ISO C wants one declaration */
#endif
