/* stats.c - fertility and coverage: a parallel stage that counts, and the sums. */
#include "tokenize/stats.h"

#include <iconv.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenize/tok_internal.h"

/* Of a batch, in its arena. */
struct part {
    struct part_group {
        struct kj_str language, source;
        struct kj_tok_group sum;
    } * groups;
    size_t n_groups;
    uint64_t text[KJ_TOK_STATS_MAX], one[KJ_TOK_STATS_MAX], whole[KJ_TOK_STATS_MAX];
    unsigned char *present[KJ_TOK_STATS_MAX];
};

struct state {
    struct kj_tok_state *tok[KJ_TOK_STATS_MAX];
    struct kj_tok_ids ids[KJ_TOK_STATS_MAX];
};

uint64_t kj_tok_count_words(const char *p, size_t n)
{
    uint64_t words = 0;
    bool in = false;
    for (size_t at = 0, len; at < n; at += len) {
        bool space = kj_uni_space(kj_utf8_next(p + at, n - at, &len));
        words += !space && !in;
        in = !space;
    }
    return words;
}

/* ---- Hangul ---- */

static inline bool is_syllable(uint32_t c)
{
    return c - KJ_HANGUL_FIRST < KJ_HANGUL_N;
}

/* The code point of three bytes, of which the last two continue. */
static inline uint32_t three(uint32_t bytes)
{
    return (bytes >> 16 & 15) << 12 | (bytes >> 8 & 63) << 6 | (bytes & 63);
}

/* A window of the last three bytes: in UTF-8 they are a syllable exactly when
 * they read as one. */
static inline bool syllable_ends(uint32_t window)
{
    return (window & 0xF0C0C0) == 0xE08080 && is_syllable(three(window));
}

static uint16_t syllables_in(const char *p, size_t n)
{
    uint32_t window = 0;
    uint16_t found = 0;
    for (size_t i = 0; i < n; i++) {
        window = (window << 8 | (unsigned char)p[i]) & 0xFFFFFF;
        if (syllable_ends(window))
            found++;
    }
    return found;
}

static bool in_ksx1001(iconv_t to, uint32_t c)
{
    char utf8[4], euc[8], *in = utf8, *out = euc;
    size_t n = kj_utf8_put(c, utf8), room = sizeof euc;
    iconv(to, NULL, NULL, NULL, NULL);
    return iconv(to, &in, &n, &out, &room) == 0 && room == sizeof euc - 2 &&
           (unsigned char)euc[0] >= 0xB0 && (unsigned char)euc[0] <= 0xC8;
}

static void hangul_open(struct kj_tok_stats *s, size_t i, struct kj_tok_vocab_stats *v)
{
    struct kj_tok *t = s->tok[i];
    struct kj_tok_state *st = kj_tok_state_new(t);
    struct kj_tok_ids ids = {0};
    iconv_t to = iconv_open("EUC-KR", "UTF-8");
    s->ksx1001 = to != (iconv_t)-1;
    v->one = kj_xcalloc(KJ_HANGUL_N, 1);
    for (uint32_t k = 0; k < KJ_HANGUL_N; k++) {
        char utf8[4];
        size_t n = kj_utf8_put(KJ_HANGUL_FIRST + k, utf8);
        ids.n = 0;
        if (kj_tok_encode(t, st, utf8, n, 0, &ids, NULL) != KJ_OK || ids.n != 1)
            continue;
        v->one[k] = 1;
        v->syllables++;
        v->ksx1001 += s->ksx1001 && in_ksx1001(to, KJ_HANGUL_FIRST + k);
    }
    if (s->ksx1001)
        iconv_close(to);
    kj_tok_ids_release(&ids);
    kj_tok_state_free(st);
}

/* ---- the stage ---- */

static int stage_open(void *cfg, struct kj_err *err)
{
    struct kj_tok_stats *s = cfg;
    (void)err;
    for (size_t i = 0; i < s->n; i++) {
        const struct kj_tok *t = s->tok[i];
        struct kj_tok_vocab_stats *v = &s->v[i];
        v->inside = kj_xcalloc(t->n_ids + 1, sizeof *v->inside);
        v->present = kj_xcalloc(t->n_ids + 1, 1);
        v->hangul = t->kind == TOK_BPE && !t->by_chars;
        for (uint32_t id = 0; id < t->n_ids; id++) {
            v->size += t->ids[id].len || (t->flags[id] & TOK_ADDED);
            if (v->hangul)
                v->inside[id] = syllables_in(t->blob + t->ids[id].off, t->ids[id].len);
        }
        if (v->hangul)
            hangul_open(s, i, v);
    }
    return KJ_OK;
}

static int stage_begin(const void *cfg, void *state, struct kj_err *err)
{
    const struct kj_tok_stats *s = cfg;
    (void)err;
    for (size_t i = 0; i < s->n; i++)
        ((struct state *)state)->tok[i] = kj_tok_state_new(s->tok[i]);
    return KJ_OK;
}

static void stage_end(const void *cfg, void *state)
{
    (void)cfg;
    struct state *st = state;
    for (size_t i = 0; i < KJ_TOK_STATS_MAX; i++) {
        if (st->tok[i])
            kj_tok_state_free(st->tok[i]);
        kj_tok_ids_release(&st->ids[i]);
    }
}

static struct part *part_new(const struct kj_tok_stats *s, struct kj_batch *b)
{
    struct part *p = kj_arena_zalloc(&b->arena, sizeof *p);
    if (p)
        p->groups = kj_arena_zalloc(&b->arena, (b->n + 1) * sizeof *p->groups);
    for (size_t i = 0; p && i < s->n; i++) {
        p->present[i] = kj_arena_zalloc(&b->arena, s->tok[i]->n_ids + 1);
        if (!p->present[i])
            return NULL;
    }
    return p && p->groups ? p : NULL;
}

static struct kj_tok_group *part_group(struct part *p, const struct kj_doc *d)
{
    struct kj_str language = d->language.p ? d->language : KJ_STR("");
    struct kj_str source = d->source.p ? d->source : KJ_STR("");
    for (size_t i = 0; i < p->n_groups; i++)
        if (kj_str_eq(p->groups[i].language, language) &&
            kj_str_eq(p->groups[i].source, source))
            return &p->groups[i].sum;
    p->groups[p->n_groups] = (struct part_group){language, source, {0}};
    return &p->groups[p->n_groups++].sum;
}

/* What the ids of a document say; their bytes are its text, as normalized. */
static void count_ids(const struct kj_tok_stats *s, struct part *p, size_t i,
                      const struct kj_tok_ids *ids)
{
    const struct kj_tok *t = s->tok[i];
    const struct kj_tok_vocab_stats *v = &s->v[i];
    uint32_t window = 0;
    for (size_t k = 0; k < ids->n; k++) {
        const struct tok_bytes *w = &t->ids[ids->v[k]];
        p->present[i][ids->v[k]] = 1;
        p->whole[i] += v->inside[ids->v[k]];
        for (uint32_t q = 0; v->hangul && q < w->len; q++) {
            window = (window << 8 | (unsigned char)t->blob[w->off + q]) & 0xFFFFFF;
            if (!syllable_ends(window))
                continue;
            p->text[i]++;
            p->one[i] += v->one[three(window) - KJ_HANGUL_FIRST];
        }
    }
}

static int stage_run(const void *cfg, void *state, struct kj_batch *b,
                     struct kj_err *err)
{
    const struct kj_tok_stats *s = cfg;
    struct state *st = state;
    struct part *p = part_new(s, b);
    if (!p)
        return kj_err_set(err, KJ_FATAL, "batch too large");
    b->aux = p;
    for (size_t k = 0; k < b->n; k++) {
        struct kj_doc *d = &b->docs[k];
        struct kj_err own = KJ_ERR_INIT;
        int rc = KJ_OK;
        if (!kj_doc_kept(d))
            continue;
        for (size_t i = 0; i < s->n && rc == KJ_OK; i++) {
            st->ids[i].n = 0;
            rc =
                kj_tok_encode(s->tok[i], st->tok[i], d->text.p, d->text.n,
                              s->no_special ? KJ_TOK_NO_SPECIAL : 0, &st->ids[i], &own);
        }
        if (rc == KJ_BAD_RECORD) {
            kj_doc_damage(d, "tokenize.word",
                          kj_arena_dup(&b->arena, own.msg, strlen(own.msg)));
            continue;
        }
        if (rc != KJ_OK) {
            if (err)
                *err = own;
            return rc;
        }
        struct kj_tok_group *g = part_group(p, d);
        g->documents++;
        g->bytes += d->text.n;
        g->characters += kj_utf8_count(d->text.p, d->text.n);
        g->words += kj_tok_count_words(d->text.p, d->text.n);
        for (size_t i = 0; i < s->n; i++) {
            g->tokens[i] += st->ids[i].n;
            count_ids(s, p, i, &st->ids[i]);
        }
    }
    return KJ_OK;
}

const struct kj_stage kj_stage_tok_stats = {
    .name = "stats",
    .about = "count what vocabularies make of text",
    .cfg_size = sizeof(struct kj_tok_stats),
    .state_size = sizeof(struct state),
    .open = stage_open,
    .begin = stage_begin,
    .run = stage_run,
    .end = stage_end,
};

/* ---- sums ---- */

static void group_add(struct kj_tok_group *to, const struct kj_tok_group *from)
{
    to->documents += from->documents;
    to->bytes += from->bytes;
    to->characters += from->characters;
    to->words += from->words;
    for (size_t i = 0; i < KJ_TOK_STATS_MAX; i++)
        to->tokens[i] += from->tokens[i];
}

static struct kj_tok_group *group_of(struct kj_tok_stats *s, struct kj_str language,
                                     struct kj_str source)
{
    for (size_t i = 0; i < s->n_groups; i++)
        if (kj_str_is(language, s->groups[i].language) &&
            kj_str_is(source, s->groups[i].source))
            return &s->groups[i];
    if (s->n_groups == KJ_TOK_GROUPS_MAX - 1 && !kj_str_is(source, "(other)"))
        return group_of(s, KJ_STR(""), KJ_STR("(other)"));
    if (!s->groups)
        s->groups = kj_xcalloc(KJ_TOK_GROUPS_MAX, sizeof *s->groups);
    struct kj_tok_group *g = &s->groups[s->n_groups++];
    g->language = kj_xstrndup(language.p, language.n);
    g->source = kj_xstrndup(source.p, source.n);
    return g;
}

int kj_tok_stats_gather(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct kj_tok_stats *s = self;
    const struct part *p = b->aux;
    (void)err;
    for (size_t k = 0; k < p->n_groups; k++)
        group_add(group_of(s, p->groups[k].language, p->groups[k].source),
                  &p->groups[k].sum);
    for (size_t i = 0; i < s->n; i++) {
        struct kj_tok_vocab_stats *v = &s->v[i];
        v->text += p->text[i];
        v->text_one += p->one[i];
        v->text_whole += p->whole[i];
        for (uint32_t id = 0; id < s->tok[i]->n_ids; id++)
            v->present[id] |= p->present[i][id];
    }
    return KJ_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct kj_tok_group *x = a, *y = b;
    int c = strcmp(x->language, y->language);
    return c ? c : strcmp(x->source, y->source);
}

void kj_tok_stats_finish(struct kj_tok_stats *s)
{
    for (size_t i = 0; i < s->n; i++) {
        s->v[i].used = 0;
        for (uint32_t id = 0; id < s->tok[i]->n_ids; id++)
            s->v[i].used += s->v[i].present[id];
    }
    if (s->n_groups)
        qsort(s->groups, s->n_groups, sizeof *s->groups, by_name);
}

void kj_tok_stats_release(struct kj_tok_stats *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->v[i].one);
        free(s->v[i].inside);
        free(s->v[i].present);
        s->v[i] = (struct kj_tok_vocab_stats){0};
    }
    for (size_t i = 0; i < s->n_groups; i++) {
        free(s->groups[i].language);
        free(s->groups[i].source);
    }
    free(s->groups);
    s->groups = NULL;
    s->n_groups = 0;
}
