/* json.cc - the reader behind json.h: simdjson's DOM, copied into a C tree.
 *
 * simdjson validates the whole text and leaves a tape. The tape is walked once
 * into kj_jval nodes, children of one parent contiguous, so that C code can
 * index them. Strings stay where simdjson unescaped them. The tree needs at
 * most 16 bytes per byte of input ("[0,0,..."), which is the arena's cap.
 *
 * Two things differ between simdjson's versions or from the contract, and are
 * levelled here: a byte order mark in front is skipped, and integers beyond
 * 64 bits, which simdjson refuses, are read as reals.
 */
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simdjson.h>
extern "C" {
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
}
#pragma GCC diagnostic pop

namespace dom = simdjson::dom;

/* A parser that has grown beyond this is made anew when the texts become small
 * again: simdjson's tables take about 14 bytes per byte of the largest text. */
static const size_t PARSER_KEEP = 8u << 20;

struct kj_json {
    dom::parser *parser;
    struct kj_arena tree;
    struct kj_jval root;
    struct kj_buf file; /* for kj_json_load */
    struct kj_buf wide; /* text with its long integers marked as reals */
};

struct kj_json *kj_json_new(void)
{
    struct kj_json *j = (struct kj_json *)kj_xcalloc(1, sizeof *j);
    j->parser = new dom::parser;
    kj_arena_init(&j->tree, 0);
    kj_buf_init(&j->file, 0);
    kj_buf_init(&j->wide, 0);
    return j;
}

void kj_json_free(struct kj_json *j)
{
    if (!j)
        return;
    delete j->parser;
    kj_arena_release(&j->tree);
    kj_buf_release(&j->file);
    kj_buf_release(&j->wide);
    free(j);
}

static struct kj_str view(std::string_view s)
{
    struct kj_str r = {s.data(), s.size()};
    return r;
}

static bool build(struct kj_json *j, dom::element e, struct kj_jval *v);

static bool build_array(struct kj_json *j, dom::array a, struct kj_jval *v)
{
    size_t n = 0;
    for (auto it = a.begin(); it != a.end(); ++it)
        n++;
    v->kind = KJ_J_ARRAY;
    v->n = n;
    v->keys = nullptr;
    v->items = nullptr;
    if (n == 0)
        return true;
    struct kj_jval *items =
        (struct kj_jval *)kj_arena_alloc(&j->tree, n * sizeof *items);
    if (!items)
        return false;
    v->items = items;
    for (dom::element e : a)
        if (!build(j, e, items++))
            return false;
    return true;
}

static bool build_object(struct kj_json *j, dom::object o, struct kj_jval *v)
{
    size_t n = 0;
    for (auto it = o.begin(); it != o.end(); ++it)
        n++;
    v->kind = KJ_J_OBJECT;
    v->n = n;
    v->keys = nullptr;
    v->items = nullptr;
    if (n == 0)
        return true;
    struct kj_jval *items =
        (struct kj_jval *)kj_arena_alloc(&j->tree, n * sizeof *items);
    struct kj_str *keys = (struct kj_str *)kj_arena_alloc(&j->tree, n * sizeof *keys);
    if (!items || !keys)
        return false;
    v->items = items;
    v->keys = keys;
    for (dom::key_value_pair kv : o) {
        *keys++ = view(kv.key);
        if (!build(j, kv.value, items++))
            return false;
    }
    return true;
}

/* The depth of the recursion is limited by the parser (1024). */
static bool build(struct kj_json *j, dom::element e, struct kj_jval *v)
{
    switch (e.type()) {
    case dom::element_type::ARRAY:
        return build_array(j, dom::array(e), v);
    case dom::element_type::OBJECT:
        return build_object(j, dom::object(e), v);
    case dom::element_type::STRING:
        v->kind = KJ_J_STR;
        v->s = view(std::string_view(e));
        return true;
    case dom::element_type::INT64:
        v->kind = KJ_J_INT;
        v->i = int64_t(e);
        return true;
    case dom::element_type::UINT64:
        v->kind = KJ_J_REAL;
        v->r = double(uint64_t(e));
        return true;
    case dom::element_type::DOUBLE:
        v->kind = KJ_J_REAL;
        v->r = double(e);
        return true;
    case dom::element_type::BOOL:
        v->kind = KJ_J_BOOL;
        v->b = bool(e);
        return true;
    default:
        v->kind = KJ_J_NULL;
        v->i = 0;
        return true;
    }
}

/* Copy the text with "e0" behind every integer of more than 18 digits, so that
 * it is read as a real. True when there was one. */
static bool widen(struct kj_buf *b, const char *p, size_t n)
{
    bool any = false, in_str = false;
    size_t from = 0;
    b->cap = 2 * n + 16;
    kj_buf_reset(b);
    for (size_t i = 0; i < n;) {
        if (in_str) {
            in_str = p[i] != '"';
            i += p[i] == '\\' ? 2 : 1;
            continue;
        }
        if (p[i] == '"')
            in_str = true;
        if (p[i] < '0' || p[i] > '9') {
            i++;
            continue;
        }
        size_t k = i;
        while (k < n && p[k] >= '0' && p[k] <= '9')
            k++;
        bool whole = k == n || !memchr(".eE+-", p[k], 5);
        bool starts = i == 0 || !memchr(".eE+", p[i - 1], 4);
        if (i >= 2 && p[i - 1] == '-' && (p[i - 2] == 'e' || p[i - 2] == 'E'))
            starts = false;
        if (k - i > 18 && whole && starts) {
            if (kj_buf_add(b, p + from, k - from) || kj_buf_add(b, "e0", 2))
                return false;
            from = k;
            any = true;
        }
        i = k;
    }
    return any && kj_buf_add(b, p + from, n - from) == KJ_OK;
}

int kj_json_parse(struct kj_json *j, const char *p, size_t n,
                  const struct kj_jval **root, struct kj_err *err)
{
    *root = nullptr;
    if (n >= 3 && memcmp(p, "\xEF\xBB\xBF", 3) == 0) {
        p += 3;
        n -= 3;
    }
    if (j->parser->capacity() > PARSER_KEEP && n < PARSER_KEEP / 4) {
        delete j->parser;
        j->parser = new dom::parser;
        kj_buf_release(&j->wide);
    }
    dom::element e;
    auto code = j->parser->parse(p, n, true).get(e);
    /* Which error a long integer gives depends on simdjson's version. */
    if (code && widen(&j->wide, p, n))
        code = j->parser->parse(j->wide.p, j->wide.n, true).get(e);
    if (code)
        return kj_err_set(err, KJ_BAD_RECORD, "invalid JSON: %s",
                          simdjson::error_message(code));
    kj_arena_reset(&j->tree);
    j->tree.cap = 24 * n + 4096;
    if (!build(j, e, &j->root))
        return kj_err_set(err, KJ_BAD_RECORD, "JSON needs too much memory");
    *root = &j->root;
    return KJ_OK;
}

static int load_bytes(struct kj_buf *b, const char *path, size_t max,
                      struct kj_err *err)
{
    FILE *f = fopen(path, "rbe");
    if (!f)
        return kj_err_errno(err, KJ_FAIL, "cannot open %s", path);
    int rc = KJ_OK;
    b->cap = max + 1;
    kj_buf_reset(b);
    for (size_t step = 1 << 16; !rc; step = 1 << 20) {
        if (step > b->cap - b->n)
            step = b->cap - b->n;
        if (step == 0) {
            rc = kj_err_set(err, KJ_FAIL, "%s is larger than %zu bytes", path, max);
            break;
        }
        if (kj_buf_reserve(b, step)) {
            rc = kj_err_set(err, KJ_FAIL, "%s needs too much memory", path);
            break;
        }
        size_t got = fread(b->p + b->n, 1, step, f);
        b->n += got;
        if (got < step) {
            if (ferror(f))
                rc = kj_err_errno(err, KJ_FAIL, "cannot read %s", path);
            break;
        }
    }
    if (!rc && b->n > max)
        rc = kj_err_set(err, KJ_FAIL, "%s is larger than %zu bytes", path, max);
    fclose(f);
    return rc;
}

int kj_json_load(struct kj_json *j, const char *path, size_t max,
                 const struct kj_jval **root, struct kj_err *err)
{
    *root = nullptr;
    int rc = load_bytes(&j->file, path, max, err);
    if (!rc && kj_json_parse(j, j->file.p, j->file.n, root, err)) {
        if (err)
            err->rc = KJ_FAIL;
        rc = KJ_FAIL;
    }
    if (rc)
        kj_err_where(err, path, -1);
    kj_buf_release(&j->file);
    kj_buf_init(&j->file, 0);
    return rc;
}

const struct kj_jval *kj_jget(const struct kj_jval *v, const char *key)
{
    if (!v || v->kind != KJ_J_OBJECT)
        return nullptr;
    size_t n = strlen(key);
    for (size_t i = 0; i < v->n; i++)
        if (v->keys[i].n == n && memcmp(v->keys[i].p, key, n) == 0)
            return &v->items[i];
    return nullptr;
}

int64_t kj_jint(const struct kj_jval *v, int64_t other)
{
    return v && v->kind == KJ_J_INT ? v->i : other;
}

double kj_jnum(const struct kj_jval *v, double other)
{
    if (v && v->kind == KJ_J_INT)
        return double(v->i);
    return v && v->kind == KJ_J_REAL ? v->r : other;
}

bool kj_jbool(const struct kj_jval *v, bool other)
{
    return v && v->kind == KJ_J_BOOL ? v->b : other;
}

struct kj_str kj_jstr(const struct kj_jval *v)
{
    struct kj_str none = {nullptr, 0};
    return v && v->kind == KJ_J_STR ? v->s : none;
}

/* Numbers are written here since C++17's to_chars gives the shortest text that
 * reads back (Ryu), independent of the locale. Left to itself, it writes some
 * large values as long integers: from `large` on they get an exponent. */
template <typename T> static int put_number(struct kj_buf *b, T v, T large)
{
    char t[40];
    if (!std::isfinite(v))
        return kj_buf_add(b, "null", 4);
    if (v == 0 && std::signbit(v))
        return kj_buf_add(b, "-0.0", 4);
    if (std::fabs(v) < large && v == std::trunc(v))
        return kj_json_put_int(b, int64_t(v));
    auto r = std::fabs(v) < large
                 ? std::to_chars(t, t + sizeof t, v)
                 : std::to_chars(t, t + sizeof t, v, std::chars_format::scientific);
    return kj_buf_add(b, t, size_t(r.ptr - t));
}

int kj_json_put_real(struct kj_buf *b, double v)
{
    return put_number(b, v, 1e15);
}

int kj_json_put_float(struct kj_buf *b, float v)
{
    return put_number(b, v, 1e7f);
}

int kj_json_put_int(struct kj_buf *b, int64_t v)
{
    char t[24];
    auto r = std::to_chars(t, t + sizeof t, v);
    return kj_buf_add(b, t, size_t(r.ptr - t));
}
