/* mix_text.c - what a mix says of itself: a table, JSON, and order.json. */
#include "manifests/mix_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/order.h"

static const char *const rules[] = {"less", "scale", "fill", "fail"};

bool kj_mix_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Tokens for people, in eight columns. */
static const char *many(double v, char out[16])
{
    static const char unit[] = " KMBT";
    size_t u = 0;
    for (; v >= 999.5 && u < 4; u++)
        v /= 1000;
    if (u == 0)
        snprintf(out, 16, "%.0f", v);
    else
        snprintf(out, 16, "%.*f%c", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v, unit[u]);
    return out;
}

static double shortfall(const struct kj_mix_part *p)
{
    /* Documents are never cut, so up to one of them is missing of any budget. */
    return p->asked >= p->most + 1 ? fmax(0, p->asked - (double)p->given) : 0;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

void kj_mix_text(const struct kj_mix *m, struct kj_buf *out)
{
    char a[16], b[16], c[16], d[16], e[16];
    double asked = 0, worth = 0, lack = 0, available = 0;
    kj_buf_printf(out, "%-22s %9s %8s %8s %8s %7s %7s %8s %9s\n", "part", "documents",
                  "has", "asked", "gives", "share", "epochs", "worth", "shortfall");
    for (size_t i = 0; i < m->n; i++) {
        const struct kj_mix_part *p = &m->parts[i];
        double w = kj_mix_worth((double)p->given, (double)p->unique);
        asked += p->asked;
        worth += w;
        lack += shortfall(p);
        available += (double)p->available;
        kj_buf_printf(out, "%-22s %9" PRIu64 " %8s %8s %8s %6.2f%% %7.2f %8s %9s\n",
                      p->name, p->documents, many((double)p->available, a),
                      many(p->asked, b), many((double)p->given, c),
                      100 * ratio((double)p->given, (double)m->given),
                      ratio((double)p->given, (double)p->unique), many(w, d),
                      shortfall(p) > 0 ? many(shortfall(p), e) : "-");
    }
    kj_buf_printf(out, "%-22s %9" PRIu64 " %8s %8s %8s %6.2f%% %7s %8s %9s\n", "in all",
                  m->table->n, many(available, a), many(asked, b),
                  many((double)m->given, c), 100.0, "", many(worth, d),
                  lack > 0 ? many(lack, e) : "-");
    if (m->left_documents)
        kj_buf_printf(out, "%" PRIu64 " documents with %s tokens match no part\n",
                      m->left_documents, many((double)m->left_tokens, a));
}

static void put_str(struct kj_buf *b, const char *key, const char *v)
{
    kj_buf_printf(b, "\"%s\":", key);
    kj_json_put_str(b, v, strlen(v));
}

static void put_parts(const struct kj_mix *m, struct kj_buf *b)
{
    kj_buf_addz(b, "\"parts\":[");
    for (size_t i = 0; i < m->n; i++) {
        const struct kj_mix_part *p = &m->parts[i];
        kj_buf_addz(b, i ? ",\n  {" : "\n  {");
        put_str(b, "name", p->name);
        kj_buf_printf(b,
                      ",\"documents\":%" PRIu64 ",\"available\":%" PRIu64
                      ",\"asked\":%.0f,\"budget\":%.0f,\"tokens\":%" PRIu64
                      ",\"entries\":%" PRIu64 ",\"unique_tokens\":%" PRIu64
                      ",\"unique_documents\":%" PRIu64 ",\"epochs\":",
                      p->documents, p->available, p->asked, p->budget, p->given,
                      p->entries, p->unique, p->unique_documents);
        kj_json_put_real(b, ratio((double)p->given, (double)p->unique));
        kj_buf_addz(b, ",\"epochs_most\":");
        kj_json_put_real(b, p->epochs);
        kj_buf_printf(b, ",\"worth\":%.0f,\"shortfall\":%.0f}",
                      kj_mix_worth((double)p->given, (double)p->unique), shortfall(p));
    }
    kj_buf_addz(b, "\n]");
}

static void put_plan(const struct kj_mix *m, struct kj_buf *b)
{
    put_str(b, "plan", m->name);
    kj_buf_printf(
        b, ",\"seed\":%" PRId64 ",\"tokens\":%" PRIu64 ",\"entries\":%" PRIu64 ",",
        m->seed, m->given, m->entries);
    put_str(b, "shortfall", rules[m->shortfall]);
    kj_buf_printf(b, ",\"left\":{\"documents\":%" PRIu64 ",\"tokens\":%" PRIu64 "},\n",
                  m->left_documents, m->left_tokens);
}

void kj_mix_json(const struct kj_mix *m, struct kj_buf *out)
{
    kj_buf_addc(out, '{');
    put_plan(m, out);
    put_parts(m, out);
    kj_buf_addz(out, "}\n");
}

/* `to` as seen from the folder `from`; both are made absolute first. */
static char *relative(const char *from, const char *to)
{
    char *a = realpath(from, NULL), *b = realpath(to, NULL), *out;
    struct kj_buf r;
    size_t i = 0, cut = 0;
    if (!a || !b) {
        free(a);
        free(b);
        return NULL;
    }
    for (; a[i] && a[i] == b[i]; i++)
        if (a[i] == '/')
            cut = i + 1;
    if (!a[i] && b[i] == '/')
        cut = i + 1; /* the folder holds it */
    kj_buf_init(&r, 1 << 16);
    for (const char *p = a + (cut < strlen(a) ? cut : strlen(a)); *p;) {
        kj_buf_addz(&r, "../");
        p += strcspn(p, "/");
        p += *p == '/';
    }
    kj_buf_addz(&r, b + cut);
    out = kj_xstrndup(r.p, r.n);
    kj_buf_release(&r);
    free(a);
    free(b);
    return out;
}

int kj_mix_order_json(const struct kj_mix *m, const char *dir, const char *hash,
                      const char *tool, struct kj_buf *out, struct kj_err *err)
{
    kj_buf_addz(out, "{\"format\":\"kijil-order\",\"version\":1,");
    put_plan(m, out);
    put_str(out, "order_hash", hash);
    kj_buf_addc(out, ',');
    put_str(out, "tokenizer_hash", kj_shards_tokenizer_hash(m->table->sets[0].shards));
    kj_buf_addz(out, ",\n\"sets\":[");
    for (size_t i = 0; i < m->table->n_sets; i++) {
        const struct kj_mix_set *s = &m->table->sets[i];
        char set[40];
        int64_t bytes;
        int rc = kj_hash_file(s->manifest, set, &bytes, err);
        char *name = rc == KJ_OK ? relative(dir, s->manifest) : NULL;
        if (!name)
            return kj_err_set(err, KJ_FAIL, "%s: cannot be resolved", s->manifest);
        kj_buf_addz(out, i ? ",\n  {" : "\n  {");
        put_str(out, "manifest", name);
        kj_buf_addc(out, ',');
        put_str(out, "hash", set);
        kj_buf_printf(out, ",\"documents\":%" PRIu64 ",\"tokens\":%" PRIu64 "}",
                      kj_shards_documents(s->shards), kj_shards_tokens(s->shards));
        free(name);
    }
    kj_buf_addz(out, "\n],\n");
    put_parts(m, out);
    kj_buf_addz(out, ",\n");
    put_str(out, "tool", tool);
    return kj_buf_printf(out, KJ_ORDER_TAIL, kj_hash64(out->p, out->n, 0)) == KJ_OK
               ? KJ_OK
               : kj_err_set(err, KJ_FAIL, "order.json grew too large");
}
