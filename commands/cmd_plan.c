/* cmd_plan.c - kijil plan: what a run will need. */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "commands/data.h"
#include "commands/model.h"
#include "commands/stages.h"
#include "nn/backend.h"
#include "trainer/memory.h"
#include "trainer/plan.h"

struct options {
    const char *data;
    struct kj_strs set;
    const char *device;
    int64_t memory, ranks;
    double tflops;
    bool keys, json;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt plan_opts[] = {
    {"data", 0, KJ_OPT_STR, F(data), "MANIFEST",
     "shards, for the vocabulary and the number of epochs", 0, 0, 0},
    {"set", 0, KJ_OPT_LIST, F(set), "KEY=VALUE", "override a key of the run file", 0, 0,
     0},
    {"device", 0, KJ_OPT_STR, F(device), "NAME",
     "where it would be trained: auto, cpu, cuda, which need not be here", "auto", 0,
     0},
    {"memory", 0, KJ_OPT_SIZE, F(memory), "SIZE",
     "memory of that device (80G); default: what is free here", "0", 0, 0x1p60},
    {"ranks", 0, KJ_OPT_INT, F(ranks), "N", "processes that train together", "1", 1,
     1 << 20},
    {"tflops", 0, KJ_OPT_REAL, F(tflops), "X",
     "sustained TFLOP/s of the hardware, all ranks together: adds the days that the "
     "run "
     "takes",
     "0", 0, 1e12},
    {"keys", 0, KJ_OPT_FLAG, F(keys), 0, "list the keys of run files, and stop", 0, 0,
     0},
    {"json", 0, KJ_OPT_FLAG, F(json), 0, "one JSON object instead of lines", 0, 0, 0},
    {0},
};
#undef F

static void list_key(const struct kj_opt *o, const char *lead)
{
    char left[128];
    snprintf(left, sizeof left, "%s%s: %s", lead, o->name,
             o->kind == KJ_OPT_FLAG && !o->def ? "false"
             : o->def                          ? o->def
                                               : "");
    printf("%-34s # %s%s%s%s\n", left, o->help, o->kind == KJ_OPT_ENUM ? " (" : "",
           o->kind == KJ_OPT_ENUM ? o->arg : "", o->kind == KJ_OPT_ENUM ? ")" : "");
}

static void list_keys(void)
{
    for (size_t i = 0; kj_run_sections[i].name; i++) {
        const struct kj_run_section *s = &kj_run_sections[i];
        printf("%s%s# %s\n", s->name, *s->name ? ":  " : "", s->about);
        for (const struct kj_opt *o = s->opts; o->name; o++)
            list_key(o, *s->name ? "  " : "");
    }
    printf("stages:  # a list, or nothing: parts of the run with data of their own\n");
    for (const struct kj_opt *o = kj_stage_opts; o->name; o++)
        list_key(o, o == kj_stage_opts ? "  - " : "    ");
    printf(
        "%-34s # shards or an order, or a list of {path: P, weight: W}; data.manifest "
        "without it\n",
        "    data:");
}

static void big(const char *name, double v, const char *unit)
{
    static const char *const p[] = {"", "K", "M", "B", "T"};
    size_t i = 0;
    while (v >= 1000 && i < 4) {
        v /= 1000;
        i++;
    }
    printf("%-22s %.3f %s%s%s\n", name, v, p[i], *unit && *p[i] ? " " : "", unit);
}

/* A column of numbers, all in the unit of the largest of them. */
static void bytes(const char *name, int64_t v, bool giga)
{
    printf("%-22s %8.2f %s\n", name, (double)v * (giga ? 1e-9 : 1e-6),
           giga ? "GB" : "MB");
}

static const struct {
    const char *name, *key;
} kinds[KJ_MEM_KINDS] = {
    [KJ_MEM_WEIGHTS] = {"  weights", "bytes_weights"},
    [KJ_MEM_LOW] = {"  bfloat16 copy", "bytes_copy"},
    [KJ_MEM_GRADS] = {"  gradients", "bytes_gradients"},
    [KJ_MEM_MOMENTS] = {"  moments", "bytes_moments"},
    [KJ_MEM_ACTS] = {"  activations", "bytes_activations"},
    [KJ_MEM_WORK] = {"  workspaces", "bytes_workspaces"},
};

static void memory(const struct kj_run *r, const struct kj_machine *m,
                   const struct kj_memory_plan *p)
{
    char name[40], why[512], again[64];
    static const char *const precisions[] = {"f32", "bf16", "fp8"};
    snprintf(name, sizeof name, "memory, %s, %s", m->gpu ? "GPU" : "CPU",
             precisions[r->optim.precision]);
    bool giga = p->all >= 1000000000 || m->left >= 1000000000;
    bytes(name, p->all, giga);
    for (size_t i = 0; i < KJ_MEM_KINDS; i++)
        if (p->bytes[i])
            bytes(kinds[i].name, p->bytes[i], giga);
    if (m->left == 0) {
        printf("%-22s not known (--memory 80G)\n", "there is");
        return;
    }
    bytes("there is", m->left, giga);
    if (p->fits) {
        printf("%-22s with optim.recompute: %s\n", "it fits",
               kj_memory_recompute(p, r->model.layers, again));
        return;
    }
    kj_memory_advice(r, m, why, sizeof why);
    printf("%-22s %s\n", "it does not fit", why);
}

/* Whether the teacher's part is in the figures that follow. */
static void teacher(const struct kj_run *r)
{
    struct kj_hf_config c;
    if (!r->distil.teacher)
        return;
    if (kj_hf_config(r->distil.teacher, &c, NULL) != KJ_OK) {
        printf("%-22s %s cannot be read: not counted in what follows\n", "teacher",
               r->distil.teacher);
        return;
    }
    struct kj_run t = *r;
    struct kj_plan p;
    t.model = c.shape;
    kj_plan_make(&t, &p);
    big("teacher", (double)p.params, "parameters");
}

static void text(const struct kj_run *r, const struct kj_plan *p,
                 const struct kj_machine *m, const struct kj_memory_plan *mem,
                 const struct kj_datas *d, double tflops)
{
    const struct kj_shape *s = &r->model;
    printf("%-22s %" PRId64 " layers, hidden %" PRId64 ", ffn %" PRId64 ", %" PRId64
           "/%" PRId64 " heads of %" PRId64 ", vocabulary %" PRId64 "%s\n",
           "model", s->layers, s->hidden, s->ffn, s->heads, s->kv_heads, s->head_dim,
           s->vocab_size, s->tied ? ", tied" : "");
    big("parameters", (double)p->params, "");
    big("  outside embeddings", (double)p->non_embedding, "");
    big("tokens", p->tokens, "");
    printf("%-22s %" PRId64 " of %" PRId64 " tokens (%" PRId64 " rows of %" PRId64
           ", %" PRId64 " a pass)\n",
           "steps", p->steps, p->tokens_step, r->data.batch, r->data.seq_len,
           r->data.micro);
    if (r->staged)
        kj_stages_print(r, d, "");
    else if (d->tokens > 0)
        printf("%-22s %.2f\n", "epochs", p->tokens / (double)d->tokens);
    teacher(r);
    printf("%-22s %.4g GFLOP (forward %.4g)\n", "per token", p->flops_token * 1e-9,
           p->flops_forward * 1e-9);
    printf("%-22s %.4g FLOP\n", "the run", p->flops);
    if (tflops > 0)
        printf("%-22s %.2f days at %g TFLOP/s\n", "time",
               p->flops / (tflops * 1e12) / 86400, tflops);
    memory(r, m, mem);
    printf("%-22s C = %.3g: learning rate %.2e, batch %.3g tokens", "DeepSeek's law",
           p->law_c, p->law_lr, p->law_batch);
    printf("%s\n", p->law_c < 1e17 ? " (fitted above 1e17 only)" : "");
    printf("%-22s learning rate %.2e, batch %" PRId64 " tokens\n", "the run file",
           r->optim.lr, p->tokens_step);
}

static void json(const struct kj_run *r, const struct kj_plan *p,
                 const struct kj_machine *m, const struct kj_memory_plan *mem,
                 const struct kj_datas *d)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 24);
    const struct {
        const char *key;
        double v;
    } rows[] = {
        {"parameters", (double)p->params},
        {"non_embedding", (double)p->non_embedding},
        {"tokens", p->tokens},
        {"steps", (double)p->steps},
        {"tokens_per_step", (double)p->tokens_step},
        {"flops_per_token", p->flops_token},
        {"flops", p->flops},
        {"bytes", (double)mem->all},
        {"bytes_free", (double)m->left},
        {"law_compute", p->law_c},
        {"law_lr", p->law_lr},
        {"law_batch_tokens", p->law_batch},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kj_buf_printf(&b, "%s\"%s\":", i ? "," : "{", rows[i].key);
        kj_json_put_real(&b, rows[i].v);
    }
    for (size_t i = 0; i < KJ_MEM_KINDS; i++) {
        kj_buf_printf(&b, ",\"%s\":", kinds[i].key);
        kj_json_put_real(&b, (double)mem->bytes[i]);
    }
    kj_buf_printf(&b,
                  ",\"device\":\"%s\",\"recompute\":\"%s\","
                  "\"recompute_deeper\":%" PRId64,
                  m->gpu ? "cuda" : "cpu", kj_recompute_name(mem->recompute),
                  mem->deeper);
    if (m->left)
        kj_buf_printf(&b, ",\"fits\":%s", mem->fits ? "true" : "false");
    if (r->staged) {
        kj_buf_addz(&b, ",\"stages\":");
        kj_stages_json(r, d, &b);
    }
    kj_buf_addz(&b, "}\n");
    fwrite(b.p, 1, b.n, stdout);
    kj_buf_release(&b);
}

/* The device, which need not be here where its memory is told or does not matter. */
static int find_machine(const struct options *o, unsigned threads, struct kj_machine *m,
                        struct kj_err *err)
{
    struct kj_backend *b = NULL;
    if (strcmp(o->device, "cuda") == 0 && o->memory) {
        kj_machine_gpu(m, o->memory, (int)o->ranks);
        return KJ_OK;
    }
    int rc = kj_backend_open(&b, o->device, threads, err);
    if (rc && strcmp(o->device, "cuda") == 0) { /* counted, without a verdict */
        kj_err_reset(err);
        kj_machine_gpu(m, 0, (int)o->ranks);
        return KJ_OK;
    }
    if (rc)
        return rc;
    kj_machine_open(m, b, (int)o->ranks);
    kj_backend_close(b);
    if (o->memory && m->gpu)
        kj_machine_gpu(m, o->memory, (int)o->ranks);
    else if (o->memory)
        kj_machine_cpu(m, o->memory, threads, (int)o->ranks);
    return KJ_OK;
}

static int plan(const char *file, const struct options *o, unsigned threads,
                struct kj_err *err)
{
    struct kj_machine m;
    struct kj_memory_plan mem;
    struct kj_run r = {0};
    struct kj_datas d = {0};
    const struct kj_shards *known = NULL;
    struct kj_plan p;
    int rc = kj_run_load(&r, file, err);
    if (rc == KJ_OK)
        rc = kj_model_set(&r, &o->set, err);
    if (rc == KJ_OK && o->data)
        r.data.manifest = o->data;
    /* What is named on the command line must be there. */
    if (rc == KJ_OK && o->data && access(o->data, F_OK) != 0)
        rc = kj_err_errno(err, KJ_FAIL, "%s", o->data);
    if (rc == KJ_OK)
        rc = kj_datas_open(&d, &r, true, err);
    for (size_t i = 0; i < d.n && !known; i++)
        known = d.v[i].first;
    if (rc == KJ_OK)
        rc = kj_run_resolve(&r, known ? kj_shards_vocab_size(known) : 0, err);
    if (rc == KJ_OK)
        rc = find_machine(o, threads, &m, err);
    if (rc == KJ_OK) {
        kj_plan_make(&r, &p);
        kj_plan_teacher(&r, &p);
        kj_memory_plan(&r, &m, &mem);
        if (o->json)
            json(&r, &p, &m, &mem, &d);
        else
            text(&r, &p, &m, &mem, &d, o->tflops);
    }
    kj_datas_close(&d);
    kj_run_release(&r);
    return rc;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    void *const cfgs[] = {&o};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status >= 0)
        return status;
    int rc = KJ_OK;
    if (o.keys)
        list_keys();
    else if (pos.n != 1)
        rc = kj_err_set(&err, KJ_USAGE, "one run file is needed");
    else
        rc = plan(pos.v[0], &o, (unsigned)common.jobs, &err);
    status = rc ? kj_cmd_fail(cmd, &err) : 0;
    kj_strs_release(&pos);
    kj_opt_release(plan_opts, &o);
    return status;
}

const struct kj_cmd kj_cmd_plan = {
    .name = "plan",
    .synopsis = "RUN.yaml [--data manifest.jsonl] [--device cuda --memory 80G]",
    .about = "what a training run will need: parameters, FLOPs, memory, time",
    .details =
        "FLOPs per token are 6 for each weight that multiplies (the head among them) "
        "and 6 x layers x heads x head_dim x T for attention, counted causally. "
        "Learning rate and batch by DeepSeek LLM's scaling law stand beside the run "
        "file's own.\n\n"
        "Memory is counted by kind for the device that kijil train would take, or for "
        "one that is not here. Where it is too little, the last line tells which "
        "settings would fit; optim.recompute: auto takes the cheapest level of what "
        "layers make again that does.",
    .examples =
        "kijil plan recipes/8b.yaml --device cuda --memory 80G  # does it fit?\n"
        "kijil plan recipes/nano-2.1b.yaml --tflops 400  # days on one such "
        "device\n"
        "kijil plan --keys  # every key of a run file with its default\n",
    .opts = (const struct kj_opt *const[]){plan_opts, NULL},
    .run = run,
};
