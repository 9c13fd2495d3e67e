/* speed_internal.h - what speed.c and speed_ops.c share: memory of random numbers. */
#ifndef KJ_NN_SPEED_INTERNAL_H
#define KJ_NN_SPEED_INTERNAL_H

#include "nn/backend.h"
#include "nn/speed.h"

/* A tensor of n random numbers of about +-0.5; NULL leaves a fault. */
struct kj_tensor *kj_speed_random(struct kj_backend *b, enum kj_dtype type, size_t n);

#endif
