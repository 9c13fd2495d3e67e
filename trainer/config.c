/* config.c - run files. */
#include "trainer/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/yaml.h"
#include "trainer/stages.h"

#define R(x) offsetof(struct kj_run, x)

static const struct kj_opt top_opts[] = {
    {"name", 0, KJ_OPT_STR, R(name), "TEXT", "name of the run", "run", 0, 0},
    {"seed", 0, KJ_OPT_INT, R(seed), "N", "seed of the weights and of the order", "1",
     0, 0x1p53},
    {0},
};

static const struct kj_opt model_opts[] = {
    {"vocab_size", 0, KJ_OPT_INT, R(model.vocab_size), "N",
     "rows of the embedding; 0: the tokenizer's", "0", 0, 1 << 24},
    {"hidden_size", 0, KJ_OPT_INT, R(model.hidden), "N", "width of the residual stream",
     "256", 1, 1 << 20},
    {"intermediate_size", 0, KJ_OPT_INT, R(model.ffn), "N", "width of the feed-forward",
     "768", 1, 1 << 22},
    {"num_hidden_layers", 0, KJ_OPT_INT, R(model.layers), "N", "blocks", "6", 1, 4096},
    {"num_attention_heads", 0, KJ_OPT_INT, R(model.heads), "N", "query heads", "8", 1,
     4096},
    {"num_key_value_heads", 0, KJ_OPT_INT, R(model.kv_heads), "N",
     "key and value heads; 0: as many as query heads", "0", 0, 4096},
    {"head_dim", 0, KJ_OPT_INT, R(model.head_dim), "N",
     "width of a head; 0: hidden_size / num_attention_heads", "0", 0, 1 << 16},
    {"max_position_embeddings", 0, KJ_OPT_INT, R(model.max_positions), "N",
     "longest context; 0: data.sequence_length", "0", 0, 1 << 24},
    {"rope_theta", 0, KJ_OPT_REAL, R(model.rope_theta), "X",
     "base of the rotary angles", "10000", 1, 1e12},
    {"rope_factor", 0, KJ_OPT_REAL, R(model.rope_factor), "X",
     "how many times longer the context becomes; 1: as it is", "1", 1, 1e6},
    {"rope_type", 0, KJ_OPT_ENUM, R(model.rope_type), "yarn|llama3|linear",
     "how: YaRN's ramp over pairs, with its factor of attention; Llama 3.1's over "
     "turns, "
     "without; all pairs alike",
     "yarn", 0, 0},
    {"rope_original_positions", 0, KJ_OPT_INT, R(model.rope_original), "N",
     "the context before; 0: max_position_embeddings / rope_factor", "0", 0, 1 << 24},
    {"rope_beta_fast", 0, KJ_OPT_REAL, R(model.rope_beta_fast), "X",
     "pairs that turn more often than this in the old context stay (llama3: "
     "high_freq_factor, 4 in Llama 3.1)",
     "32", 1e-3, 1e6},
    {"rope_beta_slow", 0, KJ_OPT_REAL, R(model.rope_beta_slow), "X",
     "those that turn less often than this are stretched whole (llama3: "
     "low_freq_factor)",
     "1", 1e-3, 1e6},
    {"rms_norm_eps", 0, KJ_OPT_REAL, R(model.norm_eps), "X", "epsilon of the norms",
     "1e-5", 1e-12, 1},
    {"tie_word_embeddings", 0, KJ_OPT_FLAG, R(model.tied), 0,
     "the head is the embedding", "true", 0, 0},
    {"initializer_range", 0, KJ_OPT_REAL, R(model.init_range), "X",
     "standard deviation of fresh weights", "0.02", 1e-6, 10},
    {"init_from", 0, KJ_OPT_STR, R(init_from), "DIR",
     "start from this model instead: a Hugging Face folder, or that of a run", 0, 0, 0},
    {0},
};

static const struct kj_opt data_opts[] = {
    {"manifest", 0, KJ_OPT_STR, R(data.manifest), "FILE",
     "shards to train on (--data takes precedence)", 0, 0, 0},
    {"tokenizer", 0, KJ_OPT_STR, R(data.tokenizer), "FILE",
     "tokenizer.json to put beside the model; default: the shards' own", 0, 0, 0},
    {"sequence_length", 0, KJ_OPT_INT, R(data.seq_len), "N", "tokens in a row", "256",
     2, 1 << 24},
    {"batch_sequences", 0, KJ_OPT_INT, R(data.batch), "N", "rows in a step", "16", 1,
     1 << 20},
    {"micro_sequences", 0, KJ_OPT_INT, R(data.micro), "N",
     "rows in one forward pass; gradients of the others are added up", "8", 1, 1 << 20},
    {"shuffle", 0, KJ_OPT_FLAG, R(data.shuffle), 0,
     "rows in a new random order every epoch", "true", 0, 0},
    {"packing", 0, KJ_OPT_ENUM, R(data.packing), "concat|bestfit",
     "documents one behind the other, cut where a row ends; or none cut that fits into "
     "a row, rows padded",
     "concat", 0, 0},
    {"prefetch", 0, KJ_OPT_INT, R(data.prefetch), "N",
     "steps read ahead by a thread of its own; 0: no thread", "1", 0, 64},
    {0},
};

static const struct kj_opt optim_opts[] = {
    {"kind", 0, KJ_OPT_ENUM, R(optim.kind), "adamw|muon",
     "how weights move; muon: matrices of blocks by Muon, all others by AdamW", "adamw",
     0, 0},
    {"precision", 0, KJ_OPT_ENUM, R(optim.precision), "f32|bf16|fp8",
     "numbers that matrix products multiply (fp8: in blocks, bf16 elsewhere); sums "
     "stay f32",
     "f32", 0, 0},
    {"states", 0, KJ_OPT_ENUM, R(optim.states), "f32|bf16",
     "weights, gradients and AdamW's moments; bf16: 8 bytes a parameter, rounded by "
     "chance, for a precision of bf16 or fp8",
     "f32", 0, 0},
    {"recompute", 0, KJ_OPT_ENUM, R(optim.recompute),
     "none|swiglu|norm|ffn|qkv|block|auto",
     "what layers make again in backward passes rather than keep it, each with those "
     "before it; auto: the first that fits into memory",
     "auto", 0, 0},
    {"lr", 0, KJ_OPT_REAL, R(optim.lr), "X", "peak learning rate", "1e-3", 0, 10},
    {"beta1", 0, KJ_OPT_REAL, R(optim.beta1), "X", "decay of the first moment", "0.9",
     0, 0.999999},
    {"beta2", 0, KJ_OPT_REAL, R(optim.beta2), "X", "decay of the second moment", "0.95",
     0, 0.9999999},
    {"momentum", 0, KJ_OPT_REAL, R(optim.momentum), "X", "Muon's", "0.95", 0, 0.999999},
    {"skip_spikes", 0, KJ_OPT_REAL, R(optim.skip), "X",
     "leave out the update of a step whose loss or gradient norm is X standard "
     "deviations over the last 128; 0: never (6 is usual)",
     "0", 0, 1000},
    {"eps", 0, KJ_OPT_REAL, R(optim.eps), "X", "epsilon of AdamW", "1e-8", 1e-16, 1},
    {"weight_decay", 0, KJ_OPT_REAL, R(optim.weight_decay), "X",
     "decay of matrices (norms have none)", "0.1", 0, 10},
    {"decay", 0, KJ_OPT_ENUM, R(optim.decay), "coupled|independent",
     "decay times the learning rate, or times the schedule's factor alone", "coupled",
     0, 0},
    {"clip", 0, KJ_OPT_REAL, R(optim.clip), "X",
     "largest global gradient norm; 0: none", "1.0", 0, 1e9},
    {"z_loss", 0, KJ_OPT_REAL, R(optim.z_loss), "X",
     "weight of the squared log of the softmax's sum", "0", 0, 1},
    {"loss_chunk", 0, KJ_OPT_INT, R(optim.loss_chunk), "N",
     "tokens whose logits exist at a time", "512", 1, 1 << 20},
    {"zero", 0, KJ_OPT_INT, R(optim.zero), "1|2",
     "what several ranks cut among them: moments, and weights that are not multiplied; "
     "2: summed gradients, too, which are exchanged behind every pass",
     "1", 1, 2},
    {"deterministic", 0, KJ_OPT_FLAG, R(optim.deterministic), 0,
     "on a GPU: the same bits at every run, some slower; a CPU's always are", "false",
     0, 0},
    {0},
};

static const struct kj_opt distil_opts[] = {
    {"teacher", 0, KJ_OPT_STR, R(distil.teacher), "DIR",
     "folder of a model to learn from, or of its run; none: learn from the texts alone",
     0, 0, 0},
    {"weight", 0, KJ_OPT_REAL, R(distil.weight), "X",
     "of the divergence from the teacher; the texts' own loss has the rest", "1", 0, 1},
    {"temperature", 0, KJ_OPT_REAL, R(distil.temperature), "X",
     "both models' logits are divided by it", "1", 0.01, 100},
    {0},
};

static const struct kj_opt schedule_opts[] = {
    {"shape", 0, KJ_OPT_ENUM, R(schedule.shape), "constant|cosine|wsd|multistep",
     "course of the learning rate behind the warm-up", "cosine", 0, 0},
    {"steps", 0, KJ_OPT_INT, R(schedule.steps), "N", "steps in all; 0: from tokens",
     "0", 0, 0x1p40},
    {"tokens", 0, KJ_OPT_COUNT, R(schedule.tokens), "N",
     "tokens in all (10M, 3T), where steps is 0", "0", 0, 0x1p60},
    {"warmup_steps", 0, KJ_OPT_INT, R(schedule.warmup), "N", "steps of linear warm-up",
     "50", 0, 0x1p40},
    {"min_ratio", 0, KJ_OPT_REAL, R(schedule.min_ratio), "X",
     "last learning rate over the peak (cosine, wsd)", "0.1", 0, 1},
    {"cooldown", 0, KJ_OPT_REAL, R(schedule.cooldown), "X",
     "wsd: share of the steps in which the rate falls", "0.2", 0, 1},
    {"cooldown_shape", 0, KJ_OPT_ENUM, R(schedule.cooldown_shape), "linear|sqrt",
     "wsd: straight, or 1 - square root", "linear", 0, 0},
    {"drop1", 0, KJ_OPT_REAL, R(schedule.drop1), "X",
     "multistep: share of the steps before the first drop", "0.8", 0, 1},
    {"ratio1", 0, KJ_OPT_REAL, R(schedule.ratio1), "X",
     "multistep: factor behind the first drop", "0.316", 0, 1},
    {"drop2", 0, KJ_OPT_REAL, R(schedule.drop2), "X",
     "multistep: share of the steps before the second drop", "0.9", 0, 1},
    {"ratio2", 0, KJ_OPT_REAL, R(schedule.ratio2), "X",
     "multistep: factor behind the second drop", "0.1", 0, 1},
    {0},
};

static const struct kj_opt checkpoint_opts[] = {
    {"every_steps", 0, KJ_OPT_INT, R(checkpoint.every), "N",
     "steps between checkpoints; 0: only at the end", "100", 0, 0x1p40},
    {"keep", 0, KJ_OPT_INT, R(checkpoint.keep), "N", "how many to keep", "2", 1,
     1000000},
    {"export", 0, KJ_OPT_ENUM, R(checkpoint.export), "f32|bf16",
     "type of the weights in the Hugging Face folder", "f32", 0, 0},
    {0},
};

static const struct kj_opt samples_opts[] = {
    {"every", 0, KJ_OPT_INT, R(samples.every), "N",
     "steps between texts that the model writes to samples.jsonl; 0: none", "0", 0,
     0x1p40},
    {"prompts", 0, KJ_OPT_LIST, R(samples.prompts), "TEXT",
     "how these texts begin, a list", 0, 0, 0},
    {"tokens", 0, KJ_OPT_INT, R(samples.tokens), "N", "new tokens of each", "64", 1,
     1 << 20},
    {"temperature", 0, KJ_OPT_REAL, R(samples.temperature), "X",
     "0: always the likeliest token", "0.8", 0, 100},
    {0},
};

static const struct kj_opt validation_opts[] = {
    {"data", 0, KJ_OPT_LIST, R(validation.data), "MANIFEST",
     "shards or orders of texts that are not trained on, a list; none: no look", 0, 0,
     0},
    {"every", 0, KJ_OPT_INT, R(validation.every), "N",
     "steps between looks at the loss on them; the last step has one, too", "100", 1,
     0x1p40},
    {"rows", 0, KJ_OPT_INT, R(validation.rows), "N",
     "rows of each that are looked at, the same ones every time; 0: all", "64", 0,
     0x1p40},
    {0},
};

const struct kj_run_section kj_run_sections[] = {
    {"", "the run", top_opts},
    {"model", "shape of the Llama", model_opts},
    {"data", "shards and batches", data_opts},
    {"optim", "AdamW or Muon", optim_opts},
    {"distil", "a teacher in the same process", distil_opts},
    {"schedule", "length and learning rate", schedule_opts},
    {"checkpoint", "saving", checkpoint_opts},
    {"samples", "texts written on the way", samples_opts},
    {"validation", "loss on held-out texts, on the way", validation_opts},
    {NULL, NULL, NULL},
};

int kj_run_init(struct kj_run *r, struct kj_err *err)
{
    memset(r, 0, sizeof *r);
    for (size_t i = 0; kj_run_sections[i].name; i++) {
        int rc = kj_opt_defaults(kj_run_sections[i].opts, r, err);
        if (rc)
            return rc;
    }
    return KJ_OK;
}

/* Behind what was said of a key: where all of them are told. */
static void tell_keys(struct kj_err *err)
{
    size_t n = err ? strlen(err->msg) : 0;
    if (n && strncmp(err->msg, "unknown key", 11) == 0 && err->msg[n - 1] != '?')
        snprintf(err->msg + n, sizeof err->msg - n,
                 "; kijil plan --keys lists those of run files");
}

/* The sections and stages of r->yaml. */
static int read_run(struct kj_run *r, const char *file, struct kj_err *err)
{
    const char *names[10] = {"stages"};
    int rc = KJ_OK;
    const struct kj_ynode *root = kj_yaml_root(r->yaml);
    if (!root || root->kind != KJ_Y_MAP) {
        rc =
            kj_err_set(err, KJ_USAGE, "a run file holds model:, data:, schedule:, ...");
        kj_err_where(err, file, 1);
    }
    for (size_t i = 1; kj_run_sections[i].name; i++)
        names[i] = kj_run_sections[i].name;
    if (rc == KJ_OK)
        rc = kj_opt_yaml(top_opts, r, root, names, err);
    for (size_t i = 1; kj_run_sections[i].name && rc == KJ_OK; i++) {
        const struct kj_ynode *n = kj_ynode_get(root, kj_run_sections[i].name);
        if (n)
            rc = kj_opt_yaml(kj_run_sections[i].opts, r, n, NULL, err);
    }
    const struct kj_ynode *stages = rc ? NULL : kj_ynode_get(root, "stages");
    if (stages)
        rc = kj_stages_read(r, stages, err);
    if (rc) {
        tell_keys(err);
        kj_run_release(r);
    }
    return rc;
}

int kj_run_load(struct kj_run *r, const char *path, struct kj_err *err)
{
    int rc = kj_run_init(r, err);
    if (rc == KJ_OK)
        rc = kj_yaml_load(&r->yaml, path, err);
    return rc ? rc : read_run(r, path, err);
}

int kj_run_parse(struct kj_run *r, const char *p, size_t n, const char *name,
                 struct kj_err *err)
{
    int rc = kj_run_init(r, err);
    if (rc == KJ_OK)
        rc = kj_yaml_parse(&r->yaml, p, n, name, err);
    return rc ? rc : read_run(r, name, err);
}

void kj_run_release(struct kj_run *r)
{
    kj_strs_release(&r->samples.prompts);
    kj_strs_release(&r->validation.data);
    kj_yaml_free(r->yaml);
    r->yaml = NULL;
}

bool kj_shape_same_rope(const struct kj_shape *a, const struct kj_shape *b)
{
    bool plain_a = a->rope_factor <= 1, plain_b = b->rope_factor <= 1;
    if (a->rope_theta != b->rope_theta || plain_a != plain_b)
        return false;
    return plain_a ||
           (a->rope_type == b->rope_type && a->rope_factor == b->rope_factor &&
            a->rope_original == b->rope_original &&
            a->rope_beta_fast == b->rope_beta_fast &&
            a->rope_beta_slow == b->rope_beta_slow);
}

static int check_rope(const struct kj_shape *s, struct kj_err *err)
{
    if (s->rope_factor <= 1 || s->rope_type == KJ_ROPE_LINEAR)
        return KJ_OK;
    if (s->rope_original < 1 || !(s->rope_beta_slow > 0) ||
        !(s->rope_beta_fast >= s->rope_beta_slow) || !(s->rope_theta > 1))
        return kj_err_set(err, KJ_USAGE,
                          "a longer context needs the positions before, beta_fast not "
                          "below beta_slow, and a theta over 1");
    if (s->rope_type == KJ_ROPE_LLAMA3 && !(s->rope_beta_fast > s->rope_beta_slow))
        return kj_err_set(err, KJ_USAGE,
                          "llama3 needs a high_freq_factor (rope_beta_fast) over "
                          "low_freq_factor (rope_beta_slow)");
    return KJ_OK;
}

int kj_shape_check(const struct kj_shape *s, struct kj_err *err)
{
    if (s->vocab_size < 1)
        return kj_err_set(err, KJ_USAGE,
                          "model.vocab_size is not known; give the shards (--data) or "
                          "the key");
    if (s->hidden < 1 || s->ffn < 1 || s->layers < 1 || s->heads < 1 || s->kv_heads < 1)
        return kj_err_set(err, KJ_USAGE, "the model has a dimension below 1");
    if (s->heads % s->kv_heads != 0)
        return kj_err_set(err, KJ_USAGE,
                          "num_attention_heads %lld is no multiple of "
                          "num_key_value_heads %lld",
                          (long long)s->heads, (long long)s->kv_heads);
    if (s->head_dim < 2 || s->head_dim % 2 != 0)
        return kj_err_set(err, KJ_USAGE,
                          "head_dim %lld is not even (rotary pairs need that)",
                          (long long)s->head_dim);
    if (s->hidden > 1 << 20 || s->ffn > 1 << 22 || s->layers > 4096 ||
        s->vocab_size > 1 << 24 || s->heads > 4096 || s->head_dim > 1 << 16)
        return kj_err_set(err, KJ_USAGE, "the model has an absurd dimension");
    if (s->max_positions < 1)
        return kj_err_set(err, KJ_USAGE, "max_position_embeddings is below 1");
    return check_rope(s, err);
}

int kj_run_resolve(struct kj_run *r, int64_t vocab, struct kj_err *err)
{
    struct kj_shape *m = &r->model;
    if (m->vocab_size == 0)
        m->vocab_size = vocab;
    if (vocab > m->vocab_size)
        return kj_err_set(err, KJ_USAGE,
                          "model.vocab_size %lld is below the tokenizer's %lld",
                          (long long)m->vocab_size, (long long)vocab);
    if (m->kv_heads == 0)
        m->kv_heads = m->heads;
    if (m->head_dim == 0) {
        if (m->hidden % m->heads != 0)
            return kj_err_set(err, KJ_USAGE,
                              "model.hidden_size %lld is no multiple of "
                              "num_attention_heads %lld; give head_dim",
                              (long long)m->hidden, (long long)m->heads);
        m->head_dim = m->hidden / m->heads;
    }
    if (m->max_positions == 0)
        m->max_positions = r->data.seq_len;
    if (m->rope_original == 0)
        m->rope_original = (int64_t)((double)m->max_positions / m->rope_factor);
    if (r->data.seq_len > m->max_positions)
        return kj_err_set(err, KJ_USAGE,
                          "data.sequence_length %lld is over max_position_embeddings "
                          "%lld",
                          (long long)r->data.seq_len, (long long)m->max_positions);
    if (r->data.micro > r->data.batch)
        r->data.micro = r->data.batch;
    if (r->optim.states == KJ_STATES_BF16 && r->optim.precision == KJ_PRECISION_F32)
        return kj_err_set(err, KJ_USAGE,
                          "optim.states: bf16 needs optim.precision: bf16");
    if (r->optim.states == KJ_STATES_BF16 && r->optim.kind != KJ_OPTIM_ADAMW)
        return kj_err_set(
            err, KJ_USAGE,
            "optim.states: bf16 is for optim.kind: adamw; Muon keeps f32");
    if (r->optim.zero == 2 && r->optim.kind == KJ_OPTIM_MUON)
        return kj_err_set(err, KJ_USAGE,
                          "optim.zero: 2 is for optim.kind: adamw; Muon needs whole "
                          "gradients on every rank");
    if (r->samples.every && !r->samples.prompts.n)
        return kj_err_set(err, KJ_USAGE,
                          "samples.every is set, and no samples.prompts");
    if (r->schedule.steps == 0 && !r->staged)
        r->schedule.steps = r->schedule.tokens / (r->data.batch * r->data.seq_len);
    if (r->schedule.steps < 1 && !r->staged)
        return kj_err_set(err, KJ_USAGE, "schedule.steps or schedule.tokens is needed");
    int rc = kj_stages_resolve(r, err);
    if (rc)
        return rc;
    if (r->schedule.drop1 > r->schedule.drop2)
        return kj_err_set(err, KJ_USAGE, "schedule.drop1 is behind schedule.drop2");
    return kj_shape_check(m, err);
}

int kj_run_dump(const struct kj_run *r, bool identity, struct kj_buf *out)
{
    int rc = KJ_OK;
    for (size_t i = 0; kj_run_sections[i].name; i++) {
        const struct kj_run_section *s = &kj_run_sections[i];
        struct kj_buf text;
        if (identity &&
            (strcmp(s->name, "checkpoint") == 0 || strcmp(s->name, "samples") == 0 ||
             strcmp(s->name, "validation") == 0 ||
             (strcmp(s->name, "distil") == 0 && !r->distil.teacher)))
            continue;
        kj_buf_init(&text, 1 << 16);
        kj_opt_dump(s->opts, r, &text);
        if (*s->name)
            rc |= kj_buf_printf(out, "%s:\n", s->name);
        for (size_t at = 0; at < text.n;) {
            const char *line = text.p + at, *nl = memchr(line, '\n', text.n - at);
            size_t n = nl ? (size_t)(nl - line) + 1 : text.n - at;
            /* Paths may move without changing the run; content is hashed. What is
             * made again has the same bits; ranks may be others, too. Packing, states
             * and rope_type are younger than some runs: their defaults say nothing. */
            bool skip = identity && (strncmp(line, "manifest:", 9) == 0 ||
                                     strncmp(line, "tokenizer:", 10) == 0 ||
                                     strncmp(line, "prefetch:", 9) == 0 ||
                                     strncmp(line, "recompute:", 10) == 0 ||
                                     strncmp(line, "zero:", 5) == 0 ||
                                     strncmp(line, "deterministic:", 14) == 0 ||
                                     strncmp(line, "states: f32", 11) == 0 ||
                                     strncmp(line, "rope_type: yarn", 15) == 0 ||
                                     strncmp(line, "packing: concat", 15) == 0);
            if (!skip)
                rc |= kj_buf_addz(out, *s->name ? "  " : "") | kj_buf_add(out, line, n);
            at += n;
        }
        kj_buf_release(&text);
    }
    return rc | (r->staged ? kj_stages_dump(r, identity, out) : KJ_OK);
}

static double cool(const struct kj_run *r, double x)
{
    double f = r->schedule.cooldown_shape == KJ_COOLDOWN_SQRT ? 1 - sqrt(x) : 1 - x;
    return r->schedule.min_ratio + (1 - r->schedule.min_ratio) * f;
}

double kj_schedule_factor(const struct kj_run *r, int64_t step)
{
    const struct kj_run_stage *s = r->staged ? kj_stage_of(r, step) : NULL;
    if (s && s->shape != KJ_STAGE_AS_RUN)
        return kj_stage_factor(s, step);
    int64_t n = r->schedule.steps, w = r->schedule.warmup;
    double done = (double)step / (double)n;
    if (step < w)
        return (double)(step + 1) / (double)w;
    switch (r->schedule.shape) {
    case KJ_LR_COSINE: {
        double x = n - 1 > w ? (double)(step - w) / (double)(n - 1 - w) : 1;
        x = x > 1 ? 1 : x;
        double c = (1 + cos(3.14159265358979323846 * x)) / 2;
        return r->schedule.min_ratio + (1 - r->schedule.min_ratio) * c;
    }
    case KJ_LR_WSD: {
        double from = (double)n * (1 - r->schedule.cooldown), len = (double)n - from;
        if ((double)step < from || len <= 0)
            return 1;
        double x = ((double)step + 1 - from) / len;
        return cool(r, x > 1 ? 1 : x);
    }
    case KJ_LR_MULTISTEP:
        return done >= r->schedule.drop2   ? r->schedule.ratio2
               : done >= r->schedule.drop1 ? r->schedule.ratio1
                                           : 1;
    default:
        return 1;
    }
}
