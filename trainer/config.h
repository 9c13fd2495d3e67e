/* config.h - run files: the model's shape, its data, and how to train it.
 *
 * A run file is YAML with the sections model, data, optim, distil, schedule, checkpoint,
 * samples and validation, and a list of stages (stages.h); docs/training.md tells of them,
 * and `kijil plan --keys` lists the keys with their defaults. Keys of the model are
 * those of Hugging Face's config.json. Unknown keys are errors with their line.
 */
#ifndef KJ_TRAINER_CONFIG_H
#define KJ_TRAINER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/opt.h"

struct kj_buf;
struct kj_err;
struct kj_yaml;

/* Ways to longer contexts than a model was trained with: YaRN (Peng et al. 2023); Llama
 * 3.1's, without a factor of attention; positions divided (Chen et al. 2023). */
enum kj_rope { KJ_ROPE_YARN, KJ_ROPE_LLAMA3, KJ_ROPE_LINEAR };

/* A Llama (Touvron et al. 2023; grouped-query attention, Ainslie et al. 2023). */
struct kj_shape {
    int64_t vocab_size; /* 0 in a run file: the tokenizer's */
    int64_t hidden, ffn, layers, heads;
    int64_t kv_heads; /* 0 in a run file: heads */
    int64_t head_dim; /* 0 in a run file: hidden / heads. Its own key:
                              pruned models have heads * head_dim != hidden */
    int64_t max_positions;
    double rope_theta, norm_eps;
    /* Positions stretched by rope_factor (1 or 0: not), from the rope_original that the
     * model was trained with. Llama 3.1's high_freq_factor is rope_beta_fast here, its
     * low_freq_factor rope_beta_slow. */
    enum kj_rope rope_type;
    double rope_factor, rope_beta_fast, rope_beta_slow;
    int64_t rope_original;
    bool tied;         /* the head is the embedding */
    double init_range; /* standard deviation of fresh weights */
};

enum kj_lr_shape { KJ_LR_CONSTANT, KJ_LR_COSINE, KJ_LR_WSD, KJ_LR_MULTISTEP };
enum kj_packing { KJ_PACK_CONCAT, KJ_PACK_BESTFIT };
enum kj_optim { KJ_OPTIM_ADAMW, KJ_OPTIM_MUON };
enum kj_precision { KJ_PRECISION_F32, KJ_PRECISION_BF16, KJ_PRECISION_FP8 };
/* What weights, gradients and moments are held in. */
enum kj_states { KJ_STATES_F32, KJ_STATES_BF16 };
/* What a layer does not keep for its backward pass and makes again there, in the order
 * of memory saved per FLOP; each level also has those before it. */
enum kj_recompute {
    KJ_RECOMPUTE_NONE,
    KJ_RECOMPUTE_SWIGLU, /* silu(gate) * up */
    KJ_RECOMPUTE_NORM,   /* the norms' outputs */
    KJ_RECOMPUTE_FFN,    /* gate and up: a product */
    KJ_RECOMPUTE_QKV,    /* q, k and v: a product */
    KJ_RECOMPUTE_BLOCK, /* attention, its output's product: all but the block's input */
    KJ_RECOMPUTE_AUTO   /* the first of them that fits into memory (memory.h) */
};
enum kj_decay { KJ_DECAY_COUPLED, KJ_DECAY_INDEPENDENT };
enum kj_cooldown { KJ_COOLDOWN_LINEAR, KJ_COOLDOWN_SQRT };

/* What a stage is trained on: rows of each in proportion to the weights. */
#define KJ_SOURCES_MAX 32
struct kj_run_source {
    const char *path; /* shards or order; NULL: data.manifest */
    double weight;
    size_t set; /* resolved: number in the run's list of sets */
};

enum kj_stage_lr {
    KJ_STAGE_AS_RUN, /* the section schedule's, over all steps of the run */
    KJ_STAGE_CONSTANT,
    KJ_STAGE_LINEAR,
    KJ_STAGE_COSINE,
    KJ_STAGE_SQRT
};

/* A part of the run with data and a learning rate of its own. */
#define KJ_STAGES_MAX 16
struct kj_run_stage {
    const char *name;      /* "" where the file has no stages */
    int64_t steps, tokens; /* one is given; tokens resolve to steps */
    int shape;             /* enum kj_stage_lr */
    double start_ratio;    /* behind the warm-up; NaN: as the stage before */
    double end_ratio;      /* at its last step; NaN: schedule.min_ratio */
    int64_t warmup;        /* -1: schedule's in the first, none in others */
    struct kj_run_source sources[KJ_SOURCES_MAX];
    size_t n_sources;
    int64_t begin, end; /* resolved: its steps, counted from 0 */
    double before;      /* resolved: the factor that it starts from */
};

struct kj_run {
    const char *name;
    int64_t seed;
    struct kj_shape model;
    const char *init_from; /* folder of a Hugging Face model to start from */
    struct {
        const char *manifest, *tokenizer;
        int64_t seq_len;      /* tokens in a row */
        int64_t batch, micro; /* rows in a step, and in one forward pass */
        bool shuffle;
        int packing;      /* enum kj_packing */
        int64_t prefetch; /* steps read ahead */
    } data;
    struct {
        int kind; /* enum kj_optim */
        double lr, beta1, beta2, eps, weight_decay, clip, z_loss;
        double momentum; /* Muon's */
        double skip;     /* standard deviations; 0: never */
        int decay;       /* enum kj_decay */
        int precision;   /* enum kj_precision */
        int states;      /* enum kj_states */
        int recompute;   /* enum kj_recompute */
        int64_t deeper;  /* resolved from auto: layers that take the next level, too */
        int64_t loss_chunk;
        int64_t zero; /* of several ranks (ranks.h): what is cut among them */
        bool deterministic;
    } optim;
    struct {
        const char *teacher; /* folder, or NULL */
        double weight, temperature;
    } distil;
    struct {
        int shape;             /* enum kj_lr_shape */
        int64_t steps, tokens; /* tokens: used where steps is 0 */
        int64_t warmup;
        double min_ratio;
        double cooldown; /* WSD: share of the steps */
        int cooldown_shape;
        double drop1, ratio1, drop2, ratio2; /* multistep */
    } schedule;
    struct {
        int64_t every, keep;
        int export; /* 0 f32, 1 bf16 */
    } checkpoint;
    struct {
        int64_t every, tokens; /* every 0: none */
        struct kj_strs prompts;
        double temperature;
    } samples; /* what the model writes on the way; changes nothing */
    struct {
        struct kj_strs data; /* sets of held-out documents; n 0: none */
        int64_t every, rows; /* rows 0: all */
    } validation;            /* likewise */
    bool staged; /* the file has stages; else there is one, without a name */
    struct kj_run_stage stages[KJ_STAGES_MAX];
    size_t n_stages;
    /* The shards and orders that stages name, each once, in that order. */
    const char *sets[KJ_STAGES_MAX * KJ_SOURCES_MAX];
    size_t n_sets;
    struct kj_yaml *yaml; /* owner of the strings */
};

/* Sections in order, ended by name NULL; the first has name "". All tables
 * describe struct kj_run. */
struct kj_run_section {
    const char *name, *about;
    const struct kj_opt *opts;
};
extern const struct kj_run_section kj_run_sections[];

/* Defaults only. */
int kj_run_init(struct kj_run *r, struct kj_err *err);
/* Read and check a file. KJ_USAGE names the key and its line. */
int kj_run_load(struct kj_run *r, const char *path, struct kj_err *err);
/* The same from memory; `name` stands in messages. */
int kj_run_parse(struct kj_run *r, const char *p, size_t n, const char *name,
                 struct kj_err *err);
void kj_run_release(struct kj_run *r);
/* Fill what was left to be derived (kv_heads, head_dim, steps) and check the
 * whole; vocab: the tokenizer's, 0 if not known yet. */
int kj_run_resolve(struct kj_run *r, int64_t vocab, struct kj_err *err);
/* The resolved configuration as YAML. What does not change the result (where
 * checkpoints go and how often) is left out when `identity` is set. */
int kj_run_dump(const struct kj_run *r, bool identity, struct kj_buf *out);

/* Whether positions turn alike in both: theta and scaling. */
bool kj_shape_same_rope(const struct kj_shape *a, const struct kj_shape *b);

/* Check a shape: KJ_USAGE names the field. */
int kj_shape_check(const struct kj_shape *s, struct kj_err *err);

/* The learning rate's factor, 0..1, for a step counted from 0: that of its stage
 * where the stage has a shape; else linear warm-up over `warmup` steps, then the
 * shape down to min_ratio. */
double kj_schedule_factor(const struct kj_run *r, int64_t step);

#endif
