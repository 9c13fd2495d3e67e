/* kern_avx2.c - vector code for AVX2 with FMA. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define KERN_NAME kj_kern_avx2
#define KERN_ISA  "avx2"
#include "nn/cpu/kern.inc"
#else
typedef int kj_kern_no_avx2; /* ISO C wants one declaration */
#endif
