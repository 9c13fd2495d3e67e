/* gguf.c - reading GGUF. */
#include "trainer/gguf.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/map.h"

#define VERSION   3
#define ALIGN_MAX (1u << 20)
#define KEYS_MAX  4096u
/* The least that a key and a tensor's entry take in the file. */
#define KEY_BYTES    13u
#define TENSOR_BYTES 32u

struct kj_gguf {
    struct kj_map map; /* empty when the memory is the caller's */
    struct kj_gguf_value *values;
    struct kj_gguf_tensor *tensors;
    const struct kj_gguf_tensor **by_name;
    size_t n_values, n_tensors;
};

/* Bytes that are still to be read. */
struct cursor {
    const unsigned char *p, *end;
    bool short_; /* something did not fit */
};

static const unsigned char *take(struct cursor *c, uint64_t n)
{
    const unsigned char *p = c->p;
    if (c->short_ || n > (uint64_t)(c->end - p)) {
        c->short_ = true;
        return NULL;
    }
    c->p += n;
    return p;
}

static uint64_t le(const unsigned char *p, unsigned n)
{
    uint64_t v = 0;
    while (p && n-- > 0)
        v = v << 8 | p[n];
    return v;
}

static uint64_t take_le(struct cursor *c, unsigned n)
{
    return le(take(c, n), n);
}

static struct kj_str take_text(struct cursor *c)
{
    uint64_t n = take_le(c, 8);
    const unsigned char *p = take(c, n);
    return (struct kj_str){(const char *)p, p ? (size_t)n : 0};
}

static unsigned kind_size(uint32_t kind)
{
    static const unsigned char size[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return kind < sizeof size ? size[kind] : 0;
}

static int take_value(struct cursor *c, struct kj_gguf_value *v, struct kj_err *err)
{
    v->key = take_text(c);
    uint32_t kind = (uint32_t)take_le(c, 4), item = KJ_GGUF_U8;
    int shown = (int)(v->key.n < 80 ? v->key.n : 80);
    if (kind == KJ_GGUF_ARRAY) {
        item = (uint32_t)take_le(c, 4);
        v->count = take_le(c, 8);
    }
    uint32_t unit = kind == KJ_GGUF_ARRAY ? item : kind;
    if (kind > KJ_GGUF_F64 || item > KJ_GGUF_F64 || item == KJ_GGUF_ARRAY)
        return kj_err_set(err, KJ_FAIL, "key %.*s: type %u (of %u) is not supported",
                          shown, v->key.p ? v->key.p : "", kind, item);
    v->kind = (enum kj_gguf_kind)kind;
    v->item = (enum kj_gguf_kind)item;
    v->p = c->p;
    uint64_t n = kind == KJ_GGUF_ARRAY ? v->count : 1, bytes;
    if (unit == KJ_GGUF_STR)
        for (uint64_t i = 0; i < n && !c->short_; i++)
            take_text(c);
    else if (__builtin_mul_overflow(n, (uint64_t)kind_size(unit), &bytes))
        c->short_ = true;
    else
        take(c, bytes);
    v->n = (size_t)(c->p - v->p);
    return KJ_OK;
}

/* Elements and bytes of a block; false: not known. */
static bool block_of(uint32_t type, unsigned *elements, unsigned *bytes)
{
    static const struct {
        uint32_t type;
        unsigned elements, bytes;
    } types[] = {{0, 1, 4},   {1, 1, 2},   {2, 32, 18}, {3, 32, 20},
                 {6, 32, 22}, {7, 32, 24}, {8, 32, 34}, {30, 1, 2}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].type == type) {
            *elements = types[i].elements;
            *bytes = types[i].bytes;
            return true;
        }
    return false;
}

/* An entry; its offset is left in t->bytes' place by *offset. */
static int take_tensor(struct cursor *c, struct kj_gguf_tensor *t, uint64_t *offset,
                       struct kj_err *err)
{
    unsigned per, size;
    t->name = take_text(c);
    t->rank = (unsigned)take_le(c, 4);
    int shown = (int)(t->name.n < 80 ? t->name.n : 80);
    const char *name = t->name.p ? t->name.p : "";
    if (t->rank > 4)
        return kj_err_set(err, KJ_FAIL, "tensor %.*s: rank %u", shown, name, t->rank);
    t->elements = 1;
    bool fits = true;
    for (unsigned i = 0; i < t->rank; i++) {
        t->dims[i] = take_le(c, 8);
        fits &= !__builtin_mul_overflow(t->elements, t->dims[i], &t->elements);
    }
    t->type = (uint32_t)take_le(c, 4);
    *offset = take_le(c, 8);
    if (c->short_)
        return KJ_OK; /* told by the caller */
    if (!block_of(t->type, &per, &size))
        return kj_err_set(err, KJ_FAIL, "tensor %.*s: type %u is not supported", shown,
                          name, t->type);
    if (!fits || t->elements % per ||
        __builtin_mul_overflow(t->elements / per, (uint64_t)size, &t->bytes))
        return kj_err_set(err, KJ_FAIL, "tensor %.*s: impossible shape", shown, name);
    return KJ_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct kj_str *x = &(*(const struct kj_gguf_tensor *const *)a)->name,
                        *y = &(*(const struct kj_gguf_tensor *const *)b)->name;
    size_t n = x->n < y->n ? x->n : y->n;
    int c = n ? memcmp(x->p, y->p, n) : 0;
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

static int by_place(const void *a, const void *b)
{
    const struct kj_gguf_tensor *x = *(const struct kj_gguf_tensor *const *)a,
                                *y = *(const struct kj_gguf_tensor *const *)b;
    if (x->p != y->p)
        return x->p < y->p ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Nothing overlaps, and nothing but padding lies behind the last. */
static int check_places(struct kj_gguf *g, const unsigned char *data,
                        const unsigned char *end, uint64_t align, struct kj_err *err)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < g->n_tensors; i++)
        g->by_name[i] = &g->tensors[i];
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, by_place);
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct kj_gguf_tensor *t = g->by_name[i];
        if (t->p < at || (uint64_t)(t->p - at) >= align)
            return kj_err_set(err, KJ_FAIL, "%s before tensor %.*s",
                              t->p < at ? "an overlap" : "a hole",
                              (int)(t->name.n < 80 ? t->name.n : 80), t->name.p);
        at = t->p + t->bytes;
    }
    if ((uint64_t)(end - at) >= align)
        return kj_err_set(err, KJ_FAIL, "%zu bytes behind the last tensor",
                          (size_t)(end - at));
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, by_name);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (by_name(&g->by_name[i - 1], &g->by_name[i]) == 0)
            return kj_err_set(err, KJ_FAIL, "two tensors of one name");
    return KJ_OK;
}

static int parse_tensors(struct kj_gguf *g, struct cursor *c, const unsigned char *file,
                         uint64_t *offsets, struct kj_err *err)
{
    for (size_t i = 0; i < g->n_tensors && !c->short_; i++) {
        int rc = take_tensor(c, &g->tensors[i], &offsets[i], err);
        if (rc)
            return rc;
    }
    if (c->short_) /* the last key's value may not be there */
        return kj_err_set(err, KJ_FAIL, "the file ends early");
    int64_t align = kj_gguf_int(g, "general.alignment", 32);
    if (align < 1 || align > ALIGN_MAX)
        return kj_err_set(err, KJ_FAIL, "impossible general.alignment");
    uint64_t used = (uint64_t)(c->p - file), a = (uint64_t)align;
    take(c, g->n_tensors ? (a - used % a) % a : 0);
    if (c->short_)
        return kj_err_set(err, KJ_FAIL, "the file ends early");
    uint64_t room = (uint64_t)(c->end - c->p);
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct kj_gguf_tensor *t = &g->tensors[i];
        if (offsets[i] % a || offsets[i] > room || t->bytes > room - offsets[i])
            return kj_err_set(err, KJ_FAIL,
                              "tensor %.*s is misplaced or outside the file",
                              (int)(t->name.n < 80 ? t->name.n : 80), t->name.p);
        t->p = c->p + offsets[i];
    }
    return check_places(g, c->p, c->end, a, err);
}

static int parse(struct kj_gguf *g, const unsigned char *p, size_t n,
                 struct kj_err *err)
{
    struct cursor c = {p, p + n, false};
    const unsigned char *magic = take(&c, 4);
    uint64_t version = take_le(&c, 4), tensors = take_le(&c, 8), keys = take_le(&c, 8);
    if (!magic || memcmp(magic, "GGUF", 4) != 0 || version != VERSION)
        return kj_err_set(err, KJ_FAIL, "not a GGUF file of version %d", VERSION);
    if (c.short_ || keys > KEYS_MAX || keys > n / KEY_BYTES ||
        tensors > n / TENSOR_BYTES)
        return kj_err_set(err, KJ_FAIL, "the file ends early");
    g->values = kj_xcalloc((size_t)keys + 1, sizeof *g->values);
    g->tensors = kj_xcalloc((size_t)tensors + 1, sizeof *g->tensors);
    g->by_name = kj_xcalloc((size_t)tensors + 1, sizeof *g->by_name);
    for (uint64_t i = 0; i < keys && !c.short_; i++) {
        struct kj_gguf_value *v = &g->values[g->n_values];
        int rc = take_value(&c, v, err);
        if (rc)
            return rc;
        for (size_t k = 0; k < g->n_values && !c.short_; k++)
            if (g->values[k].key.n == v->key.n &&
                memcmp(g->values[k].key.p, v->key.p, v->key.n) == 0)
                return kj_err_set(err, KJ_FAIL, "two keys %.*s",
                                  (int)(v->key.n < 80 ? v->key.n : 80), v->key.p);
        g->n_values++;
    }
    g->n_tensors = (size_t)tensors;
    uint64_t *offsets = kj_xcalloc(g->n_tensors + 1, sizeof *offsets);
    int rc = parse_tensors(g, &c, p, offsets, err);
    free(offsets);
    return rc;
}

int kj_gguf_parse(struct kj_gguf **out, const void *p, size_t n, const char *name,
                  struct kj_err *err)
{
    struct kj_gguf *g = kj_xcalloc(1, sizeof *g);
    int rc = parse(g, p, n, err);
    if (rc) {
        kj_gguf_close(g);
        kj_err_where(err, name, -1);
        return rc;
    }
    *out = g;
    return KJ_OK;
}

int kj_gguf_open(struct kj_gguf **out, const char *path, struct kj_err *err)
{
    struct kj_map map;
    int rc = kj_map_open(&map, path, err);
    if (rc == KJ_OK && (rc = kj_gguf_parse(out, map.p, map.n, path, err)) == KJ_OK)
        (*out)->map = map;
    else
        kj_map_close(&map);
    return rc;
}

void kj_gguf_close(struct kj_gguf *g)
{
    if (!g)
        return;
    kj_map_close(&g->map);
    free(g->values);
    free(g->tensors);
    free(g->by_name);
    free(g);
}

size_t kj_gguf_tensors(const struct kj_gguf *g)
{
    return g->n_tensors;
}

const struct kj_gguf_tensor *kj_gguf_tensor(const struct kj_gguf *g, size_t i)
{
    return &g->tensors[i];
}

const struct kj_gguf_tensor *kj_gguf_find(const struct kj_gguf *g, const char *name)
{
    struct kj_gguf_tensor want = {.name = {name, strlen(name)}};
    const struct kj_gguf_tensor *key = &want, *const * hit;
    hit = bsearch(&key, g->by_name, g->n_tensors, sizeof *g->by_name, by_name);
    return hit ? *hit : NULL;
}

const struct kj_gguf_value *kj_gguf_value(const struct kj_gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_values; i++)
        if (kj_str_is(g->values[i].key, key))
            return &g->values[i];
    return NULL;
}

int64_t kj_gguf_int(const struct kj_gguf *g, const char *key, int64_t fallback)
{
    const struct kj_gguf_value *v = kj_gguf_value(g, key);
    if (!v)
        return fallback;
    uint64_t x = le(v->p, kind_size(v->kind));
    switch (v->kind) {
    case KJ_GGUF_U8:
    case KJ_GGUF_U16:
    case KJ_GGUF_U32:
        return (int64_t)x;
    case KJ_GGUF_I32:
        return (int32_t)(uint32_t)x;
    case KJ_GGUF_U64:
    case KJ_GGUF_I64:
        return x <= INT64_MAX || v->kind == KJ_GGUF_I64 ? (int64_t)x : fallback;
    default:
        return fallback;
    }
}

double kj_gguf_real(const struct kj_gguf *g, const char *key, double fallback)
{
    const struct kj_gguf_value *v = kj_gguf_value(g, key);
    if (v && v->kind == KJ_GGUF_F32) {
        uint32_t u = (uint32_t)le(v->p, 4);
        float f;
        memcpy(&f, &u, sizeof f);
        return (double)f;
    }
    return fallback;
}

struct kj_str kj_gguf_text(const struct kj_gguf *g, const char *key)
{
    const struct kj_gguf_value *v = kj_gguf_value(g, key);
    if (!v || v->kind != KJ_GGUF_STR)
        return (struct kj_str){NULL, 0};
    return (struct kj_str){(const char *)v->p + 8, v->n - 8};
}

bool kj_gguf_next_text(const struct kj_gguf_value *v, size_t *at, struct kj_str *out)
{
    if (v->kind != KJ_GGUF_ARRAY || v->item != KJ_GGUF_STR || *at >= v->n)
        return false;
    size_t n = (size_t)le(v->p + *at, 8);
    *out = (struct kj_str){(const char *)v->p + *at + 8, n};
    *at += 8 + n;
    return true;
}

int kj_gguf_floats(const struct kj_gguf_tensor *t, uint64_t at, float *out, size_t n,
                   struct kj_err *err)
{
    struct kj_st_tensor same = {.name = "of the GGUF file",
                                .type = t->type == KJ_GGUF_F32_T    ? KJ_ST_F32
                                        : t->type == KJ_GGUF_F16_T  ? KJ_ST_F16
                                        : t->type == KJ_GGUF_BF16_T ? KJ_ST_BF16
                                                                    : KJ_ST_U8,
                                .p = t->p};
    return kj_st_floats(&same, at, out, n, err);
}
