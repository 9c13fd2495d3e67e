/* math.c - see math.h. */
#include "extract/math.h"

#include <string.h>

#include "extract/content.h"

static bool has(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    for (size_t i = 0; i + n <= s.n; i++)
        if (memcmp(s.p + i, z, n) == 0)
            return true;
    return false;
}

static struct kj_str trim(struct kj_str s)
{
    while (s.n && (unsigned char)s.p[0] <= ' ')
        s.p++, s.n--;
    while (s.n && (unsigned char)s.p[s.n - 1] <= ' ')
        s.n--;
    return s;
}

/* Is z one of the blank-separated words of s? */
static bool names(struct kj_str s, const char *z)
{
    size_t n = strlen(z);
    for (size_t i = 0; i + n <= s.n; i++)
        if (memcmp(s.p + i, z, n) == 0 && (i == 0 || s.p[i - 1] == ' ') &&
            (i + n == s.n || s.p[i + n] == ' '))
            return true;
    return false;
}

bool kj_math_image(struct kj_str cls)
{
    return names(cls, "tex") || names(cls, "latex") || names(cls, "math") ||
           names(cls, "equation") || names(cls, "formula") || names(cls, "texrender") ||
           names(cls, "ql-img-inline-formula") ||
           names(cls, "ql-img-displayed-equation");
}

bool kj_math_script(struct kj_str attributes, bool *display)
{
    *display = has(attributes, "mode=display");
    return has(attributes, "math/tex");
}

struct kj_str kj_math_tex(struct kj_arena *a, struct kj_str tex, bool display)
{
    size_t m = display ? 2 : 1;
    tex = trim(tex);
    char *p = tex.n ? kj_arena_alloc(a, tex.n + 2 * m) : NULL;
    if (!p)
        return (struct kj_str){NULL, 0};
    memset(p, '$', tex.n + 2 * m);
    memcpy(p + m, tex.p, tex.n);
    return (struct kj_str){p, tex.n + 2 * m};
}

/* The TeX of the formula at node i, from its annotation or alttext. */
static struct kj_str tex_of(const struct kj_tree *t, size_t i)
{
    const struct kj_node *x = &t->nodes[i];
    struct kj_str s = {NULL, 0};
    for (size_t k = i + 1; k < x->end; k++) {
        const struct kj_node *a = &t->nodes[k];
        if (a->tag == KJ_TAG_annotation && a->attr && has(a->attr->type, "tex") &&
            k + 1 < a->end && t->nodes[k + 1].tag == KJ_TAG_TEXT)
            s = trim(t->nodes[k + 1].text);
    }
    if (!s.n && x->attr)
        s = trim(x->attr->alt);
    /* Wikipedia wraps all of it in {\\displaystyle ...}, which says nothing. */
    static const char wrap[] = "{\\displaystyle ";
    if (s.n > sizeof wrap && memcmp(s.p, wrap, sizeof wrap - 1) == 0 &&
        s.p[s.n - 1] == '}') {
        s.p += sizeof wrap - 1;
        s.n -= sizeof wrap;
    }
    return trim(s);
}

static void put_tex(struct kj_tree *t, size_t i, struct kj_str tex, bool display)
{
    struct kj_str all = kj_math_tex(&t->arena, tex, display);
    bool first = true;
    for (size_t k = i + 1; k < t->nodes[i].end && all.n; k++) {
        struct kj_node *x = &t->nodes[k];
        if (x->tag != KJ_TAG_TEXT)
            continue;
        x->text = first ? all : (struct kj_str){"", 0};
        first = false;
    }
}

void kj_math_resolve(struct kj_tree *t)
{
    bool any = false;
    for (size_t i = 1; i < t->n; i++) {
        struct kj_node *x = &t->nodes[i];
        if (x->tag == KJ_TAG_math) {
            struct kj_str tex = tex_of(t, i);
            bool display = x->attr && kj_str_is(x->attr->rel, "block");
            any = true;
            if (tex.n)
                put_tex(t, i, tex, display);
            i = x->end - 1;
        } else if (any && x->tag == KJ_TAG_span && x->attr &&
                   names(x->attr->cls, "katex-html")) {
            x->flags |= KJ_NF_SKIP | KJ_NF_HARD;
        }
    }
}
