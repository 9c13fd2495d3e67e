/* token.c - see token.h.
 *
 * Between two tags the page is searched 16 bytes at a time for the next byte
 * that means anything ('<', '&', CR, NUL). Names are packed into a 64-bit word
 * as they are read, which finds them in a small hash table without a second
 * look at the bytes.
 */
#include "extract/token.h"

#include <pthread.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum { VALUE_MAX = 65536 }; /* a longer value is of no use and is left out */

/* ---- names ---- */

struct name {
    uint64_t key; /* the first eight bytes */
    uint32_t hash;
    uint8_t n;
};

struct known {
    struct name name;
    uint8_t what;
};
enum { TAG_SLOTS = 1024, ATTR_SLOTS = 128 };
static struct known tags[TAG_SLOTS], atts[ATTR_SLOTS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static inline char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline void name_add(struct name *x, char c)
{
    unsigned char u = (unsigned char)lower(c);
    x->key = x->n < 8 ? x->key | (uint64_t)u << 8 * x->n : x->key;
    x->hash = (x->hash ^ u) * 0x01000193u;
    x->n += x->n < 255;
}

static inline bool name_same(const struct name *a, const struct name *b)
{
    return a->key == b->key && a->hash == b->hash && a->n == b->n;
}

static inline size_t name_slot(const struct name *x, size_t slots)
{
    return (size_t)((x->key * 0x9E3779B97F4A7C15u) >> 40) & (slots - 1);
}

static struct name name_of(const char *z)
{
    struct name x = {0, 0x811C9DC5u, 0};
    for (; *z; z++)
        name_add(&x, *z == '_' ? '-' : *z);
    return x;
}

static void learn(struct known *table, size_t slots, const char *z, unsigned what)
{
    struct name x = name_of(z);
    size_t i = name_slot(&x, slots);
    while (table[i].name.n)
        i = (i + 1) & (slots - 1);
    table[i] = (struct known){x, (uint8_t)what};
}

static inline unsigned find(const struct known *table, size_t slots,
                            const struct name *x)
{
    for (size_t i = name_slot(x, slots); table[i].name.n; i = (i + 1) & (slots - 1))
        if (name_same(&table[i].name, x))
            return table[i].what;
    return 0;
}

/* Attributes: the offset of their slot in struct kj_attrs, in words, plus one,
 * or one of these. */
enum { ATT_HIDDEN = 200, ATT_ARIA, ATT_EXPANDED, ATT_STYLED, ATT_SHADOW };

static void learn_names(void)
{
    static const struct {
        const char *name;
        unsigned what;
    } a[] = {
#define AT(name, field) {name, (unsigned)(offsetof(struct kj_attrs, field) / 8 + 1)}
        AT("class", cls),
        AT("id", id),
        AT("role", role),
        AT("href", href),
        AT("lang", lang),
        AT("xml:lang", lang),
        AT("itemprop", itemprop),
        AT("itemtype", itemtype),
        AT("style", style),
        AT("rel", rel),
        AT("display", rel) /* of a formula */,
        AT("type", type),
        AT("encoding", type) /* of a formula's annotation */,
        AT("alt", alt),
        AT("alttext", alt),
        AT("name", name),
        AT("content", content),
        AT("property", property),
        AT("datetime", datetime),
        AT("src", src),
        AT("aria-controls", controls),
#undef AT
        {"hidden", ATT_HIDDEN},
        {"aria-hidden", ATT_ARIA},
        {"aria-expanded", ATT_EXPANDED},
        {"color", ATT_STYLED},
        {"face", ATT_STYLED},
        {"size", ATT_STYLED},
        {"shadowrootmode", ATT_SHADOW},
    };
    for (unsigned i = KJ_TAG_OTHER + 1; i < KJ_N_TAGS; i++)
        learn(tags, TAG_SLOTS, kj_tag_name((enum kj_tag)i), i);
    for (size_t i = 0; i < sizeof a / sizeof *a; i++)
        learn(atts, ATTR_SLOTS, a[i].name, a[i].what);
}

void kj_lexer_init(struct kj_lexer *x, const char *p, size_t n, struct kj_arena *a)
{
    pthread_once(&once, learn_names);
    *x = (struct kj_lexer){.p = p, .end = p ? p + n : p, .arena = a};
}

/* ---- scanning ---- */

static inline bool means(char c)
{
    return c == '<' || c == '&' || c == '\r' || c == 0;
}

/* The next byte of text that means something, or end. */
static const char *scan(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i lt = _mm_set1_epi8('<'), amp = _mm_set1_epi8('&'),
                  cr = _mm_set1_epi8('\r'), nul = _mm_setzero_si128();
    for (; end - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit =
            _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, lt), _mm_cmpeq_epi8(v, amp)),
                         _mm_or_si128(_mm_cmpeq_epi8(v, cr), _mm_cmpeq_epi8(v, nul)));
        int m = _mm_movemask_epi8(hit);
        if (m)
            return p + __builtin_ctz((unsigned)m);
    }
#endif
    while (p < end && !means(*p))
        p++;
    return p;
}

struct kj_str kj_lexer_decode(struct kj_lexer *x, struct kj_str s,
                              enum kj_charref_where where)
{
    const char *end = s.p + s.n;
    for (const char *p = scan(s.p, end); p < end; p = scan(p + 1, end)) {
        if (*p == '<')
            continue;
        char *out = kj_arena_alloc(x->arena, kj_charref_room(s.n));
        if (!out) {
            x->full = true;
            return (struct kj_str){NULL, 0};
        }
        return (struct kj_str){out, kj_charref_decode(s.p, s.n, where, out)};
    }
    return s;
}

/* ---- attributes ---- */

static struct kj_attrs *attrs(struct kj_lexer *x, struct kj_token *t)
{
    if (!t->attr)
        t->attr = kj_arena_zalloc(x->arena, sizeof *t->attr);
    x->full |= !t->attr;
    return t->attr;
}

static void keep(struct kj_lexer *x, struct kj_token *t, unsigned what, struct kj_str v)
{
    if (what == ATT_STYLED || what == ATT_SHADOW) {
        *(what == ATT_STYLED ? &t->styled : &t->shadow) = true;
        return;
    }
    if (what == ATT_HIDDEN || what == ATT_ARIA) {
        bool hidden =
            what == ATT_HIDDEN ? !kj_str_is(v, "until-found") : kj_str_is(v, "true");
        if (hidden && attrs(x, t)) {
            t->attr->hidden = true;
            t->attr->aria |= what == ATT_ARIA;
        }
        return;
    }
    if (what == ATT_EXPANDED) {
        unsigned is = kj_str_is(v, "false") ? 1 : kj_str_is(v, "true") ? 2 : 0;
        if (is && attrs(x, t))
            t->attr->expanded = (uint8_t)is;
        return;
    }
    if (v.n == 0 || v.n > VALUE_MAX || !attrs(x, t))
        return;
    struct kj_str *to = (struct kj_str *)((char *)t->attr + 8 * (what - 1));
    if (!to->p) /* the first of a name counts */
        *to = kj_lexer_decode(x, v, KJ_IN_VALUE);
}

/* The value behind an attribute's '=' at p; where it ends in *past. */
static struct kj_str value(const char *p, const char *end, const char **past)
{
    if (p < end && (*p == '"' || *p == '\'')) {
        const char *q = memchr(p + 1, *p, (size_t)(end - p - 1));
        *past = q ? q + 1 : end;
        return (struct kj_str){p + 1, (size_t)((q ? q : end) - p - 1)};
    }
    const char *from = p;
    while (p < end && !kj_is_space(*p) && *p != '>')
        p++;
    *past = p;
    return (struct kj_str){from, (size_t)(p - from)};
}

/* The rest of a tag, from behind its name; false if the page ends in it. */
static bool rest_of_tag(struct kj_lexer *x, struct kj_token *t)
{
    const char *p = x->p, *end = x->end;
    bool open = t->kind == KJ_TOK_OPEN;
    t->text.p = p;
    for (;;) {
        bool slash = false;
        for (; p < end && (kj_is_space(*p) || *p == '/'); p++)
            slash = *p == '/';
        if (p == end)
            return false;
        t->self_closing = slash;
        if (*p == '>')
            break;
        struct name name = {0, 0x811C9DC5u, 0};
        do /* an '=' in front is part of the name */
            name_add(&name, *p++);
        while (p < end && *p != '=' && *p != '>' && *p != '/' && !kj_is_space(*p));
        while (p < end && kj_is_space(*p))
            p++;
        struct kj_str v = {NULL, 0};
        if (p < end && *p == '=') {
            for (p++; p < end && kj_is_space(*p);)
                p++;
            v = value(p, end, &p);
        }
        unsigned what = open ? find(atts, ATTR_SLOTS, &name) : 0;
        if (what)
            keep(x, t, what, v);
    }
    t->text.n = (size_t)(p - t->text.p);
    x->p = p + 1;
    return true;
}

static bool tag(struct kj_lexer *x, struct kj_token *t, const char *p)
{
    struct name name = {0, 0x811C9DC5u, 0};
    while (p < x->end && *p != '>' && *p != '/' && !kj_is_space(*p))
        name_add(&name, *p++);
    unsigned what = find(tags, TAG_SLOTS, &name);
    t->tag = (uint8_t)(what ? what : KJ_TAG_OTHER);
    t->name = name.hash;
    x->p = p;
    if (rest_of_tag(x, t))
        return true;
    x->p = x->end;
    return false;
}

/* ---- what is no tag ---- */

/* p is behind "<!--"; NULL if the comment never ends. */
static const char *comment_end(const char *p, const char *end)
{
    if (p < end && *p == '>')
        return p + 1;
    if (end - p >= 2 && p[0] == '-' && p[1] == '>')
        return p + 2;
    for (const char *q = p; q < end && (q = memchr(q, '>', (size_t)(end - q))); q++) {
        if (q - p >= 2 && q[-1] == '-' && q[-2] == '-')
            return q + 1;
        if (q - p >= 3 && q[-1] == '!' && q[-2] == '-' && q[-3] == '-')
            return q + 1;
    }
    return NULL;
}

static bool begins(const char *p, const char *end, const char *z)
{
    for (; *z; p++, z++)
        if (p >= end || lower(*p) != *z)
            return false;
    return true;
}

/* Does the doctype between p and end ask for the ways of old browsers? Of these
 * one matters here: that a table does not end a paragraph. */
static bool is_quirky(const char *p, const char *end)
{
    while (p < end && kj_is_space(*p))
        p++;
    if (!begins(p, end, "html") || (p + 4 < end && !kj_is_space(p[4])))
        return true;
    for (p += 4; p < end && kj_is_space(*p);)
        p++;
    if (!begins(p, end, "public"))
        return false;
    for (p += 6; p < end && kj_is_space(*p);)
        p++;
    if (p == end || (*p != '"' && *p != '\''))
        return true;
    const char *past;
    struct kj_str id = value(p, end, &past);
    const char *stop = id.p + id.n;
    bool bare = !memchr(past, '"', (size_t)(end - past)) &&
                !memchr(past, '\'', (size_t)(end - past));
    if (begins(id.p, stop, "-//w3c//dtd html 4.01 transitional//") ||
        begins(id.p, stop, "-//w3c//dtd html 4.01 frameset//"))
        return bare; /* no address behind the name */
    static const char *const old[] = {"-//w3c//dtd html 4.0 transitional//",
                                      "-//w3c//dtd html 4.0 frameset//",
                                      "-//w3c//dtd html 3",
                                      "-//w3c//dtd html experimental",
                                      "-//w3c//dtd w3 html//",
                                      "-//w3o//dtd w3 html",
                                      "-//ietf//dtd html",
                                      "-//netscape",
                                      "-//microsoft//dtd",
                                      "-//sq//dtd html",
                                      "-//softquad",
                                      "-//webtechs//dtd",
                                      "-//o'reilly",
                                      "-//as//dtd",
                                      "-//advasoft",
                                      "-//metrius",
                                      "-//spyglass",
                                      "-//sun microsystems",
                                      "+//silmaril//dtd"};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++)
        if (begins(id.p, stop, old[i]))
            return true;
    return id.n == 4 && begins(id.p, stop, "html");
}

/* At p stands "<!" or "<?" or "</" without a name behind it: pass it. True if
 * there is a token. */
static bool declaration(struct kj_lexer *x, struct kj_token *t, const char *p)
{
    const char *end = x->end;
    if (begins(p, end, "<!--")) {
        const char *stop = x->no_comment_end ? NULL : comment_end(p + 4, end);
        x->no_comment_end |= !stop;
        x->p = stop ? stop : p + 4;
        return false;
    }
    if (x->cdata && end - p >= 9 && memcmp(p, "<![CDATA[", 9) == 0) {
        const char *from = p + 9, *q = from;
        while (q < end && (q = memchr(q, ']', (size_t)(end - q))) &&
               !(end - q >= 3 && q[1] == ']' && q[2] == '>'))
            q++;
        q = q ? q : end;
        t->kind = KJ_TOK_TEXT;
        t->text = (struct kj_str){from, (size_t)(q - from)};
        t->text = kj_lexer_decode(x, t->text, KJ_IN_RAW);
        x->p = q < end ? q + 3 : end;
        return t->text.n > 0;
    }
    const char *stop = memchr(p, '>', (size_t)(end - p));
    x->p = stop ? stop + 1 : end;
    if (begins(p, end, "<!doctype")) {
        t->kind = KJ_TOK_DOCTYPE;
        t->quirks = !stop || is_quirky(p + 9, stop);
        return true;
    }
    return false;
}

static inline bool is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* The end of the run of text at p: where markup begins. *plain: nothing in it
 * has to be decoded. */
static const char *text_end(const char *p, const char *end, bool *plain)
{
    *plain = true;
    for (p = scan(p, end); p < end; p = scan(p + 1, end)) {
        if (*p != '<')
            *plain = false;
        else if (p + 1 < end && (is_letter(p[1]) || p[1] == '!' || p[1] == '?' ||
                                 (p[1] == '/' && p + 2 < end)))
            break;
    }
    return p;
}

void kj_lexer_next(struct kj_lexer *x, struct kj_token *t)
{
    for (;;) {
        const char *p = x->p, *end = x->end;
        bool plain;
        memset(t, 0, sizeof *t);
        if (p == end)
            return;
        const char *q =
            *p == '<' && end - p > 2 && is_letter(p[1]) ? p : text_end(p, end, &plain);
        if (q > p) {
            struct kj_str s = {p, (size_t)(q - p)};
            x->p = q;
            t->kind = KJ_TOK_TEXT;
            t->text = plain ? s : kj_lexer_decode(x, s, KJ_IN_TEXT);
            if (t->text.n == 0)
                continue;
            return;
        }
        if (is_letter(p[1])) {
            t->kind = KJ_TOK_OPEN;
            if (tag(x, t, p + 1))
                return;
        } else if (p[1] == '/' && is_letter(p[2])) {
            t->kind = KJ_TOK_CLOSE;
            if (tag(x, t, p + 2))
                return;
        } else if (declaration(x, t, p)) {
            return;
        }
    }
}

/* ---- raw text ---- */

/* Does the name of a tag stand at p, and end there? */
static bool is_name(const char *p, const char *end, const char *name)
{
    size_t n = strlen(name);
    return (size_t)(end - p) > n && begins(p, end, name) &&
           (kj_is_space(p[n]) || p[n] == '>' || p[n] == '/');
}

/* The "</name" that ends the content at p, or NULL. A script that begins a
 * comment and another script in it ("script data double escaped") does not end
 * with that one. */
static const char *raw_end(const char *p, const char *end, enum kj_tag tag)
{
    const char *name = kj_tag_name(tag), *comment = NULL;
    bool twice = false;
    for (; p < end && (p = memchr(p, '<', (size_t)(end - p))); p++) {
        if (comment) { /* did it end in between? */
            const char *stop = comment;
            while ((stop = memchr(stop, '>', (size_t)(p - stop))) &&
                   !(stop - comment >= 2 && stop[-1] == '-' && stop[-2] == '-'))
                stop++;
            if (stop) {
                comment = NULL;
                twice = false;
            } else {
                comment = p > comment + 2 ? p - 2 : comment;
            }
        }
        if (end - p > 2 && p[1] == '/' && is_name(p + 2, end, name)) {
            if (!twice)
                return p;
            twice = false;
        } else if (tag == KJ_TAG_script) {
            if (!comment && end - p > 4 && memcmp(p, "<!--", 4) == 0)
                comment = p + 2;
            else if (comment && is_name(p + 1, end, name))
                twice = true;
        }
    }
    return NULL;
}

bool kj_lexer_raw(struct kj_lexer *x, enum kj_tag tag, struct kj_str *content)
{
    static const uint8_t kinds[] = {KJ_TAG_textarea, KJ_TAG_title,    KJ_TAG_iframe,
                                    KJ_TAG_noembed,  KJ_TAG_noframes, KJ_TAG_xmp};
    uint32_t bit = 0;
    for (size_t i = 0; i < sizeof kinds; i++)
        bit |= kinds[i] == tag ? 1u << i : 0;
    const char *stop = x->no_raw_end & bit ? NULL : raw_end(x->p, x->end, tag);
    if (!stop) {
        x->no_raw_end |= bit;
        if (bit)
            return false;
        *content = (struct kj_str){x->p, (size_t)(x->end - x->p)};
        x->p = x->end;
        return true;
    }
    *content = (struct kj_str){x->p, (size_t)(stop - x->p)};
    struct kj_token t = {.kind = KJ_TOK_CLOSE};
    x->p = stop + 2 + strlen(kj_tag_name(tag));
    if (!rest_of_tag(x, &t))
        x->p = x->end;
    return true;
}
