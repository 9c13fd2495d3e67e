/* kern_base.c - vector code for the instruction set that the compiler assumes,
 * and the choice among all. */
#define KERN_NAME kj_kern_base
#define KERN_ISA  "base"
#include "nn/cpu/kern.inc"

const struct kj_kern *kj_kern_best(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &kj_kern_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &kj_kern_avx2;
#endif
    return &kj_kern_base;
}
