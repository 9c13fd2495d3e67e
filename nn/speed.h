/* speed.h - how fast a back end is: its two ceilings, and each operation of a model's
 * step at the model's own shapes beside them.
 *
 * The floor of an operation's time is the larger of its floating-point operations over
 * the best product and its bytes, each operand read once and each result written
 * once, over the best copy (the roofline of Williams, Waterman and Patterson 2009).
 * Operands are random (products of zeros draw less power and run faster), and go round
 * several copies of themselves, so that caches hold what they hold in training.
 */
#ifndef KJ_NN_SPEED_H
#define KJ_NN_SPEED_H

#include <stdbool.h>
#include <stddef.h>

struct kj_backend;
struct kj_err;

/* A product of size n (n^3): GFLOP/s of float32, bfloat16 and FP8 operands (0 where it
 * does not multiply FP8). GB/s that a copy of n^2 float32 moves (8 bytes an element)
 * and the optimizer step (28). */
struct kj_speed_peaks {
    double gflops, gflops_bf16, gflops_f8, copy, adamw;
};
/* The best of a few within about `seconds`. */
int kj_speed_peaks(struct kj_backend *b, unsigned n, double seconds,
                   struct kj_speed_peaks *p, struct kj_err *err);

struct kj_speed_shape {
    const char *name, *about;
    size_t layers, hidden, ffn, heads, kv_heads, dim, vocab;
    size_t tokens, seq; /* of a pass; in one row (encoders: at most) */
    size_t chunk;       /* tokens whose logits exist at a time */
    bool encoder;       /* forward only: LayerNorm, GELU, every key seen */
};
/* Ended by name NULL. */
extern const struct kj_speed_shape kj_speed_shapes[];

struct kj_speed_row {
    const char *op, *what; /* "matmul", "qkv dw" */
    char size[40];         /* "16384x5120x1792" */
    double count;          /* how many of these a step has */
    double seconds;        /* median of one */
    double flops, bytes;
    double share; /* floor over seconds */
};

/* Time the operations of a step of `p`, in bfloat16 where the back end gains by it; f8:
 * with the blocks' linear maps in FP8. Each for about `seconds`, three times at least.
 * report sees them in order. */
int kj_speed_ops(struct kj_backend *b, const struct kj_speed_shape *p, bool f8,
                 const struct kj_speed_peaks *peaks, double seconds,
                 void (*report)(void *ctx, const struct kj_speed_row *r), void *ctx,
                 struct kj_err *err);

#endif
