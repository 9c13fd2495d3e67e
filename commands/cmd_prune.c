/* cmd_prune.c - kijil prune: a smaller model out of a larger one's best parts. */
#include "commands/commands.h"

#include <stdio.h>
#include <stdlib.h>

#include "commands/data.h"
#include "commands/model.h"
#include "trainer/prune.h"

struct options {
    const char *to, *calib, *scores, *output, *device;
    struct kj_strs set;
    int64_t samples, length, seed, jobs;
    bool shuffle, force, quiet;
};

/* Minitron's number of samples, and a length whose activations fit anywhere. */
#define SAMPLES "1024"
#define LENGTH  2048

#define F(x) offsetof(struct options, x)
static const struct kj_opt prune_opts[] = {
    {"to", 0, KJ_OPT_STR, F(to), "RUN.yaml",
     "run file whose section model is the new shape", 0, 0, 0},
    {"set", 0, KJ_OPT_LIST, F(set), "KEY=VALUE",
     "override a key of it: model.intermediate_size=4608", 0, 0, 0},
    {"calib", 0, KJ_OPT_STR, F(calib), "MANIFEST",
     "shards, or an order over some (kijil mix), on which importance is measured", 0, 0,
     0},
    {"samples", 0, KJ_OPT_INT, F(samples), "N", "rows to look at", SAMPLES, 1, 1 << 30},
    {"length", 0, KJ_OPT_INT, F(length), "N",
     "tokens in a row; 0: the model's context, 2048 at most", "0", 0, 1 << 24},
    {"shuffle", 0, KJ_OPT_FLAG, F(shuffle), 0,
     "rows from all over the shards, not the first", "true", 0, 0},
    {"seed", 0, KJ_OPT_INT, F(seed), "N", "seed of that choice", "1", 0, 0x1p53},
    {"scores", 0, KJ_OPT_STR, F(scores), "FILE",
     "importance.json of an earlier run of the same model, instead of --calib", 0, 0,
     0},
    {"output", 'o', KJ_OPT_STR, F(output), "DIR", "folder of the new model", 0, 0, 0},
    {"device", 0, KJ_OPT_STR, F(device), "NAME", "compute back end: auto, cpu, cuda",
     "auto", 0, 0},
    {"jobs", 'j', KJ_OPT_INT, F(jobs), "N",
     "threads; 0: as many as processors are allowed", "0", 0, 1024},
    {"force", 0, KJ_OPT_FLAG, F(force), 0, "replace a model that is there already", 0,
     0, 0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no lines on stderr but errors", 0, 0, 0},
    {0},
};
#undef F

static int calibrate(struct kj_scores *s, const struct kj_parent *p,
                     const struct options *o, unsigned threads, struct kj_err *err)
{
    const struct kj_shape *h = &p->config.shape;
    struct kj_backend *b = NULL;
    struct kj_llama *m = NULL;
    struct kj_data d = {0};
    struct kj_loader loader = {0};
    int64_t length = o->length;
    if (length == 0)
        length = h->max_positions < LENGTH ? h->max_positions : LENGTH;
    if (length > h->max_positions)
        return kj_err_set(err, KJ_USAGE, "--length %lld is over the model's %lld",
                          (long long)length, (long long)h->max_positions);
    int rc = kj_data_open(&d, o->calib, err);
    if (rc == KJ_OK && kj_shards_vocab_size(d.first) > h->vocab_size)
        rc = kj_err_set(err, KJ_USAGE, "the shards have %lld ids, the model %lld",
                        (long long)kj_shards_vocab_size(d.first),
                        (long long)h->vocab_size);
    if (rc == KJ_OK)
        rc = kj_backend_open(&b, o->device, threads, err);
    if (rc == KJ_OK)
        rc = kj_llama_new(&m, b, h, (size_t)length, 256, false, err);
    if (rc == KJ_OK)
        rc = kj_hf_load(m, p->dir, err);
    if (rc == KJ_OK) {
        struct kj_docs docs = kj_data_docs(&d);
        rc = kj_loader_init(&loader, &docs, (uint64_t)o->seed, o->shuffle, err);
    }
    if (rc == KJ_OK)
        rc = kj_scores_make(s, m, &loader, o->samples, length, err);
    kj_loader_release(&loader);
    kj_llama_free(m);
    kj_backend_close(b);
    kj_data_close(&d);
    return rc;
}

static int shape_of(struct kj_run *r, const struct options *o,
                    const struct kj_shape *from, struct kj_err *err)
{
    int rc = kj_run_load(r, o->to, err);
    if (rc == KJ_OK)
        rc = kj_model_set(r, &o->set, err);
    return rc ? rc : kj_prune_shape(from, &r->model, err);
}

static int prune(const char *dir, const struct options *o, unsigned threads,
                 struct kj_err *err)
{
    struct kj_parent p = {0};
    struct kj_run r = {0};
    struct kj_scores s = {0};
    struct kj_kept k = {0};
    char path[4096];
    size_t n, before, after;
    int rc = kj_parent_open(&p, dir, err);
    if (rc == KJ_OK)
        rc = shape_of(&r, o, &p.config.shape, err);
    if (rc == KJ_OK)
        rc = o->scores ? kj_scores_read(&s, o->scores, err)
                       : calibrate(&s, &p, o, threads, err);
    if (rc == KJ_OK)
        rc = kj_prune_choose(&k, &s, &p.config.shape, &r.model, err);
    if (rc == KJ_OK)
        rc = kj_prune_write(&p, &r.model, &k, o->output, err);
    if (rc == KJ_OK) {
        snprintf(path, sizeof path, "%s/importance.json", o->output);
        rc = kj_scores_write(&s, path, err);
    }
    if (rc == KJ_OK && !o->quiet) {
        free(kj_llama_params(&p.config.shape, &n, &before));
        free(kj_llama_params(&r.model, &n, &after));
        fprintf(stderr,
                "kijil " KJ_VERSION " prune: %.3f M parameters of %.3f M in %s\n",
                (double)after * 1e-6, (double)before * 1e-6, o->output);
    }
    kj_kept_release(&k);
    kj_scores_release(&s);
    kj_run_release(&r);
    if (p.dir)
        kj_parent_close(&p);
    return rc;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&o}, &common, &pos);
    if (status >= 0)
        return status;
    int rc = KJ_OK;
    if (pos.n != 1)
        rc = kj_err_set(&err, KJ_USAGE, "one folder with a model is needed");
    else if (!o.to)
        rc = kj_err_set(&err, KJ_USAGE, "to which shape? give --to RUN.yaml");
    else if (!o.calib == !o.scores)
        rc = kj_err_set(&err, KJ_USAGE, "give either --calib or --scores");
    if (rc == KJ_OK)
        rc = kj_model_output(o.output, o.force, &err);
    if (rc == KJ_OK)
        rc = prune(pos.v[0], &o, (unsigned)(o.jobs ? o.jobs : common.jobs), &err);
    status = rc ? kj_cmd_fail(cmd, &err) : 0;
    kj_strs_release(&pos);
    kj_opt_release(prune_opts, &o);
    return status;
}

const struct kj_cmd kj_cmd_prune = {
    .name = "prune",
    .synopsis = "MODELDIR --to RUN.yaml --calib MANIFEST -o DIR",
    .about = "a smaller model out of the parts of a model that matter most",
    .details =
        "One pass over calibration texts scores hidden channels (over all layers "
        "together), neurons, query heads (the same number from each group of a key "
        "head) and blocks, as Minitron and the Kanana report do; the best are kept, "
        "as many as the shape of the run file has. Vocabulary, head_dim and key heads "
        "stay. Where the new model ties embedding and head and the old does not, they "
        "are averaged.\n\n"
        "DIR/importance.json holds all scores; --scores takes them again, for another "
        "shape. The model is in memory for the scores only; slicing is tensor by "
        "tensor. Afterwards train with distil.teacher in the run file.",
    .examples =
        "kijil prune out/8b --to recipes/nano-2.1b.yaml --calib shards -o out/nano  "
        "# by scores on 1024 rows\n"
        "kijil prune out/8b --to small.yaml --scores out/nano/importance.json -o "
        "out/small  # by the same\n",
    .opts = (const struct kj_opt *const[]){prune_opts, NULL},
    .run = run,
};
