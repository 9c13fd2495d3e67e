/* around.c - what is said of a node by what is around it, see blocks.h. */
#include "extract/blocks.h"

#include <string.h>

#include "base/hash.h"
#include "extract/hints.h"

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
            if (pass == 0)
                k->form[i] = class_hash(x);
            uint32_t h = k->form[i];
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

/* ---- what is folded ---- */

/* What unfolds another element of the page, by the hash of its id. */
struct keys {
    uint64_t id[128];
    uint8_t is[128]; /* expanded */
    size_t n;
};

static uint64_t id_hash(struct kj_str s)
{
    return s.n ? kj_hash64(s.p, s.n, 2) | 1 : 0;
}

static size_t key_slot(const struct keys *k, uint64_t h)
{
    size_t i = (size_t)(h >> 1) % (sizeof k->id / sizeof *k->id);
    while (k->id[i] && k->id[i] != h)
        i = (i + 1) % (sizeof k->id / sizeof *k->id);
    return i;
}

/* An answer without a name follows its question, or the box that is nothing but
 * the question. 0 if nothing follows. */
static uint32_t follows(const struct kj_tree *t, uint32_t i)
{
    for (int up = 0; up < 3; up++) {
        uint32_t p = t->nodes[i].parent, next = t->nodes[i].end;
        while (next < t->nodes[p].end && t->nodes[next].tag == KJ_TAG_TEXT)
            next++;
        if (next < t->nodes[p].end)
            return next;
        for (uint32_t k = p + 1; k < i; k++)
            if (t->nodes[k].tag != KJ_TAG_TEXT)
                return 0; /* other things stand in its box */
        i = p;
    }
    return 0;
}

static void find_keys(struct kj_blocks *k, const struct kj_tree *t, struct keys *keys)
{
    keys->n = 0;
    memset(keys->id, 0, sizeof keys->id);
    for (uint32_t i = 1; i < t->n; i++)
        k->around[i].folds = 0;
    for (uint32_t i = 1; i < t->n; i++) {
        const struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_TEXT || !x->attr || !x->attr->expanded)
            continue;
        uint64_t h = id_hash(x->attr->controls);
        if (h && keys->n < 100) {
            size_t s = key_slot(keys, h);
            keys->n += !keys->id[s];
            keys->id[s] = h;
            keys->is[s] = x->attr->expanded;
        }
        uint32_t next = h ? 0 : follows(t, i);
        if (next) /* comes later, and finds it */
            k->around[next].folds =
                x->attr->expanded == 1 ? KJ_FOLD_SHUT : KJ_FOLD_OPEN;
    }
}

static unsigned folds_of(const struct kj_attrs *a, const struct keys *keys)
{
    static const struct {
        const char *role;
        unsigned is;
    } roles[] = {
        {"tabpanel", KJ_FOLD_PANEL},     {"dialog", KJ_FOLD_DIALOG},
        {"alertdialog", KJ_FOLD_DIALOG}, {"list", KJ_FOLD_LIST},
        {"listitem", KJ_FOLD_LIST},      {"tab", KJ_FOLD_TAB},
    };
    unsigned f = a->expanded == 1   ? KJ_FOLD_SHUT_KEY
                 : a->expanded == 2 ? KJ_FOLD_OPEN_KEY
                                    : 0;
    if (a->aria)
        f |= KJ_FOLD_ARIA;
    if (a->style.n && kj_content_style_hides(a->style))
        f |= KJ_FOLD_STYLE;
    if (a->id.n && keys->n) {
        uint64_t h = id_hash(a->id);
        size_t s = key_slot(keys, h);
        if (keys->id[s] == h)
            f |= keys->is[s] == 1 ? KJ_FOLD_SHUT : KJ_FOLD_OPEN;
    }
    for (size_t i = 0; a->role.n && i < sizeof roles / sizeof *roles; i++)
        if (kj_str_is(a->role, roles[i].role))
            f |= roles[i].is;
    return f;
}

void kj_blocks_look_around(struct kj_blocks *k, const struct kj_content *c,
                           const struct kj_tree *t)
{
    struct keys keys;
    memset(&k->around[0], 0, sizeof k->around[0]);
    find_keys(k, t, &keys);
    k->kin[0] = 1;
    k->form[0] = 0;
    count_kin(k, t, 0);
    for (uint32_t i = 1; i < t->n; i++) {
        const struct kj_node *x = &t->nodes[i];
        struct kj_around a = k->around[x->parent];
        a.folds |= k->around[i].folds;
        if (x->tag != KJ_TAG_TEXT) {
            a.hints |= (uint16_t)(c->hint[i] & KJ_HINTS);
            a.rules |= x->flags;
            a.tags |= telling[x->tag];
            if (x->attr)
                a.folds |= (uint16_t)folds_of(x->attr, &keys);
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
