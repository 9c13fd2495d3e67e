/* cut.c - the scan before the parser: what is never text goes.
 *
 * Elements whose content is no text for the reader (script, style, svg,
 * template, iframe, controls of forms) are found by their start and end tags
 * alone, which also keeps libxml2 from what it gets wrong (</button> does not
 * close a div that was left open in it). Scripts are cut as
 * the HTML standard's tokenizer does for raw text. An element without an end
 * reaches to the end of the page, except for the ones that are markup inside
 * (svg, template): browsers read on there. NUL bytes go as well;
 * libxml2 would stop at them.
 */
#include <string.h>

#include "extract/tree.h"

#include "base/err.h"
#include "extract/math.h"

struct raw {
    const char *name;
    size_t n;
    bool to_end; /* without an end tag, the rest of the page is its content */
};

static const struct raw raws[] = {
    {"script", 6, true},    {"style", 5, true},     {"svg", 3, false},
    {"template", 8, false}, {"iframe", 6, false},   {"button", 6, false},
    {"select", 6, false},   {"textarea", 8, false},
};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool name_at(const char *p, const char *end, const char *name, size_t n)
{
    if ((size_t)(end - p) <= n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (lower(p[i]) != name[i])
            return false;
    char c = p[n];
    return c == ' ' || c == '>' || c == '/' || c == '\t' || c == '\n' || c == '\r' ||
           c == '\f';
}

static const struct raw *raw_at(const char *p, const char *end)
{
    if (!memchr("stibSTIB", *p, 8))
        return NULL;
    for (size_t i = 0; i < sizeof raws / sizeof *raws; i++)
        if (name_at(p, end, raws[i].name, raws[i].n))
            return &raws[i];
    return NULL;
}

/* Is the tag in front of p that of a heading? Questions of folded answers are
 * buttons in headings. */
static bool behind_heading(const char *p, const char *start)
{
    const char *from = p - start > 400 ? p - 400 : start;
    while (p > from && (unsigned char)p[-1] <= ' ')
        p--;
    if (p == from || p[-1] != '>')
        return false;
    while (p > from && *p != '<')
        p--;
    return lower(p[1]) == 'h' && p[2] >= '1' && p[2] <= '6';
}

/* End of the tag that starts before p: behind its '>', quotes respected. */
static const char *tag_end(const char *p, const char *end)
{
    char quote = 0;
    for (; p < end; p++) {
        if (quote) {
            if (*p == quote)
                quote = 0;
        } else if (*p == '>') {
            return p + 1;
        } else if ((*p == '"' || *p == '\'') && p[-1] == '=') {
            quote = *p;
        }
    }
    return end;
}

/* libxml2 compares each attribute of an element with all before it: a tag of
 * 200,000 took it half a minute. Those behind this many go. */
enum { ATTRIBUTES = 512 };

/* Where the attributes of the tag at p that are too many begin, or NULL; *stop
 * is its '>', or the end of the page. */
static const char *too_many(const char *p, const char *end, const char **stop)
{
    const char *cut = NULL;
    char quote = 0;
    bool apart = false; /* a blank, a slash or a closing quote came before */
    size_t n = 0;
    for (; p < end && (quote || *p != '>'); p++) {
        if (quote) {
            apart = *p == quote;
            quote = apart ? 0 : quote;
        } else if ((*p == '"' || *p == '\'') && p[-1] == '=') {
            quote = *p;
        } else if ((unsigned char)*p <= ' ' || *p == '/') {
            apart = true;
        } else {
            if (apart && n++ == ATTRIBUTES)
                cut = p;
            apart = false;
        }
    }
    *stop = p;
    return cut;
}

/* Behind </name ...>, or NULL. *inner is where the end tag starts. */
static const char *close_tag(const char *p, const char *end, const struct raw *r,
                             const char **inner)
{
    while (p < end && (p = memchr(p, '<', (size_t)(end - p)))) {
        if (end - p > 2 && p[1] == '/' && name_at(p + 2, end, r->name, r->n)) {
            *inner = p;
            const char *gt = memchr(p, '>', (size_t)(end - p));
            return gt ? gt + 1 : end;
        }
        p++;
    }
    return NULL;
}

static const char *comment_end(const char *p, const char *end)
{
    /* p is behind "<!--". "<!-->" and "<!--->" are empty comments. */
    if (p < end && *p == '>')
        return p + 1;
    if (end - p >= 2 && p[0] == '-' && p[1] == '>')
        return p + 2;
    for (const char *q = p; q < end && (q = memchr(q, '-', (size_t)(end - q))); q++) {
        if (end - q >= 3 && q[1] == '-' && q[2] == '>')
            return q + 3;
        if (end - q >= 4 && q[1] == '-' && q[2] == '!' && q[3] == '>')
            return q + 4;
    }
    return NULL;
}

static bool is_ld(const char *p, const char *end)
{
    static const char want[] = "ld+json";
    for (; end - p >= 7; p++)
        if (memcmp(p, want, 7) == 0)
            return true;
    return false;
}

static int add(struct kj_buf *out, const char *p, size_t n)
{
    while (n > 0) {
        const char *nul = memchr(p, 0, n);
        size_t k = nul ? (size_t)(nul - p) : n;
        if (kj_buf_add(out, p, k) < 0)
            return -1;
        p += k;
        n -= k;
        while (n > 0 && *p == 0)
            p++, n--;
    }
    return 0;
}

/* What was looked for in vain up to the end of the page will not be found from
 * a later place either; without this, a page of openings would be searched
 * again and again. */
struct cut {
    const char *start, *end;
    struct kj_buf *ld;
    struct kj_str tex; /* of the script that was just cut */
    bool display;
    bool no_comment_end, no_tag_end;
    bool no_close[sizeof raws / sizeof *raws];
};

/* Where the raw element at p ends, or NULL if it is to be left alone. */
static const char *raw_end(struct cut *c, const char *p, const struct raw *r)
{
    size_t k = (size_t)(r - raws);
    if (c->no_close[k])
        return r->to_end ? c->end : NULL;
    if (r->name[0] == 'b' && behind_heading(p, c->start))
        return NULL;
    const char *body =
        c->no_tag_end ? memchr(p, '>', (size_t)(c->end - p)) : tag_end(p + 1, c->end);
    if (!body || body == c->end) {
        c->no_tag_end = true;
        body = p;
    }
    if (r->name[1] == 'v' && body > p + 2 && body[-2] == '/')
        return body; /* <svg/> is closed already */
    const char *inner = c->end, *stop = close_tag(body, c->end, r, &inner);
    c->no_close[k] = !stop;
    if (!stop && r->to_end)
        stop = c->end;
    if (stop && k == 0 && kj_math_script(p, (size_t)(body - p), &c->display))
        c->tex = (struct kj_str){body, (size_t)(inner - body)};
    if (stop && c->ld && k == 0 && is_ld(p, body)) {
        size_t at = c->ld->n;
        if (kj_buf_add(c->ld, body, (size_t)(inner - body)) == KJ_OK)
            kj_buf_addc(c->ld, '\n');
        /* One line: raw line ends in strings are not JSON, but common. */
        for (size_t i = at; i + 1 < c->ld->n; i++)
            if ((unsigned char)c->ld->p[i] < ' ')
                c->ld->p[i] = ' ';
    }
    return stop;
}

int kj_html_cut(const char *p, size_t n, struct kj_buf *out, struct kj_buf *ld)
{
    const char *end = p + n, *from = p;
    const char *seen = p; /* end of the tag last looked into */
    struct cut c = {.start = p, .end = end, .ld = ld};
    while (p < end && (p = memchr(p, '<', (size_t)(end - p)))) {
        const char *stop = NULL;
        if (end - p >= 4 && memcmp(p, "<!--", 4) == 0) {
            stop = c.no_comment_end ? NULL : comment_end(p + 4, end);
            if (!stop) { /* a comment that never ends: only its mark goes */
                c.no_comment_end = true;
                stop = p + 4;
            }
        } else if (end - p > 2) {
            const struct raw *r = raw_at(p + 1, end);
            stop = r ? raw_end(&c, p, r) : NULL;
        }
        if (!stop && p >= seen && end - p > 1 && lower(p[1]) >= 'a' &&
            lower(p[1]) <= 'z') {
            const char *cut = too_many(p + 1, end, &seen);
            if (cut) {
                p = cut;
                stop = seen;
            }
        }
        if (!stop) {
            p++;
            continue;
        }
        if (add(out, from, (size_t)(p - from)) < 0 ||
            kj_math_put(out, c.tex.p, c.tex.n, c.display) < 0)
            return -1;
        c.tex.n = 0;
        p = from = stop;
    }
    return add(out, from, (size_t)(end - from));
}
