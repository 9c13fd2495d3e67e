/* minhash_internal.h - the kernels of minhash_x86.c, for minhash.c alone.
 * Call one only where the processor has its instructions. */
#ifndef KJ_DEDUP_MINHASH_INTERNAL_H
#define KJ_DEDUP_MINHASH_INTERNAL_H

#include "dedup/minhash.h"

#if defined(__x86_64__)
kj_minhash_fn kj_minhash_fold_avx2, kj_minhash_fold_avx512;
#endif

#endif
