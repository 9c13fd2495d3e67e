/* blocks.c - see blocks.h. */
#define _GNU_SOURCE /* memmem */
#include "extract/blocks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "extract/hints.h"
#include "extract/phrases.h"

void kj_blocks_release(struct kj_blocks *k)
{
    free(k->b);
    free(k->around);
    free(k->text);
    free(k->link);
    free(k->kin);
    free(k->form);
    free(k->seen);
    free(k->count);
    free(k->place);
    kj_said_release(&k->said);
    memset(k, 0, sizeof *k);
}

/* ---- the page's sums ---- */

void kj_blocks_begin(struct kj_blocks *k, const struct kj_content *c,
                     const struct kj_tree *t)
{
    if (t->n + 1 > k->node_cap) {
        k->node_cap = t->n + 1 + t->n / 2;
        k->text = kj_xrealloc(k->text, k->node_cap * sizeof *k->text);
        k->link = kj_xrealloc(k->link, k->node_cap * sizeof *k->link);
        k->kin = kj_xrealloc(k->kin, k->node_cap * sizeof *k->kin);
        k->form = kj_xrealloc(k->form, k->node_cap * sizeof *k->form);
        k->around = kj_xrealloc(k->around, k->node_cap * sizeof *k->around);
    }
    memcpy(k->text, c->text, (t->n + 1) * sizeof *k->text);
    memcpy(k->link, c->link, (t->n + 1) * sizeof *k->link);
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
        k->place = kj_xrealloc(k->place, cap * sizeof *k->place);
    }
    memset(k->count, 0, cap * sizeof *k->count);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < k->n; i++) {
            uint64_t h = k->b[i].hash;
            size_t s = (h ^ (h >> 29)) & (cap - 1);
            while (k->count[s] && k->seen[s] != h)
                s = (s + 1) & (cap - 1);
            k->seen[s] = h;
            if (pass == 0) {
                if (!k->count[s])
                    k->place[s] = (uint32_t)i;
                k->b[i].twin = k->count[s]++;
                k->b[i].same = k->place[s];
            } else {
                k->b[i].twins = k->count[s];
            }
        }
}

/* Blocks in boxes of the same form, in boxes of the same form: the titles of
 * all cards of a listing, the bodies of all posts of a thread. */
static void find_kinds(struct kj_blocks *k, const struct kj_tree *t)
{
    size_t cap = 64;
    while (cap < 2 * k->n)
        cap *= 2;
    memset(k->count, 0, cap * sizeof *k->count);
    k->kinds = 0;
    for (size_t i = 0; i < k->n; i++) {
        uint32_t at = k->b[i].box;
        uint64_t h = 0;
        for (int up = 0; up < 3; up++, at = t->nodes[at].parent)
            h = (h ^ k->form[at]) * 0x9E3779B97F4A7C15u;
        size_t s = (h ^ (h >> 29)) & (cap - 1);
        while (k->count[s] && k->seen[s] != h)
            s = (s + 1) & (cap - 1);
        if (!k->count[s]) {
            k->seen[s] = h;
            k->count[s] = (uint32_t)++k->kinds;
        }
        k->b[i].like = k->count[s] - 1;
    }
}

/* The next box up that holds noticeably more text. */
static uint32_t wider(const struct kj_blocks *k, const struct kj_tree *t, uint32_t i)
{
    uint32_t w = k->text[t->nodes[i].end] - k->text[i];
    while (i) {
        i = t->nodes[i].parent;
        if (k->text[t->nodes[i].end] - k->text[i] > w + w / 4)
            break;
    }
    return i;
}

/* The first block at or behind a node. */
static uint32_t block_at(const struct kj_blocks *k, uint32_t node)
{
    size_t a = 0, b = k->n;
    while (a < b) {
        size_t m = (a + b) / 2;
        if (k->b[m].first < node)
            a = m + 1;
        else
            b = m;
    }
    return (uint32_t)a;
}

static void find_boxes(struct kj_blocks *k, const struct kj_tree *t)
{
    for (size_t i = 0; i < k->n; i++) {
        struct kj_block *b = &k->b[i];
        const struct kj_block *last = i ? b - 1 : b;
        uint32_t box = b->box;
        for (int up = 0; up < KJ_BLOCK_BOXES; up++) {
            box = wider(k, t, box);
            b->wider[up] = box;
            if (i && last->wider[up] == box) {
                b->lo[up] = last->lo[up];
                b->hi[up] = last->hi[up];
            } else {
                b->lo[up] = block_at(k, box);
                b->hi[up] = block_at(k, t->nodes[box].end);
            }
        }
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

/* Where a word is or would be in the table. */
static size_t slot_of(const struct kj_words *w, uint64_t h)
{
    enum { N = sizeof w->hash / sizeof *w->hash };
    size_t i = (size_t)(h ^ (h >> 23)) % N;
    while (w->hash[i] && w->hash[i] != h)
        i = (i + 1) % N;
    return i;
}

unsigned kj_words_find(const struct kj_words *w, uint64_t h)
{
    return w->where[slot_of(w, h)];
}

static size_t add_words(struct kj_words *w, struct kj_str s, size_t max, unsigned bit)
{
    size_t at = 0, n = 0;
    uint64_t h;
    while (n < max && w->n < sizeof w->hash / sizeof *w->hash / 2 &&
           (h = next_word(s, &at)) != 0) {
        size_t i = slot_of(w, h);
        w->n += !w->hash[i];
        w->hash[i] = h;
        w->where[i] |= (uint8_t)(1u << bit);
        n++;
    }
    return n;
}

/* The strings of a key in JSON text; escapes may stand as they are. */
static void add_strings(struct kj_words *w, struct kj_str s, const char *key)
{
    size_t m = strlen(key);
    if (!s.n)
        return;
    const char *p = s.p, *end = p ? p + s.n : p;
    while ((p = memmem(p, (size_t)(end - p), key, m)) != NULL) {
        p += m;
        while (p < end && (*p == ' ' || *p == ':'))
            p++;
        if (p == end || *p != '"')
            continue;
        const char *q = ++p;
        while (q < end && (*q != '"' || q[-1] == '\\'))
            q++;
        add_words(w, (struct kj_str){p, (size_t)(q - p)}, 150, 2);
        p = q;
    }
}

static void read_head(struct kj_blocks *k, const struct kj_tree *t)
{
    bool title = false;
    memset(&k->words, 0, sizeof k->words);
    k->n_title = 0;
    for (size_t i = 1; i + 1 < t->n; i++) {
        const struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_title && t->nodes[i + 1].tag == KJ_TAG_TEXT && !title) {
            k->n_title = add_words(&k->words, t->nodes[i + 1].text, 64, 0);
            title = true;
        }
        if (x->tag == KJ_TAG_meta && x->attr &&
            (kj_str_is(x->attr->name, "description") ||
             kj_str_is(x->attr->property, "og:description")))
            add_words(&k->words, x->attr->content, 80, 1);
    }
    struct kj_str ld = {t->ld.p, t->ld.n};
    add_strings(&k->words, ld, "\"description\"");
    add_strings(&k->words, ld, "\"articleBody\"");
}

static void find_runs(struct kj_blocks *k, const struct kj_content *c,
                      const struct kj_tree *t)
{
    struct kj_said *g = &k->said;
    kj_said_begin(g, k->text[t->n] + t->ld.n);
    kj_said_read_ld(g, t->ld.p, t->ld.n);
    for (size_t i = 0; i < k->n; i++) {
        struct kj_block *b = &k->b[i];
        b->run = (uint32_t)g->n;
        kj_said_text(g);
        for (uint32_t at = b->first; at < b->end; at++)
            if (t->nodes[at].tag == KJ_TAG_TEXT && c->weight[at])
                kj_said_add(g, (uint32_t)i, t->nodes[at].text.p, t->nodes[at].text.n);
        b->n_runs = (uint32_t)g->n - b->run;
    }
}

/* ---- phrases and headings ---- */

static enum kj_phrase phrase_of(const struct kj_content *c, const struct kj_tree *t,
                                const struct kj_block *b)
{
    char text[400];
    size_t n = 0;
    if (b->weight >= 160)
        return KJ_PHRASE_NONE;
    for (uint32_t i = b->first; i < b->end; i++) {
        if (t->nodes[i].tag != KJ_TAG_TEXT || !c->weight[i])
            continue;
        struct kj_str s = t->nodes[i].text;
        if (n + s.n > sizeof text)
            return KJ_PHRASE_NONE;
        memcpy(text + n, s.p, s.n);
        n += s.n;
    }
    return n ? kj_phrase_of(text, n) : KJ_PHRASE_NONE;
}

static void find_heads(struct kj_blocks *k, const struct kj_content *c,
                       const struct kj_tree *t)
{
    uint32_t head = (uint32_t)k->n, next = (uint32_t)k->n;
    for (size_t i = 0; i < k->n; i++) {
        struct kj_block *b = &k->b[i];
        b->phrase = (uint8_t)phrase_of(c, t, b);
        if (kj_tag_class(t->nodes[b->box].tag) & KJ_TC_HEADING)
            head = (uint32_t)i;
        b->head = head;
    }
    for (size_t i = k->n; i-- > 0;) {
        k->b[i].next = next;
        if (k->b[i].head == i)
            next = (uint32_t)i;
    }
}

static bool has(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    const char *p = s.p, *end = p ? p + s.n : p;
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
    unsigned tags[KJ_N_TAGS] = {0}, long_blocks = 0, kept = 0, keys = 0;
    double shut = 0, said[KJ_SAID_WHERE] = {0};
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
        unsigned folds = k->around[k->b[i].first].folds;
        keys += folds & KJ_FOLD_SHUT_KEY ? 1 : 0;
        shut += folds & KJ_FOLD_SHUT ? k->b[i].weight : 0;
        kept += !(k->around[k->b[i].first].rules & KJ_NF_SKIP);
        if (k->h1 == k->n && t->nodes[k->b[i].box].tag == KJ_TAG_h1)
            k->h1 = (uint32_t)i;
    }
    for (size_t i = 0; k->said.any && i < k->said.n; i++)
        for (unsigned s = 0; s < KJ_SAID_WHERE; s++)
            said[s] += k->said.table[k->said.at[i]].said >> s & 1;
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
    *x++ = squash(keys, 50);
    *x++ = share(shut, all);
    for (unsigned i = 1; i < KJ_SAID_WHERE; i++)
        *x++ = squash(said[i], 200);
    read_address(url, &x);
    read_kinds(t, og, &x);
}

bool kj_blocks_find(struct kj_blocks *k, const struct kj_content *c,
                    const struct kj_tree *t)
{
    if (!cut_blocks(k, c, t))
        return false;
    kj_blocks_look_around(k, c, t);
    uint32_t before = 0, links = 0;
    for (size_t i = 0; i < k->n; i++) {
        k->b[i].before = before;
        k->b[i].links = links;
        before += k->b[i].weight;
        links += k->b[i].link;
    }
    count_twins(k);
    find_kinds(k, t);
    find_boxes(k, t);
    find_heads(k, c, t);
    find_runs(k, c, t);
    read_head(k, t);
    read_page(k, c, t);
    return true;
}
