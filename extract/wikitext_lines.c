/* wikitext_lines.c - the second pass over wikitext: lines, when templates,
 * links and tags are gone. Headings wait until text follows; table cells are
 * gathered into a row; lines of a paragraph are joined as HTML would. */
#define _GNU_SOURCE /* memmem */
#include "extract/wikitext.h"

#include <string.h>

#include "base/err.h"

enum block { BLOCK_NONE, BLOCK_HEADING, BLOCK_PARA, BLOCK_ITEM, BLOCK_ROW, BLOCK_RAW };

struct lines {
    struct kj_buf *out, *row;
    struct kj_str heading[7]; /* that wait for text, by level */
    int drop;                 /* level of the section that is left out, or 0 */
    int table, hidden;        /* depth of tables; the depth from which they go */
    bool cell;                /* a cell of the row is open */
    enum block last;
    bool gap; /* an empty line came */
    unsigned number[8];
    size_t start;
    int rc;
};

static void put(struct lines *l, const char *p, size_t n)
{
    if (kj_buf_add(l->out, p, n) < 0)
        l->rc = KJ_BAD_RECORD;
}

static struct kj_str trim(struct kj_str s)
{
    while (s.n && (*s.p == ' ' || *s.p == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Text of one line to b: single blanks, marks resolved. flat: no line end. */
static void put_text(struct lines *l, struct kj_buf *b, struct kj_str s, bool flat)
{
    bool raw = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == KJ_WIKI_RAW || c == KJ_WIKI_RAW_END) {
            raw = c == KJ_WIKI_RAW;
            continue;
        }
        if (c == KJ_WIKI_BREAK)
            c = flat ? ' ' : '\n';
        if (flat && (c == '\n' || c == '\t'))
            c = ' ';
        char before = b->n ? b->p[b->n - 1] : '\n';
        if (!(raw && !flat) && (c == ' ' || c == '\t') &&
            (before == ' ' || before == '\n'))
            continue;
        if (!raw && c == '\n')
            while (b->n && b->p[b->n - 1] == ' ')
                b->n--;
        if (kj_buf_addc(b, c) < 0)
            l->rc = KJ_BAD_RECORD;
    }
    while (b->n && b->p[b->n - 1] == ' ')
        b->n--;
}

/* What stands between the block before and one of this kind. */
static void begin(struct lines *l, enum block kind)
{
    bool close = kind == l->last && (kind == BLOCK_ITEM || kind == BLOCK_ROW);
    if (l->out->n > l->start)
        put(l, "\n\n", close ? 1 : 2);
    l->last = kind;
    l->gap = false;
}

static void flush_headings(struct lines *l)
{
    for (int k = 1; k <= 6; k++) {
        if (!l->heading[k].n)
            continue;
        begin(l, BLOCK_HEADING);
        put(l, "######", (size_t)k);
        put(l, " ", 1);
        put_text(l, l->out, l->heading[k], true);
        l->heading[k].n = 0;
    }
}

static bool blank(struct kj_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != KJ_WIKI_BREAK &&
            s.p[i] != KJ_WIKI_RAW && s.p[i] != KJ_WIKI_RAW_END)
            return false;
    return true;
}

static bool heading(struct lines *l, struct kj_str s)
{
    int k = 0;
    s = trim(s);
    while (s.n > 2 && s.p[0] == '=' && s.p[s.n - 1] == '=' && k < 6)
        s.p++, s.n -= 2, k++;
    if (k == 0)
        return false;
    s = trim(s);
    for (int i = k; i <= 6; i++)
        l->heading[i].n = 0;
    if (l->drop && k > l->drop)
        return true;
    l->drop = kj_wiki_apparatus(s) ? k : 0;
    l->last = l->last == BLOCK_NONE ? BLOCK_NONE : BLOCK_HEADING;
    if (!l->drop && !blank(s))
        l->heading[k] = s;
    return true;
}

static void item(struct lines *l, struct kj_str s)
{
    size_t depth = 0, k = 0;
    char kind = 0;
    while (s.n && strchr("*#:;", *s.p)) {
        kind = *s.p;
        depth += *s.p == '*' || *s.p == '#';
        s.p++, s.n--;
    }
    if (blank(s))
        return;
    flush_headings(l);
    if (l->last != BLOCK_ITEM)
        memset(l->number, 0, sizeof l->number);
    begin(l, BLOCK_ITEM);
    depth = depth > 7 ? 7 : depth;
    for (k = 1; k < depth; k++)
        put(l, "  ", 2);
    for (k = depth + 1; k < 8; k++)
        l->number[k] = 0;
    if (kind == '*')
        put(l, "- ", 2);
    else if (kind == '#' && kj_buf_printf(l->out, "%u. ", ++l->number[depth]) < 0)
        l->rc = KJ_BAD_RECORD;
    put_text(l, l->out, trim(s), false);
}

static void para(struct lines *l, struct kj_str s)
{
    bool raw = s.n > 4 && s.p[0] == KJ_WIKI_RAW && memcmp(s.p + 1, "```", 3) == 0;
    if (blank(s)) {
        l->gap = true;
        return;
    }
    flush_headings(l);
    if (l->last == BLOCK_PARA && !l->gap && !raw) {
        put(l, " ", 1);
        put_text(l, l->out, trim(s), false);
        return;
    }
    begin(l, raw ? BLOCK_RAW : BLOCK_PARA);
    put_text(l, l->out, raw ? s : trim(s), false);
}

/* ---- tables ---- */

static void row_end(struct lines *l)
{
    bool text = false;
    for (size_t i = 0; i < l->row->n; i++)
        text |= l->row->p[i] != ' ' && l->row->p[i] != '|';
    if (text && !l->drop) {
        flush_headings(l);
        begin(l, BLOCK_ROW);
        put(l, l->row->p, l->row->n);
        put(l, " |", 2);
    }
    kj_buf_reset(l->row);
    l->cell = false;
}

/* Behind the attributes of a cell: past a single bar, when there is one. */
static struct kj_str cell_text(struct kj_str s)
{
    for (size_t i = 0; i < s.n && s.p[i] != KJ_WIKI_RAW; i++)
        if (s.p[i] == '|')
            return (struct kj_str){s.p + i + 1, s.n - i - 1};
    return s;
}

static void cell(struct lines *l, struct kj_str s, bool opens)
{
    if (kj_buf_addz(l->row, opens && l->table == 1 ? (l->row->n ? " | " : "| ") : " "))
        l->rc = KJ_BAD_RECORD;
    put_text(l, l->row, trim(opens ? cell_text(s) : s), true);
    l->cell = true;
}

static void cells(struct lines *l, struct kj_str s, char mark)
{
    size_t a = 0, i = 0;
    bool raw = false;
    for (; i + 1 < s.n; i++) {
        raw = s.p[i] == KJ_WIKI_RAW || (raw && s.p[i] != KJ_WIKI_RAW_END);
        if (raw || s.p[i] != s.p[i + 1] ||
            !(s.p[i] == '|' || (mark == '!' && s.p[i] == '!')))
            continue;
        cell(l, (struct kj_str){s.p + a, i - a}, true);
        a = i + 2;
        i++;
    }
    cell(l, (struct kj_str){s.p + a, s.n - a}, true);
}

static bool holds(struct kj_str s, const char *word)
{
    return s.n && memmem(s.p, s.n, word, strlen(word)) != NULL;
}

static void table_open(struct lines *l, struct kj_str s)
{
    if (l->table == 0)
        kj_buf_reset(l->row);
    l->table++;
    if (!l->hidden && (holds(s, "infobox") || holds(s, "navbox") ||
                       holds(s, "sidebar") || holds(s, "metadata") || holds(s, "toc")))
        l->hidden = l->table;
}

static void table_close(struct lines *l)
{
    if (l->hidden == l->table)
        l->hidden = 0;
    l->table--;
    if (l->table == 0) {
        row_end(l);
        l->last = l->last == BLOCK_ROW ? BLOCK_RAW : l->last;
    }
}

static void table_line(struct lines *l, struct kj_str s)
{
    struct kj_str rest = {s.p + 1, s.n ? s.n - 1 : 0};
    if (s.n >= 2 && memcmp(s.p, "|}", 2) == 0) {
        table_close(l);
    } else if (l->hidden || blank(s)) {
        return;
    } else if (s.n >= 2 && memcmp(s.p, "|-", 2) == 0) {
        if (l->table == 1)
            row_end(l);
    } else if (s.n >= 2 && memcmp(s.p, "|+", 2) == 0) {
        cell(l, (struct kj_str){s.p + 2, s.n - 2}, true);
        if (l->table == 1)
            row_end(l);
    } else if (*s.p == '|' || *s.p == '!') {
        cells(l, rest, *s.p);
    } else if (l->cell) {
        cell(l, s, false);
    }
}

static void line(struct lines *l, struct kj_str s)
{
    struct kj_str t = trim(s);
    size_t i = 0;
    while (i < t.n && t.p[i] == ':')
        i++;
    if (t.n >= i + 2 && t.p[i] == '{' && t.p[i + 1] == '|')
        table_open(l, t);
    else if (l->table)
        table_line(l, t);
    else if (t.n && *t.p == '=' && heading(l, t))
        return;
    else if (l->drop)
        return;
    else if (s.n && strchr("*#:;", *s.p) && *s.p)
        item(l, s);
    else if (t.n >= 4 && memcmp(t.p, "----", 4) == 0)
        l->gap = true;
    else
        para(l, s);
}

int kj_wiki_lines(const char *p, size_t n, struct kj_buf *row, struct kj_buf *out)
{
    struct lines l = {.out = out, .row = row, .start = out->n, .rc = KJ_OK};
    bool raw = false;
    size_t a = 0;
    p = p ? p : "";
    kj_buf_reset(row);
    for (size_t i = 0; i <= n && l.rc == KJ_OK; i++) {
        if (i < n && (raw || p[i] != '\n')) {
            raw = p[i] == KJ_WIKI_RAW || (raw && p[i] != KJ_WIKI_RAW_END);
            continue;
        }
        line(&l, (struct kj_str){p + a, i - a});
        a = i + 1;
    }
    if (l.table)
        row_end(&l);
    return l.rc;
}
