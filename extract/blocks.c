/* blocks.c - see blocks.h. */
#include "extract/blocks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "extract/hints.h"

void kj_blocks_release(struct kj_blocks *k)
{
    free(k->b);
    free(k->around);
    free(k->text);
    free(k->link);
    free(k->kin);
    free(k->seen);
    free(k->count);
    memset(k, 0, sizeof *k);
}

/* ---- the page's sums, and what lies around each node ---- */

void kj_blocks_begin(struct kj_blocks *k, const struct kj_content *c,
                     const struct kj_tree *t)
{
    if (t->n + 1 > k->node_cap) {
        k->node_cap = t->n + 1 + t->n / 2;
        k->text = kj_xrealloc(k->text, k->node_cap * sizeof *k->text);
        k->link = kj_xrealloc(k->link, k->node_cap * sizeof *k->link);
        k->kin = kj_xrealloc(k->kin, k->node_cap * sizeof *k->kin);
        k->around = kj_xrealloc(k->around, k->node_cap * sizeof *k->around);
    }
    memcpy(k->text, c->text, (t->n + 1) * sizeof *k->text);
    memcpy(k->link, c->link, (t->n + 1) * sizeof *k->link);
}

/* Elements whose being around a block says something. */
static const uint32_t telling[KJ_N_TAGS] = {
    [KJ_TAG_nav] = 1u << 0,         [KJ_TAG_header] = 1u << 1,
    [KJ_TAG_footer] = 1u << 2,      [KJ_TAG_aside] = 1u << 3,
    [KJ_TAG_main] = 1u << 4,        [KJ_TAG_article] = 1u << 5,
    [KJ_TAG_form] = 1u << 6,        [KJ_TAG_table] = 1u << 7,
    [KJ_TAG_ul] = 1u << 8,          [KJ_TAG_ol] = 1u << 9,
    [KJ_TAG_dl] = 1u << 10,         [KJ_TAG_figure] = 1u << 11,
    [KJ_TAG_blockquote] = 1u << 12, [KJ_TAG_pre] = 1u << 13,
    [KJ_TAG_section] = 1u << 14,    [KJ_TAG_a] = 1u << 15,
    [KJ_TAG_li] = 1u << 16,         [KJ_TAG_td] = 1u << 17,
    [KJ_TAG_th] = 1u << 18,         [KJ_TAG_p] = 1u << 19,
    [KJ_TAG_button] = 1u << 20,     [KJ_TAG_label] = 1u << 21,
    [KJ_TAG_details] = 1u << 22,    [KJ_TAG_dialog] = 1u << 23,
    [KJ_TAG_noscript] = 1u << 24,   [KJ_TAG_center] = 1u << 25,
    [KJ_TAG_address] = 1u << 26,    [KJ_TAG_figcaption] = 1u << 27,
    [KJ_TAG_small] = 1u << 28,
};
#define AROUND_MAIN (1u << 29) /* role=main */
#define AROUND_HIDE (1u << 30) /* hidden */

static uint32_t class_hash(const struct kj_node *x)
{
    return x->attr && x->attr->cls.n
               ? (uint32_t)kj_hash64(x->attr->cls.p, x->attr->cls.n, x->tag)
               : x->tag;
}

/* Siblings that look alike: cards of a listing, posts of a thread. Counted as
 * runs among the element children of one parent, in one pass. */
static void count_kin(struct kj_blocks *k, const struct kj_tree *t, uint32_t p)
{
    enum { SLOTS = 16 };
    uint32_t hash[SLOTS], n[SLOTS];
    size_t used = 0;
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = p + 1; i < t->nodes[p].end; i = t->nodes[i].end) {
            const struct kj_node *x = &t->nodes[i];
            if (x->tag == KJ_TAG_TEXT)
                continue;
            uint32_t h = class_hash(x);
            size_t s = 0;
            while (s < used && hash[s] != h)
                s++;
            if (pass == 0 && s == used && used < SLOTS) {
                hash[used] = h;
                n[used++] = 0;
            }
            if (pass == 0 && s < used)
                n[s]++;
            if (pass == 1)
                k->kin[i] = s < used ? n[s] : 1;
        }
}

static void look_around(struct kj_blocks *k, const struct kj_content *c,
                        const struct kj_tree *t)
{
    memset(&k->around[0], 0, sizeof k->around[0]);
    k->kin[0] = 1;
    count_kin(k, t, 0);
    for (uint32_t i = 1; i < t->n; i++) {
        const struct kj_node *x = &t->nodes[i];
        struct kj_around a = k->around[x->parent];
        if (x->tag != KJ_TAG_TEXT) {
            a.hints |= c->hint[i];
            a.rules |= x->flags;
            a.tags |= telling[x->tag];
            if (x->attr && kj_str_is(x->attr->role, "main"))
                a.tags |= AROUND_MAIN;
            if (x->attr && x->attr->hidden)
                a.tags |= AROUND_HIDE;
            if (!(x->flags & KJ_NF_HARD))
                count_kin(k, t, i);
        }
        k->around[i] = a;
    }
}

/* ---- cutting the page into blocks ---- */

static void add_text(struct kj_block *b, const struct kj_blocks *k,
                     const struct kj_content *c, const struct kj_tree *t, uint32_t i)
{
    struct kj_str s = t->nodes[i].text;
    if (!c->weight[i])
        return;
    b->end = i + 1;
    b->weight += c->weight[i];
    b->link += k->link[i + 1] - k->link[i];
    uint64_t h = b->hash;
    for (size_t j = 0; j < s.n; j++)
        if ((unsigned char)s.p[j] > ' ')
            h = (h ^ (unsigned char)s.p[j]) * 0x100000001B3u;
    b->hash = h;
}

static bool flush(struct kj_blocks *k, struct kj_block *b)
{
    if (b->weight) {
        if (k->n == KJ_BLOCKS_MAX)
            return false;
        if (k->n == k->cap) {
            k->cap = k->cap ? 2 * k->cap : 512;
            k->b = kj_xrealloc(k->b, k->cap * sizeof *k->b);
        }
        k->b[k->n++] = *b;
    }
    memset(b, 0, sizeof *b);
    return true;
}

static bool breaks(uint8_t tag)
{
    return (kj_tag_class(tag) & KJ_TC_BLOCK) || tag == KJ_TAG_OTHER;
}

static bool cut_blocks(struct kj_blocks *k, const struct kj_content *c,
                       const struct kj_tree *t)
{
    struct kj_block b;
    uint32_t box = 0, br = 0;
    memset(&b, 0, sizeof b);
    k->n = 0;
    for (uint32_t i = 1; i < t->n;) {
        const struct kj_node *x = &t->nodes[i];
        while (box && t->nodes[box].end <= i) { /* leave boxes */
            if (!flush(k, &b))
                return false;
            do
                box = t->nodes[box].parent;
            while (box && !breaks(t->nodes[box].tag));
        }
        if (x->flags & KJ_NF_HARD) {
            i = x->end;
            continue;
        }
        if (x->tag == KJ_TAG_TEXT) {
            if (c->weight[i]) {
                br = 0;
                if (!b.weight) {
                    b.first = i;
                    b.box = box;
                }
            }
            add_text(&b, k, c, t, i);
        } else if (x->tag == KJ_TAG_br) {
            if (++br >= 2 && !flush(k, &b))
                return false;
        } else if (breaks(x->tag)) {
            if (!flush(k, &b))
                return false;
            box = i;
        }
        i++;
    }
    return flush(k, &b) && k->n >= KJ_BLOCKS_MIN;
}

/* ---- twins, the title, the first h1 ---- */

static void count_twins(struct kj_blocks *k)
{
    size_t cap = 64;
    while (cap < 2 * k->n)
        cap *= 2;
    if (cap > k->seen_cap) {
        k->seen_cap = cap;
        k->seen = kj_xrealloc(k->seen, cap * sizeof *k->seen);
        k->count = kj_xrealloc(k->count, cap * sizeof *k->count);
    }
    memset(k->count, 0, cap * sizeof *k->count);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < k->n; i++) {
            uint64_t h = k->b[i].hash;
            size_t s = (h ^ (h >> 29)) & (cap - 1);
            while (k->count[s] && k->seen[s] != h)
                s = (s + 1) & (cap - 1);
            k->seen[s] = h;
            if (pass == 0)
                k->count[s]++;
            else
                k->b[i].twins = k->count[s];
        }
}

static bool is_letter(unsigned char c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* Hash of the word at *i, which is moved behind it; 0 at the end. */
static uint64_t next_word(struct kj_str s, size_t *i)
{
    while (*i < s.n && !is_letter((unsigned char)s.p[*i]))
        ++*i;
    uint64_t h = 0xCBF29CE484222325u;
    size_t a = *i;
    for (; *i < s.n && is_letter((unsigned char)s.p[*i]); ++*i) {
        unsigned char c = (unsigned char)s.p[*i];
        h = (h ^ (c < 0x80 ? c | 32u : c)) * 0x100000001B3u;
    }
    return *i > a ? h : 0;
}

static void read_title(struct kj_blocks *k, const struct kj_tree *t)
{
    k->n_title = 0;
    for (size_t i = 1; i + 1 < t->n; i++) {
        if (t->nodes[i].tag != KJ_TAG_title || t->nodes[i + 1].tag != KJ_TAG_TEXT)
            continue;
        size_t at = 0;
        uint64_t h;
        while (k->n_title < 64 && (h = next_word(t->nodes[i + 1].text, &at)) != 0)
            k->title[k->n_title++] = h;
        return;
    }
}

static bool has(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    const char *p = s.p, *end = s.p + s.n;
    while (p && (size_t)(end - p) >= n &&
           (p = memchr(p, z[0], (size_t)(end - p) - n + 1)) != NULL)
        if (memcmp(p++, z, n) == 0)
            return true;
    return false;
}

#define squash(v, scale) kj_squash((float)(v), (float)(1 / log1p(scale)))

static float share(double a, double b)
{
    return b > 0 ? (float)(a / b) : 0;
}

/* ---- numbers of the page ---- */

static void read_address(struct kj_str url, float **x)
{
    static const char *const parts[][6] = {
        {"forum", "thread", "topic", "question", "/t/", "community"},
        {"product", "/p/", "/dp/", "/item", "shop", "store"},
        {"collection", "categor", "catalog", "/c/", "search", "/tag"},
        {"docs", "/doc", "manual", "guide", "reference", "/api"},
        {"blog", "news", "article", "/20", "post", "story"},
        {"service", "solution", "about", "pricing", "feature", "platform"},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        bool any = false;
        for (size_t k = 0; k < 6; k++)
            any |= has(url, parts[i][k]);
        *(*x)++ = any;
    }
    unsigned slashes = 0, digits = 0, dashes = 0;
    for (size_t i = 0; i < url.n; i++) {
        slashes += url.p[i] == '/';
        digits += url.p[i] >= '0' && url.p[i] <= '9';
        dashes += url.p[i] == '-';
    }
    *(*x)++ = url.n ? 1 : 0;
    *(*x)++ = squash(slashes, 8);
    *(*x)++ = squash(digits, 16);
    *(*x)++ = squash(dashes, 8);
}

static void read_kinds(const struct kj_tree *t, struct kj_str og, float **x)
{
    static const char *const kinds[] = {
        "Article\"",  "NewsArticle",    "BlogPosting",  "Product\"",   "QAPage",
        "Discussion", "CollectionPage", "ItemList\"",   "TechArticle", "FAQPage",
        "Recipe\"",   "Organization\"", "articleBody\""};
    struct kj_str ld = {t->ld.p, t->ld.n};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        *(*x)++ = has(ld, kinds[i]);
    *(*x)++ = has(og, "article");
    *(*x)++ = has(og, "product");
    *(*x)++ = has(og, "website");
}

static void read_page(struct kj_blocks *k, const struct kj_content *c,
                      const struct kj_tree *t)
{
    struct kj_str og = {NULL, 0}, url = {NULL, 0};
    unsigned tags[KJ_N_TAGS] = {0}, long_blocks = 0, kept = 0;
    for (size_t i = 1; i < t->n; i++) {
        const struct kj_node *x = &t->nodes[i];
        tags[x->tag]++;
        if (x->tag == KJ_TAG_meta && x->attr) {
            struct kj_str n = x->attr->property.n ? x->attr->property : x->attr->name;
            if (kj_str_is(n, "og:type"))
                og = x->attr->content;
            if (kj_str_is(n, "og:url") && !url.n)
                url = x->attr->content;
        }
        if (x->tag == KJ_TAG_link && x->attr && kj_str_is(x->attr->rel, "canonical"))
            url = x->attr->href;
    }
    k->h1 = (uint32_t)k->n;
    for (size_t i = 0; i < k->n; i++) {
        long_blocks += k->b[i].weight > 150;
        kept += !(k->around[k->b[i].first].rules & KJ_NF_SKIP);
        if (k->h1 == k->n && t->nodes[k->b[i].box].tag == KJ_TAG_h1)
            k->h1 = (uint32_t)i;
    }
    double all = k->text[t->n];
    float *x = k->page;
    *x++ = squash(all, 50000);
    *x++ = share(k->link[t->n], all);
    *x++ = squash((double)k->n, 1000);
    *x++ = share(long_blocks, (double)k->n);
    *x++ = squash(long_blocks, 50);
    *x++ = share(kept, (double)k->n);
    *x++ = (float)c->share;
    *x++ = c->forum;
    *x++ = k->h1 < k->n;
    *x++ = squash(tags[KJ_TAG_article], 20);
    *x++ = tags[KJ_TAG_main] > 0;
    *x++ = squash(tags[KJ_TAG_p], 100);
    *x++ = squash(tags[KJ_TAG_li], 300);
    *x++ = squash(tags[KJ_TAG_h2] + tags[KJ_TAG_h3], 50);
    *x++ = squash(tags[KJ_TAG_img], 100);
    *x++ = squash(tags[KJ_TAG_time], 20);
    *x++ = squash(tags[KJ_TAG_pre] + tags[KJ_TAG_code], 50);
    *x++ = squash(tags[KJ_TAG_td], 200);
    *x++ = squash(tags[KJ_TAG_dt], 50);
    read_address(url, &x);
    read_kinds(t, og, &x);
}

bool kj_blocks_find(struct kj_blocks *k, const struct kj_content *c,
                    const struct kj_tree *t)
{
    if (!cut_blocks(k, c, t))
        return false;
    look_around(k, c, t);
    uint32_t before = 0;
    for (size_t i = 0; i < k->n; i++) {
        k->b[i].before = before;
        before += k->b[i].weight;
    }
    count_twins(k);
    read_title(k, t);
    read_page(k, c, t);
    return true;
}
