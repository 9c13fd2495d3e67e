/* synth.h - a made-up corpus and two stages, for the tests of the ledger and
 * of what is made from it. Every property follows from a document's number, so
 * a test can say beforehand what the ledger must hold. */
#ifndef KJ_TESTS_SYNTH_H
#define KJ_TESTS_SYNTH_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/flow.h"

struct synth {
    uint64_t at, end;   /* numbers of the documents given */
    uint64_t batch;     /* documents in a batch */
    uint64_t twin;      /* every twin-th document repeats the id before it; 0: none */
    bool with_damage;   /* every 50th record is damaged */
    bool hostile;       /* markup in texts and addresses */
    unsigned n_signals; /* measured by the stage */
};

static inline void synth_doc(const struct synth *s, uint64_t i, struct kj_doc *d,
                             struct kj_arena *a)
{
    static const char *const langs[] = {"ko", "en", "de", "ja"};
    uint64_t name = s->twin && i % s->twin == 1 ? i - 1 : i;
    d->id.p = kj_arena_printf(a, "<urn:uuid:%08x-0000-4000-8000-%012llx>",
                              (unsigned)(name * 2654435761u), (unsigned long long)name);
    d->url.p = kj_arena_printf(a, "https://Site%llu.example.kr:8080/page/%llu%s",
                               (unsigned long long)(name % 7), (unsigned long long)name,
                               s->hostile ? "?<script>alert('u')</script>" : "");
    d->text.p = kj_arena_printf(
        a, "%s문서 번호 %llu. Plain words of document %llu follow here, %llu of them.",
        s->hostile ? "</div><script>alert(\"t\")</script><img src=x onerror=y> " : "",
        (unsigned long long)name, (unsigned long long)name,
        (unsigned long long)(name % 97));
    d->id.n = strlen(d->id.p);
    d->url.n = strlen(d->url.p);
    d->text.n = strlen(d->text.p);
    d->language = kj_str_z(langs[name % 4]);
    d->warc.file = KJ_STR("crawl-00.warc.gz");
    d->warc.offset = (int64_t)i * 1000;
    if (s->with_damage && i % 50 == 49)
        kj_doc_damage(d, "input.bad_record", "made so");
}

static inline int synth_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct synth *s = self;
    (void)err;
    if (s->at >= s->end)
        return KJ_EOF;
    for (uint64_t k = 0; k < s->batch && s->at < s->end; k++, s->at++) {
        struct kj_doc *d = kj_batch_add(b);
        synth_doc(s, s->at, d, &b->arena);
        b->bytes_in += d->text.n;
        d->serial = s->at;
    }
    b->next = (struct kj_pos){0, (int64_t)s->at};
    return KJ_OK;
}

/* Number of a document, from its offset. */
static inline uint64_t synth_number(const struct kj_doc *d)
{
    return (uint64_t)d->warc.offset / 1000;
}

static const char *const synth_names[] = {
    "alpha.words", "alpha.s01", "alpha.s02", "alpha.s03", "alpha.s04",
    "alpha.s05",   "alpha.s06", "alpha.s07", "alpha.s08", "alpha.s09",
    "alpha.s10",   "alpha.s11", "alpha.s12", "alpha.s13", "alpha.s14",
    "alpha.s15",   "alpha.s16", "alpha.s17", "alpha.s18", "alpha.s19"};

struct synth_cfg {
    int64_t signals;
    double min_words;
};

/* alpha: words below 20 are out; every tenth text is rewritten. */
static inline int alpha_run(const void *cfg, void *state, struct kj_batch *b,
                            struct kj_err *err)
{
    const struct synth_cfg *c = cfg;
    (void)state;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d))
            continue;
        uint64_t n = synth_number(d);
        double words = (double)(n % 97);
        kj_doc_signal(d, &b->arena, synth_names[0], words);
        for (int k = 1; k < c->signals; k++)
            kj_doc_signal(d, &b->arena, synth_names[k],
                          k % 2 ? (double)((n * (uint64_t)k) % 1000) / 1000 + 1e-7
                                : (double)(n % (uint64_t)(k + 3)));
        if (words < c->min_words)
            kj_doc_drop(d, "alpha.words", words, c->min_words);
        else if (n % 10 == 3)
            d->text = KJ_STR("rewritten");
    }
    return KJ_OK;
}

static inline size_t alpha_rules(const void *cfg, const struct kj_rule **out)
{
    static struct kj_rule r[20];
    const struct synth_cfg *c = cfg;
    r[0] = (struct kj_rule){"alpha.words", "<", c->min_words, "words", "words"};
    for (int i = 1; i < 20; i++)
        r[i] = (struct kj_rule){synth_names[i], "", NAN, "", "a made-up value"};
    *out = r;
    return (size_t)c->signals;
}

/* beta: every fifth document is a copy of a keeper. */
static inline int beta_run(const void *cfg, void *state, struct kj_batch *b,
                           struct kj_err *err)
{
    (void)cfg;
    (void)state;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d))
            continue;
        uint64_t n = synth_number(d);
        if (n % 5 > 1)
            continue;
        char *z = kj_arena_printf(
            &b->arena,
            "{\"id\":\"c%llu\",\"size\":%d,\"keeper\":\"k%llu\",\"similarity\":%.2f}",
            (unsigned long long)(n / 5), 2 + (int)(n / 5 % 4),
            (unsigned long long)(n / 5), 0.7 + (double)(n / 5 % 30) / 100);
        kj_doc_set(d, &b->arena, "cluster", kj_str_z(z));
        if (n % 5 == 0)
            kj_doc_drop(d, "beta.near", 0.9, NAN);
    }
    return KJ_OK;
}

static const struct kj_opt alpha_opts[] = {{"min_words", 0, KJ_OPT_REAL,
                                            offsetof(struct synth_cfg, min_words), "N",
                                            "fewest words", "20", 0, 0},
                                           {0}};
static const struct kj_stage alpha = {.name = "alpha",
                                      .about = "made-up filter",
                                      .opts = alpha_opts,
                                      .run = alpha_run,
                                      .rules = alpha_rules,
                                      .cfg_size = sizeof(struct synth_cfg)};
static const struct kj_stage beta = {.name = "beta",
                                     .about = "made-up dedup",
                                     .flags = KJ_STAGE_SERIAL,
                                     .run = beta_run};

/* What is to be expected of documents from..to. */
struct want {
    uint64_t docs, damaged, words, near, kept;
};
static inline struct want synth_want(uint64_t from, uint64_t to, bool with_damage)
{
    struct want w = {0};
    for (uint64_t i = from; i < to; i++) {
        w.docs++;
        if (with_damage && i % 50 == 49)
            w.damaged++;
        else if (i % 97 < 20)
            w.words++;
        else if (i % 5 == 0)
            w.near++;
        else
            w.kept++;
    }
    return w;
}

#endif
