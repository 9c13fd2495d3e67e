/* safetensors.c - files of named tensors. */
#include "nn/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"

#define HEADER_MAX  ((uint64_t)100 * 1000 * 1000)
#define TENSORS_MAX 1000000u
#define COPY_FLOATS ((size_t)1 << 18)
#define DATA_ALIGN  64u

static const struct {
    const char *name;
    unsigned size;
} types[] = {
    [KJ_ST_BOOL] = {"BOOL", 1},       [KJ_ST_U8] = {"U8", 1},
    [KJ_ST_I8] = {"I8", 1},           [KJ_ST_F8_E5M2] = {"F8_E5M2", 1},
    [KJ_ST_F8_E4M3] = {"F8_E4M3", 1}, [KJ_ST_I16] = {"I16", 2},
    [KJ_ST_U16] = {"U16", 2},         [KJ_ST_F16] = {"F16", 2},
    [KJ_ST_BF16] = {"BF16", 2},       [KJ_ST_I32] = {"I32", 4},
    [KJ_ST_U32] = {"U32", 4},         [KJ_ST_F32] = {"F32", 4},
    [KJ_ST_F64] = {"F64", 8},         [KJ_ST_I64] = {"I64", 8},
    [KJ_ST_U64] = {"U64", 8},
};
#define TYPES (sizeof types / sizeof *types)

struct kj_st {
    struct kj_map map;      /* empty when the memory is the caller's */
    struct kj_arena arena;  /* names */
    struct kj_st_tensor *v; /* by position */
    const struct kj_st_tensor **by_name;
    size_t n;
};

static uint64_t le64(const unsigned char *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--)
        v = v << 8 | p[i];
    return v;
}

/* A non-negative integer, or false. */
static bool natural(const struct kj_jval *v, uint64_t *out)
{
    if (!v || v->kind != KJ_J_INT || v->i < 0)
        return false;
    *out = (uint64_t)v->i;
    return true;
}

static bool type_of(struct kj_str s, enum kj_st_type *out)
{
    for (size_t i = 1; i < TYPES; i++)
        if (kj_str_is(s, types[i].name)) {
            *out = (enum kj_st_type)i;
            return true;
        }
    return false;
}

/* Fill t from one entry of the header; size: bytes of the data buffer. */
static int parse_tensor(struct kj_st_tensor *t, const struct kj_jval *v,
                        const unsigned char *data, uint64_t size, struct kj_err *err)
{
    const struct kj_jval *shape = kj_jget(v, "shape"), *at = kj_jget(v, "data_offsets");
    struct kj_str type = kj_jstr(kj_jget(v, "dtype"));
    uint64_t begin, end, bytes;
    if (!type_of(type, &t->type))
        return kj_err_set(err, KJ_FAIL, "tensor %.200s: unknown dtype \"%.*s\"",
                          t->name, (int)(type.n < 40 ? type.n : 40),
                          type.p ? type.p : "");
    if (!shape || shape->kind != KJ_J_ARRAY || shape->n > KJ_ST_RANK_MAX)
        return kj_err_set(err, KJ_FAIL, "tensor %.200s: shape is missing or too long",
                          t->name);
    t->rank = (unsigned)shape->n;
    t->elements = 1;
    for (size_t i = 0; i < shape->n; i++)
        if (!natural(&shape->items[i], &t->shape[i]) ||
            __builtin_mul_overflow(t->elements, t->shape[i], &t->elements))
            return kj_err_set(err, KJ_FAIL, "tensor %.200s: impossible shape", t->name);
    if (!at || at->kind != KJ_J_ARRAY || at->n != 2 ||
        !natural(&at->items[0], &begin) || !natural(&at->items[1], &end) ||
        begin > end || end > size)
        return kj_err_set(err, KJ_FAIL, "tensor %.200s: data_offsets outside the file",
                          t->name);
    if (__builtin_mul_overflow(t->elements, (uint64_t)types[t->type].size, &bytes) ||
        bytes != end - begin)
        return kj_err_set(
            err, KJ_FAIL,
            "tensor %.200s: its %llu bytes do not fit its shape and dtype", t->name,
            (unsigned long long)(end - begin));
    t->p = data + begin;
    t->bytes = bytes;
    return KJ_OK;
}

static int check_metadata(const struct kj_jval *v, struct kj_err *err)
{
    if (v->kind != KJ_J_OBJECT)
        return kj_err_set(err, KJ_FAIL, "__metadata__ is no object");
    for (size_t i = 0; i < v->n; i++)
        if (v->items[i].kind != KJ_J_STR)
            return kj_err_set(err, KJ_FAIL,
                              "__metadata__ holds something else than text");
    return KJ_OK;
}

/* Empty tensors go before the one that starts at the same place. */
static int by_place(const void *a, const void *b)
{
    const struct kj_st_tensor *x = a, *y = b;
    if (x->p != y->p)
        return x->p < y->p ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct kj_st_tensor *const *)a)->name,
                  (*(const struct kj_st_tensor *const *)b)->name);
}

static int parse_all(struct kj_st *s, const struct kj_jval *root,
                     const unsigned char *data, uint64_t size, struct kj_err *err)
{
    s->v = kj_xcalloc(root->n + 1, sizeof *s->v);
    s->by_name = kj_xcalloc(root->n + 1, sizeof *s->by_name);
    bool meta = false;
    for (size_t i = 0; i < root->n; i++) {
        struct kj_str key = root->keys[i];
        int rc;
        if (kj_str_is(key, "__metadata__")) {
            if (meta)
                return kj_err_set(err, KJ_FAIL, "two __metadata__");
            meta = true;
            rc = check_metadata(&root->items[i], err);
        } else {
            struct kj_st_tensor *t = &s->v[s->n++];
            t->name = kj_arena_dup(&s->arena, key.p, key.n);
            if (!t->name || memchr(key.p, 0, key.n))
                return kj_err_set(err, KJ_FAIL, "tensor name with a NUL");
            rc = parse_tensor(t, &root->items[i], data, size, err);
        }
        if (rc)
            return rc;
    }
    qsort(s->v, s->n, sizeof *s->v, by_place);
    uint64_t end = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint64_t at = (uint64_t)(s->v[i].p - data);
        if (at != end)
            return kj_err_set(err, KJ_FAIL, "%s before tensor %.200s",
                              at > end ? "a hole" : "an overlap", s->v[i].name);
        end = at + s->v[i].bytes;
        s->by_name[i] = &s->v[i];
    }
    if (end != size)
        return kj_err_set(err, KJ_FAIL, "%llu bytes behind the last tensor",
                          (unsigned long long)(size - end));
    qsort(s->by_name, s->n, sizeof *s->by_name, by_name);
    for (size_t i = 1; i < s->n; i++)
        if (strcmp(s->by_name[i - 1]->name, s->by_name[i]->name) == 0)
            return kj_err_set(err, KJ_FAIL, "two tensors named %.200s",
                              s->by_name[i]->name);
    return KJ_OK;
}

int kj_st_parse(struct kj_st **out, const void *p, size_t n, const char *name,
                struct kj_err *err)
{
    const unsigned char *b = p;
    const struct kj_jval *root;
    uint64_t header = n >= 8 ? le64(b) : 0;
    int rc;
    if (n < 8 || header > HEADER_MAX || header > n - 8 || header < 2 || b[8] != '{') {
        rc = kj_err_set(err, KJ_FAIL, "not a safetensors file (header of %llu bytes)",
                        (unsigned long long)header);
        kj_err_where(err, name, 0);
        return rc;
    }
    struct kj_json *j = kj_json_new();
    struct kj_st *s = kj_xcalloc(1, sizeof *s);
    kj_arena_init(&s->arena, (size_t)HEADER_MAX * 2);
    rc = kj_json_parse(j, (const char *)b + 8, (size_t)header, &root, err);
    if (rc == KJ_OK && (root->kind != KJ_J_OBJECT || root->n > TENSORS_MAX))
        rc = kj_err_set(err, KJ_FAIL, "the header is no object of tensors");
    if (rc == KJ_OK)
        rc = parse_all(s, root, b + 8 + header, n - 8 - header, err);
    kj_json_free(j);
    if (rc) {
        kj_st_close(s);
        kj_err_where(err, name, -1);
        if (err)
            err->rc = KJ_FAIL;
        return KJ_FAIL;
    }
    *out = s;
    return KJ_OK;
}

int kj_st_open(struct kj_st **out, const char *path, struct kj_err *err)
{
    struct kj_map map;
    int rc = kj_map_open(&map, path, err);
    if (rc == KJ_OK)
        rc = kj_st_parse(out, map.p, map.n, path, err);
    if (rc) {
        kj_map_close(&map);
        return rc;
    }
    (*out)->map = map;
    for (size_t i = 0; i < (*out)->n; i++)
        (*out)->v[i].mapped = true;
    return KJ_OK;
}

void kj_st_close(struct kj_st *s)
{
    if (!s)
        return;
    kj_map_close(&s->map);
    kj_arena_release(&s->arena);
    free(s->v);
    free(s->by_name);
    free(s);
}

size_t kj_st_count(const struct kj_st *s)
{
    return s->n;
}

const struct kj_st_tensor *kj_st_get(const struct kj_st *s, size_t i)
{
    return &s->v[i];
}

const struct kj_st_tensor *kj_st_find(const struct kj_st *s, const char *name)
{
    size_t lo = 0, hi = s->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int c = strcmp(name, s->by_name[mid]->name);
        if (c == 0)
            return s->by_name[mid];
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static float from_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = h >> 10 & 31, m = h & 1023;
    if (e == 31)
        return from_bits(sign | 0x7F800000u | m << 13);
    if (e == 0) {
        float f = (float)m * 0x1p-24f;
        return sign ? -f : f;
    }
    return from_bits(sign | (e + 112) << 23 | m << 13);
}

int kj_st_floats(const struct kj_st_tensor *t, uint64_t at, float *out, size_t n,
                 struct kj_err *err)
{
    const unsigned char *p = t->p + at * types[t->type].size;
    if (n == 0)
        return KJ_OK;
    switch (t->type) {
    case KJ_ST_F32:
        memcpy(out, p, n * 4);
        return KJ_OK;
    case KJ_ST_BF16:
        for (size_t i = 0; i < n; i++)
            out[i] = from_bits((uint32_t)p[2 * i] << 16 | (uint32_t)p[2 * i + 1] << 24);
        return KJ_OK;
    case KJ_ST_F16:
        for (size_t i = 0; i < n; i++)
            out[i] = from_half((uint16_t)(p[2 * i] | p[2 * i + 1] << 8));
        return KJ_OK;
    case KJ_ST_F64:
        for (size_t i = 0; i < n; i++) {
            double d;
            memcpy(&d, p + 8 * i, 8);
            out[i] = (float)d;
        }
        return KJ_OK;
    default:
        return kj_err_set(err, KJ_FAIL, "tensor %.200s is %s, not floating point",
                          t->name, types[t->type].name);
    }
}

void kj_st_pass(const struct kj_st_tensor *t)
{
    if (t->mapped)
        kj_map_pass(t->p, (size_t)t->bytes);
}

/* ---- writing ---- */

static int put_header(struct kj_buf *b, const struct kj_st_out *t, size_t n,
                      enum kj_st_type type)
{
    uint64_t at = 0;
    int rc = kj_buf_addz(b, "12345678{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        uint64_t size = types[type].size;
        rc |= kj_buf_addc(b, ',') | kj_json_put_str(b, t[i].name, strlen(t[i].name));
        rc |= kj_buf_printf(b, ":{\"dtype\":\"%s\",\"shape\":[", types[type].name);
        for (unsigned k = 0; k < t[i].rank; k++) {
            rc |= kj_buf_printf(b, "%s%llu", k ? "," : "",
                                (unsigned long long)t[i].shape[k]);
            size *= t[i].shape[k];
        }
        rc |= kj_buf_printf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", at,
                            at + size);
        at += size;
    }
    rc |= kj_buf_addc(b, '}');
    while (b->n % DATA_ALIGN)
        rc |= kj_buf_addc(b, ' ');
    for (int i = 0; i < 8; i++)
        b->p[i] = (char)((uint64_t)(b->n - 8) >> (8 * i));
    return rc;
}

static int write_all(int fd, const char *p, size_t n, struct kj_err *err)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return kj_err_errno(err, KJ_FAIL, "cannot write");
        p += k;
        n -= (size_t)k;
    }
    return KJ_OK;
}

/* Round to nearest even, in place: bf16 values in the first half of x. */
static void to_bf16(float *x, size_t n)
{
    unsigned char *out = (unsigned char *)x;
    for (size_t i = 0; i < n; i++) {
        uint32_t u;
        memcpy(&u, &x[i], 4);
        if ((u & 0x7FFFFFFFu) > 0x7F800000u)
            u |= 0x400000u; /* a NaN stays one */
        else
            u += 0x7FFFu + (u >> 16 & 1);
        out[2 * i] = (unsigned char)(u >> 16);
        out[2 * i + 1] = (unsigned char)(u >> 24);
    }
}

static int put_data(int fd, const struct kj_st_out *t, size_t n, enum kj_st_type type,
                    kj_st_fill *fill, void *ctx, struct kj_err *err)
{
    float *chunk = kj_xmalloc(COPY_FLOATS * sizeof *chunk);
    int rc = KJ_OK;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        uint64_t left = 1, at = 0;
        for (unsigned k = 0; k < t[i].rank; k++)
            left *= t[i].shape[k];
        while (left > 0 && rc == KJ_OK) {
            size_t m = left < COPY_FLOATS ? (size_t)left : COPY_FLOATS;
            rc = fill(ctx, i, at, chunk, m, err);
            if (type == KJ_ST_BF16)
                to_bf16(chunk, m);
            if (rc == KJ_OK)
                rc = write_all(fd, (char *)chunk, m * types[type].size, err);
            at += m;
            left -= m;
        }
    }
    free(chunk);
    return rc;
}

/* Makes the file with its header, of *size bytes. */
static int begin(int *fd, const char *path, const struct kj_st_out *t, size_t n,
                 enum kj_st_type type, size_t *size, struct kj_err *err)
{
    struct kj_buf head;
    if (type != KJ_ST_F32 && type != KJ_ST_BF16)
        return kj_err_set(err, KJ_FATAL, "cannot write %s", types[type].name);
    kj_buf_init(&head, (size_t)HEADER_MAX);
    int rc = put_header(&head, t, n, type);
    *size = head.n;
    if (rc)
        rc = kj_err_set(err, KJ_FAIL, "too many tensors for one header");
    else if ((*fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot create");
    if (rc == KJ_OK)
        rc = write_all(*fd, head.p, head.n, err);
    kj_buf_release(&head);
    return rc;
}

/* Syncs and closes it, or removes it. */
static int end(int fd, const char *path, int rc, struct kj_err *err)
{
    if (rc == KJ_OK)
        rc = kj_st_leave(fd, err);
    else if (fd >= 0)
        close(fd);
    if (rc) {
        kj_err_where(err, path, -1);
        if (fd >= 0)
            unlink(path);
    }
    return rc;
}

int kj_st_write(const char *path, const struct kj_st_out *t, size_t n,
                enum kj_st_type type, kj_st_fill *fill, void *ctx, struct kj_err *err)
{
    size_t size;
    int fd = -1, rc = begin(&fd, path, t, n, type, &size, err);
    if (rc == KJ_OK)
        rc = put_data(fd, t, n, type, fill, ctx, err);
    return end(fd, path, rc, err);
}

/* ---- by several ---- */

size_t kj_st_size(enum kj_st_type type)
{
    return types[type].size;
}

int kj_st_lay_out(const char *path, const struct kj_st_out *t, size_t n,
                  enum kj_st_type type, uint64_t *at, struct kj_err *err)
{
    size_t size;
    int fd = -1, rc = begin(&fd, path, t, n, type, &size, err);
    uint64_t to = size;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        uint64_t bytes = types[type].size;
        at[i] = to;
        for (unsigned k = 0; k < t[i].rank; k++)
            bytes *= t[i].shape[k];
        to += bytes;
    }
    if (rc == KJ_OK && ftruncate(fd, (off_t)to) != 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot make it %" PRIu64 " bytes long", to);
    return end(fd, path, rc, err);
}

int kj_st_join(int *fd, const char *path, struct kj_err *err)
{
    *fd = open(path, O_WRONLY | O_CLOEXEC);
    return *fd < 0 ? kj_err_errno(err, KJ_FAIL, "cannot open %s", path) : KJ_OK;
}

int kj_st_put(int fd, uint64_t at, enum kj_st_type type, float *x, size_t n,
              struct kj_err *err)
{
    const char *p = (const char *)x;
    if (type == KJ_ST_BF16)
        to_bf16(x, n);
    for (size_t left = n * types[type].size; left > 0;) {
        ssize_t k = pwrite(fd, p, left, (off_t)at);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return kj_err_errno(err, KJ_FAIL, "cannot write");
        p += k;
        at += (uint64_t)k;
        left -= (size_t)k;
    }
    return KJ_OK;
}

int kj_st_leave(int fd, struct kj_err *err)
{
    int rc = KJ_OK;
    if (fsync(fd) != 0)
        rc = kj_err_errno(err, KJ_FAIL, "cannot sync");
    if (close(fd) != 0 && rc == KJ_OK)
        rc = kj_err_errno(err, KJ_FAIL, "cannot close");
    return rc;
}
