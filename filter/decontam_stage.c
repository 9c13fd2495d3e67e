/* decontam_stage.c - the stage decontaminate: options, verdicts, evidence. */
#include "filter/decontam.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"

#define HITS_MAX      8
#define EXCERPT_BYTES 240

struct cfg {
    struct kj_strs benchmark, fields;
    double threshold;
    bool mark;
    /* completed by open */
    struct kj_decontam *index;
    struct kj_rule rule;
    char about[240];
};

struct state {
    struct kj_decontam_state *search;
};

#define F(x) offsetof(struct cfg, x)
const struct kj_opt kj_decontam_opts[] = {
    {"benchmark", 'b', KJ_OPT_LIST, F(benchmark), "FILE",
     "benchmarks: files of JSON lines, one item a line", 0, 0, 0},
    {"threshold", 0, KJ_OPT_REAL, F(threshold), "S",
     "drop a document that holds at least this share of an item (short items: more)",
     "0.75", 0.3, 1},
    {"fields", 0, KJ_OPT_LIST, F(fields), "NAME",
     "fields of an item that are its text; default: all but those that name things", 0,
     0, 0},
    {"mark", 0, KJ_OPT_FLAG, F(mark), 0,
     "keep every document, and put what was found into its field \"contamination\"", 0,
     0, 0},
    {0},
};
#undef F

static int decontam_open(void *cfg, struct kj_err *err)
{
    struct cfg *c = cfg;
    if (!c->benchmark.n)
        return kj_err_set(err, KJ_USAGE, "no benchmark: give -b FILE.jsonl");
    c->index = kj_decontam_new(&c->fields);
    int rc = KJ_OK;
    for (size_t i = 0; i < c->benchmark.n && rc == KJ_OK; i++)
        rc = kj_decontam_add_file(c->index, c->benchmark.v[i], err);
    if (rc == KJ_OK)
        rc = kj_decontam_build(c->index, err);
    snprintf(c->about, sizeof c->about,
             "largest share of a benchmark item that the document holds; what short "
             "items lack counts more (%zu items; %zu too short to look for)",
             kj_decontam_items(c->index), kj_decontam_too_short(c->index));
    c->rule = (struct kj_rule){"decontaminate.overlap", ">=", c->threshold,
                               "share of an item", c->about};
    return rc;
}

static void decontam_close(void *cfg)
{
    struct cfg *c = cfg;
    kj_decontam_free(c->index);
    c->index = NULL;
}

static size_t decontam_rules(const void *cfg, const struct kj_rule **out)
{
    const struct cfg *c = cfg;
    *out = &c->rule;
    return 1;
}

static int decontam_begin(const void *cfg, void *state, struct kj_err *err)
{
    const struct cfg *c = cfg;
    (void)err;
    ((struct state *)state)->search = kj_decontam_state_new(c->index);
    return KJ_OK;
}

static void decontam_end(const void *cfg, void *state)
{
    (void)cfg;
    kj_decontam_state_free(((struct state *)state)->search);
}

/* contamination: [{item, id, score, start, end, text}] */
static int put_hits(struct kj_doc *d, struct kj_arena *a,
                    const struct kj_decontam_hit *h, size_t n)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    int rc = kj_buf_addc(&b, '[');
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        size_t len = h[i].end - h[i].start;
        const char *p = d->text.p + h[i].start;
        rc = kj_buf_addz(&b, i ? ",{\"item\":" : "{\"item\":");
        rc = rc ? rc : kj_json_put_str(&b, h[i].item, strlen(h[i].item));
        if (rc == KJ_OK && h[i].id)
            rc = kj_buf_printf(&b, ",\"id\":%s", h[i].id);
        rc = rc ? rc : kj_buf_addz(&b, ",\"score\":");
        rc = rc ? rc : kj_json_put_real(&b, round(h[i].score * 1e4) / 1e4);
        rc = rc ? rc
                : kj_buf_printf(&b, ",\"start\":%zu,\"end\":%zu,\"text\":", h[i].start,
                                h[i].end);
        rc = rc ? rc
                : kj_json_put_str(
                      &b, p,
                      len > EXCERPT_BYTES ? kj_utf8_cut(p, len, EXCERPT_BYTES) : len);
        rc = rc ? rc : kj_buf_addc(&b, '}');
    }
    rc = rc ? rc : kj_buf_addc(&b, ']');
    char *json = rc ? NULL : kj_arena_dup(a, b.p, b.n);
    if (json)
        kj_doc_set(d, a, "contamination", (struct kj_str){json, b.n});
    kj_buf_release(&b);
    return json ? KJ_OK : KJ_BAD_RECORD;
}

static int decontam_run(const void *cfg, void *state, struct kj_batch *b,
                        struct kj_err *err)
{
    const struct cfg *c = cfg;
    struct state *s = state;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        struct kj_decontam_hit hits[HITS_MAX];
        double best;
        if (!kj_doc_kept(d))
            continue;
        size_t n = kj_decontam_find(s->search, d->text.p, d->text.n, c->threshold, hits,
                                    HITS_MAX, &best);
        kj_doc_signal_by(d, &b->arena, &c->rule, best);
        if (n && put_hits(d, &b->arena, hits, n) != KJ_OK)
            kj_doc_damage(d, "decontaminate.memory", "the batch's memory is used up");
        else if (n && !c->mark)
            kj_doc_drop(d, c->rule.name, best, c->threshold);
    }
    return KJ_OK;
}

const struct kj_stage kj_stage_decontaminate = {
    .name = "decontaminate",
    .about = "drop or mark documents that hold benchmark items",
    .opts = kj_decontam_opts,
    .cfg_size = sizeof(struct cfg),
    .state_size = sizeof(struct state),
    .open = decontam_open,
    .begin = decontam_begin,
    .run = decontam_run,
    .end = decontam_end,
    .close = decontam_close,
    .rules = decontam_rules,
};
