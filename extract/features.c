/* features.c - the numbers of a block, see blocks.h.
 *
 * All lie about between 0 and 1. Their order is that of the code, and the same
 * for the training script, which gets them from here. */
#include "extract/blocks.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "extract/phrases.h"

/* The C library's logf may round otherwise on another machine; this does not.
 * v is 2^e m with m in [1,2), log(m) is the series of 2 artanh((m-1)/(m+1)). */
float kj_squash(float v, float per)
{
    uint32_t bits;
    v += 1;
    memcpy(&bits, &v, sizeof bits);
    int e = (int)(bits >> 23) - 127;
    bits = (bits & 0x7FFFFF) | 0x3F800000;
    memcpy(&v, &bits, sizeof v);
    float s = (v - 1) / (v + 1), q = s * s;
    float m = 2 * s * (1 + q * (1.F / 3 + q * (0.2F + q * (1.F / 7 + q * (1.F / 9)))));
    float r = ((float)e * 0.69314718F + m) * per;
    return r > 1.5F ? 1.5F : r;
}
#define squash(v, scale) kj_squash((float)(v), (float)(1 / log1p(scale)))

static float share(double a, double b)
{
    return b > 0 ? (float)(a / b) : 0;
}

/* ---- the text of a block ---- */

struct marks {
    uint64_t names;
    unsigned ends, commas, digits, upper, money, bars, at, copy, quotes, bytes;
    unsigned words, in_title, in_meta, in_ld, runs, inlines, years, hours, links;
    unsigned char first, last;
    bool time, author, strong, here, mail, away;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void mark_bytes(struct marks *m, struct kj_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ')
            continue;
        if (!m->bytes)
            m->first = c;
        m->bytes++;
        m->last = c;
        bool gap = i + 1 == s.n || (unsigned char)s.p[i + 1] <= ' ';
        switch (c) {
        case '.':
        case '!':
        case '?':
            m->ends += gap;
            break;
        case ',':
            m->commas += gap;
            break;
        case '|':
        case '>':
        case '/':
            m->bars++;
            break;
        case '@':
            m->at++;
            break;
        case '$':
            m->money++;
            break;
        case '"':
            m->quotes++;
            break;
        case ':':
            m->hours += i > 0 && is_digit(s.p[i - 1]) && !gap && is_digit(s.p[i + 1]);
            break;
        case 0xC2: /* pound, copyright, middle dot, right guillemet */
            if (i + 1 < s.n) {
                unsigned char d = (unsigned char)s.p[i + 1];
                m->money += d == 0xA3;
                m->copy += d == 0xA9;
                m->bars += d == 0xB7 || d == 0xBB;
            }
            break;
        case 0xE2: /* euro, won; curly quotes */
            if (i + 2 < s.n && (unsigned char)s.p[i + 1] == 0x82)
                m->money++;
            else if (i + 2 < s.n && (unsigned char)s.p[i + 1] == 0x80)
                m->quotes += ((unsigned char)s.p[i + 2] & 0xFE) == 0x9C;
            break;
        case 0xE3: /* ideographic full stop */
            m->ends += i + 2 < s.n && (unsigned char)s.p[i + 1] == 0x80 &&
                       (unsigned char)s.p[i + 2] == 0x82;
            break;
        default:
            m->upper += c >= 'A' && c <= 'Z';
            if (is_digit((char)c)) {
                m->digits++;
                m->years +=
                    s.n - i >= 4 && (i == 0 || !is_digit(s.p[i - 1])) &&
                    (memcmp(s.p + i, "20", 2) == 0 || memcmp(s.p + i, "19", 2) == 0) &&
                    is_digit(s.p[i + 2]) && is_digit(s.p[i + 3]) &&
                    (s.n - i == 4 || !is_digit(s.p[i + 4]));
            }
        }
    }
}

static void mark_words(struct marks *m, const struct kj_blocks *k, struct kj_str s)
{
    for (size_t i = 0; i < s.n;) {
        uint64_t h = 0xCBF29CE484222325u;
        size_t a = i;
        for (; i < s.n; i++) {
            unsigned char c = (unsigned char)s.p[i];
            if (!(c >= 0x80 || is_digit((char)c) ||
                  ((c | 32) >= 'a' && (c | 32) <= 'z')))
                break;
            h = (h ^ (c < 0x80 ? c | 32u : c)) * 0x100000001B3u;
        }
        if (i == a) {
            i++;
            continue;
        }
        m->words++;
        unsigned where = kj_words_find(&k->words, h);
        m->in_title += where & 1;
        m->in_meta += where >> 1 & 1;
        m->in_ld += where >> 2 & 1;
    }
}

static void mark_link(struct marks *m, struct kj_str href)
{
    if (!href.n)
        return;
    m->links++;
    m->here |= href.p[0] == '#';
    m->mail |= href.n > 4 &&
               (memcmp(href.p, "mail", 4) == 0 || memcmp(href.p, "tel:", 4) == 0);
    m->away |= href.n > 4 && memcmp(href.p, "http", 4) == 0;
}

static void read_block(struct marks *m, const struct kj_blocks *k,
                       const struct kj_content *c, const struct kj_tree *t,
                       const struct kj_block *b)
{
    memset(m, 0, sizeof *m);
    for (uint32_t i = b->first; i < b->end; i++) {
        const struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_TEXT) {
            if (!c->weight[i])
                continue;
            m->runs++;
            mark_bytes(m, x->text);
            if (m->words < 80)
                mark_words(m, k, x->text);
        } else {
            m->inlines++;
            if (x->tag == KJ_TAG_a && x->attr)
                mark_link(m, x->attr->href);
        }
    }
    /* Inline elements around the first run, up to the box. */
    for (uint32_t i = b->first; i > b->box; i = t->nodes[i].parent) {
        const struct kj_node *x = &t->nodes[i];
        m->names |= c->hint[i];
        if (x->tag == KJ_TAG_a && x->attr)
            mark_link(m, x->attr->href);
        m->time |= x->tag == KJ_TAG_time;
        m->strong |= x->tag == KJ_TAG_b || x->tag == KJ_TAG_strong;
        if (x->tag != KJ_TAG_TEXT && x->attr)
            m->author |= kj_str_is(x->attr->rel, "author") ||
                         kj_str_is(x->attr->itemprop, "author");
    }
}

static unsigned kind_of_char(unsigned char c)
{
    return c >= 'a' && c <= 'z'   ? 0
           : c >= 'A' && c <= 'Z' ? 1
           : c >= '0' && c <= '9' ? 2
           : c >= 0x80            ? 3
                                  : 4;
}

static float *put_text(float *x, const struct marks *m, const struct kj_block *b)
{
    double w = b->weight;
    *x++ = squash(w, 1000);
    *x++ = w < 12;
    *x++ = w < 40;
    *x++ = w > 120;
    *x++ = share(b->link, w);
    *x++ = b->link == 0;
    *x++ = squash(m->ends, 8);
    *x++ = m->ends > 0;
    *x++ = squash(m->commas, 8);
    *x++ = share(m->digits, w);
    *x++ = share(m->upper, w);
    *x++ = m->money > 0;
    *x++ = squash(m->bars, 8);
    *x++ = m->at > 0;
    *x++ = m->copy > 0;
    *x++ = m->quotes > 0;
    *x++ = m->years > 0;
    *x++ = m->hours > 0;
    *x++ = m->years > 0 && w < 60;
    *x++ = squash(m->runs, 16);
    *x++ = squash(m->inlines, 16);
    *x++ = m->time;
    *x++ = m->author;
    *x++ = m->strong;
    for (unsigned i = 0; i < 5; i++)
        *x++ = kind_of_char(m->first) == i;
    *x++ = m->last == '.' || m->last == '!' || m->last == '?' || m->last == 0x82;
    *x++ = m->last == ':';
    *x++ = squash(m->words, 200);
    *x++ = share(m->bytes, m->words * 10.0);
    *x++ = squash(m->links, 10);
    *x++ = m->here;
    *x++ = m->mail;
    *x++ = m->away;
    return x;
}

/* Words that the title, the description or JSON-LD have too. */
static float *put_words(float *x, const struct marks *m, const struct kj_blocks *k)
{
    *x++ = share(m->in_title, m->words);
    *x++ = share(m->in_title, (double)k->n_title);
    *x++ = share(m->in_meta, m->words);
    *x++ = share(m->in_ld, m->words);
    *x++ = m->words > 8 && m->in_meta * 2 > m->words;
    *x++ = m->words > 8 && m->in_ld * 2 > m->words;
    return x;
}

/* What other blocks say too, and what the structured data says. */
static float *put_runs(float *x, const struct kj_blocks *k, size_t at)
{
    const struct kj_block *b = &k->b[at];
    unsigned twice = 0, said[KJ_SAID_WHERE] = {0};
    for (uint32_t i = b->run; i < b->run + b->n_runs; i++) {
        const struct kj_said_run *g = &k->said.table[k->said.at[i]];
        twice += g->texts > 1;
        for (unsigned s = 0; s < KJ_SAID_WHERE; s++)
            said[s] += g->said >> s & 1;
    }
    *x++ = share(twice, b->n_runs);
    *x++ = b->n_runs > 8 && twice * 10 > b->n_runs * 8;
    for (unsigned s = 0; s < KJ_SAID_WHERE; s++)
        *x++ = share(said[s], b->n_runs);
    return x;
}

/* What the heading above says, and what the section under it is made of. */
static float *put_section(float *x, const struct kj_blocks *k, const struct kj_tree *t,
                          size_t at)
{
    const struct kj_block *b = &k->b[at];
    bool any = b->head < k->n;
    const struct kj_block *h = any ? &k->b[b->head] : b;
    unsigned level = any ? t->nodes[h->box].tag - KJ_TAG_h1 + 1u : 0;
    const struct kj_block *last = &k->b[k->n - 1];
    double start = any ? h->before : 0, links = any ? h->links : 0;
    double end = b->next < k->n ? k->b[b->next].before : last->before + last->weight;
    double l = b->next < k->n ? k->b[b->next].links : last->links + last->link;
    for (unsigned i = 1; i < KJ_N_PHRASES; i++)
        *x++ = b->phrase == i;
    for (unsigned i = 1; i < KJ_N_PHRASES; i++)
        *x++ = any && h->phrase == i;
    for (unsigned i = 0; i < 5; i++)
        *x++ = i == (level > 4 ? 4 : level);
    *x++ = any ? squash((double)(at - b->head), 30) : 0;
    *x++ = squash(end - start, 2000);
    *x++ = share(l - links, end - start);
    *x++ = squash((double)b->next - (any ? b->head : 0.0), 50);
    return x;
}

static float *put_twins(float *x, const struct kj_block *b)
{
    *x++ = b->twins > 1;
    *x++ = squash(b->twins - 1.0, 10);
    *x++ = b->twin > 0;
    return x;
}

/* ---- where a block stands ---- */

static float *put_tags(float *x, const struct kj_tree *t, const struct kj_block *b)
{
    static const uint8_t own[] = {
        KJ_TAG_p,  KJ_TAG_li, KJ_TAG_h1,  KJ_TAG_h2,         KJ_TAG_h3,
        KJ_TAG_h4, KJ_TAG_td, KJ_TAG_div, KJ_TAG_pre,        KJ_TAG_blockquote,
        KJ_TAG_dd, KJ_TAG_dt, KJ_TAG_th,  KJ_TAG_figcaption, KJ_TAG_section,
    };
    uint8_t tag = t->nodes[b->box].tag;
    for (size_t i = 0; i < sizeof own; i++)
        *x++ = tag == own[i];
    *x++ = tag == KJ_TAG_h5 || tag == KJ_TAG_h6;
    *x++ = squash(t->nodes[b->box].depth, 40);
    return x;
}

static float *put_bits(float *x, uint32_t bits, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        *x++ = bits >> i & 1;
    return x;
}

/* A box around the block: how much of the page it is, and of what kind. */
static float *put_box(float *x, const struct kj_blocks *k, const struct kj_content *c,
                      const struct kj_tree *t, uint32_t i, bool hints)
{
    double all = k->text[t->n], plain = all - k->link[t->n];
    double w = k->text[t->nodes[i].end] - k->text[i];
    double l = k->link[t->nodes[i].end] - k->link[i];
    *x++ = squash(w, 5000);
    *x++ = share(l, w);
    *x++ = share(w, all);
    *x++ = share(w - l, plain);
    *x++ = squash(k->kin[i] - 1.0, 30);
    if (hints)
        x = put_bits(x, c->hint[i], 9);
    return x;
}

/* Hints of everything around, names of what is near. */
static float *put_names(float *x, const struct kj_blocks *k, const struct kj_content *c,
                        const struct kj_tree *t, const struct kj_block *b,
                        uint64_t names)
{
    const struct kj_around *a = &k->around[b->first];
    x = put_bits(x, a->hints, 9);
    x = put_bits(x, a->rules, 7);
    names |= c->hint[b->box];
    for (uint32_t i = b->box; i > b->wider[0]; i = t->nodes[i].parent)
        names |= c->hint[i];
    for (unsigned i = 0; i < KJ_N_NAMES; i++)
        *x++ = names >> (KJ_NAME_FIRST + i) & 1;
    return x;
}

/* What is folded, and whether the two blocks before unfold something. */
static float *put_folds(float *x, const struct kj_blocks *k, size_t at)
{
    const struct kj_around *a = &k->around[k->b[at].first];
    unsigned before = 0;
    for (size_t i = at > 2 ? at - 2 : 0; i < at; i++)
        before |= k->around[k->b[i].first].folds;
    x = put_bits(x, a->folds, KJ_FOLDS);
    x = put_bits(x, before, 2);
    return x;
}

static float *put_place(float *x, const struct kj_blocks *k, const struct kj_content *c,
                        const struct kj_tree *t, size_t at)
{
    const struct kj_block *b = &k->b[at];
    *x++ = b->first >= c->root && b->first < t->nodes[c->root].end;
    *x++ = b->first < c->root;
    *x++ = share(b->before, k->text[t->n]);
    *x++ = share((double)at, (double)k->n);
    *x++ = squash((double)at, 200);
    *x++ = squash((double)(k->n - at), 200);
    *x++ = k->h1 < k->n && at > k->h1;
    *x++ = k->h1 < k->n ? squash(fabs((double)at - k->h1), 50) : 0;
    return x;
}

const struct kj_block_group kj_block_groups[] = {
    {"text", 37},
    {"words of the head", 6},
    {"headings, phrases", 23},
    {"twins", 3},
    {"runs of words", 2 + KJ_SAID_WHERE},
    {"tags", 48},
    {"hints, rules", 16},
    {"names", KJ_N_NAMES},
    {"folds", KJ_FOLDS + 2},
    {"place", 8},
    {"boxes", 38},
    {"page", KJ_PAGE_FEATURES},
    {NULL, 0},
};

size_t kj_block_features(const struct kj_blocks *k, const struct kj_content *c,
                         const struct kj_tree *t, size_t i, float *x)
{
    const struct kj_block *b = &k->b[i];
    const float *start = x;
    struct marks m;
    read_block(&m, k, c, t, b);
    x = put_text(x, &m, b);
    x = put_words(x, &m, k);
    x = put_section(x, k, t, i);
    x = put_twins(x, b);
    x = put_runs(x, k, i);
    x = put_tags(x, t, b);
    x = put_bits(x, k->around[b->first].tags, 31);
    x = put_names(x, k, c, t, b, m.names);
    x = put_folds(x, k, i);
    x = put_place(x, k, c, t, i);
    x = put_box(x, k, c, t, b->box, true);
    for (int up = 0; up < KJ_BLOCK_BOXES; up++)
        x = put_box(x, k, c, t, b->wider[up], up == 0);
    return (size_t)(x - start);
}
