/* mix_plan.c - reads plans. */
#include "manifests/mix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/order.h"
#include "base/yaml.h"

/* Bounds of the fixed-point arithmetic in mix.c. */
#define EPOCHS_MAX 1000
#define WEIGHT_MAX 100

#define OFF(f) offsetof(struct kj_mix, f)
static const struct kj_opt plan_opts[] = {
    {"name", 0, KJ_OPT_STR, OFF(name), "NAME", "name of the plan", "", 0, 0},
    {"sets", 0, KJ_OPT_LIST, OFF(sets), "PATH", "manifests or their folders", 0, 0, 0},
    {"seed", 0, KJ_OPT_INT, OFF(seed), "N", "what is drawn depends on it", "1", 0,
     0x1p53},
    {"tokens", 0, KJ_OPT_STR, OFF(tokens_text), "N",
     "budget: 2.7T, 300B, 5M; most: as much as the proportions allow", "most", 0, 0},
    {"epochs", 0, KJ_OPT_REAL, OFF(epochs), "N", "most passes through a part", "4", 0,
     EPOCHS_MAX},
    {"shortfall", 0, KJ_OPT_ENUM, OFF(shortfall), "less|scale|fill|fail",
     "what happens when a part has too little", "less", 0, 0},
    {0},
};
#undef OFF
#define OFF(f) offsetof(struct kj_mix_part, f)
static const struct kj_opt part_opts[] = {
    {"name", 0, KJ_OPT_STR, OFF(name), "NAME", "name of the part", 0, 0, 0},
    {"source", 0, KJ_OPT_LIST, OFF(source), "PATTERN", "sources", 0, 0, 0},
    {"language", 0, KJ_OPT_LIST, OFF(language), "PATTERN", "languages", 0, 0, 0},
    {"band", 0, KJ_OPT_LIST, OFF(band), "PATTERN", "quality bands", 0, 0, 0},
    {"share", 0, KJ_OPT_REAL, OFF(share), "N", "share of the budget", "nan", 0, 1e15},
    {"tokens", 0, KJ_OPT_STR, OFF(tokens_text), "N", "tokens, instead of a share", 0, 0,
     0},
    {"epochs", 0, KJ_OPT_REAL, OFF(epochs), "N", "most passes", "nan", 0, EPOCHS_MAX},
    {0},
};
#undef OFF

int kj_mix_tokens(const char *as, const char *z, double *out, struct kj_err *err)
{
    int64_t n;
    if (strcmp(z, "most") == 0) {
        *out = NAN;
        return KJ_OK;
    }
    if (kj_parse_count(z, &n, NULL) || n < 1 || n > 100000000000000000)
        return kj_err_set(err, KJ_USAGE,
                          "%s takes most, or a count (like 5000, 10M, 2.7T), not '%s'",
                          as, z);
    *out = (double)n;
    return KJ_OK;
}

static int read_weights(struct kj_mix_weights *w, const struct kj_ynode *map,
                        struct kj_err *err)
{
    if (map->kind != KJ_Y_MAP)
        return kj_ynode_err(map, err, "rehydrate maps sizes of clusters to weights");
    w->v = kj_xcalloc(map->n + 1, sizeof *w->v);
    for (; w->n < map->n; w->n++) {
        const struct kj_ynode *it = map->items[w->n];
        char *e1, *e2 = NULL;
        unsigned long long size = strtoull(it->key, &e1, 10);
        double v = it->kind == KJ_Y_SCALAR ? strtod(it->scalar, &e2) : NAN;
        if (*e1 || e1 == it->key || it->key[0] == '-' || !e2 || *e2 ||
            e2 == it->scalar || !(v >= 0 && v <= WEIGHT_MAX) ||
            (w->n && size <= w->v[w->n - 1].size))
            return kj_ynode_err(
                it, err, "rehydrate: rising sizes, each with a weight of 0 to %d",
                WEIGHT_MAX);
        w->v[w->n] = (struct kj_mix_weight){size, v};
    }
    return KJ_OK;
}

static int read_part(struct kj_mix *m, const struct kj_ynode *node, struct kj_err *err)
{
    static const char *const skip[] = {"rehydrate", NULL};
    struct kj_mix_part *p = &m->parts[m->n++];
    if (node->kind != KJ_Y_MAP)
        return kj_ynode_err(node, err, "a part is a mapping");
    int rc = kj_opt_defaults(part_opts, p, err);
    p->tokens = NAN;
    if (rc == KJ_OK)
        rc = kj_opt_yaml(part_opts, p, node, skip, err);
    const struct kj_ynode *w = kj_ynode_get(node, "rehydrate");
    if (rc == KJ_OK && w)
        rc = read_weights(&p->weights, w, err);
    if (rc == KJ_OK && p->tokens_text)
        rc = kj_mix_tokens("tokens", p->tokens_text, &p->tokens, err);
    if (rc != KJ_OK)
        return rc;
    if (!p->name)
        return kj_ynode_err(node, err, "a part needs a name");
    if (isnan(p->share) == isnan(p->tokens))
        return kj_ynode_err(node, err, "part %s: either share or tokens is needed",
                            p->name);
    if (isnan(p->epochs))
        p->epochs = m->epochs;
    for (size_t i = 0; i + 1 < m->n; i++)
        if (strcmp(m->parts[i].name, p->name) == 0)
            return kj_ynode_err(node, err, "there are two parts %s", p->name);
    return KJ_OK;
}

static int read_plan(struct kj_mix *m, struct kj_err *err)
{
    static const char *const skip[] = {"rehydrate", "mix", NULL};
    const struct kj_ynode *root = kj_yaml_root(m->yaml);
    const struct kj_ynode *mix = kj_ynode_get(root, "mix");
    const struct kj_ynode *w = kj_ynode_get(root, "rehydrate");
    int rc = kj_opt_defaults(plan_opts, m, err);
    if (rc == KJ_OK)
        rc = kj_opt_yaml(plan_opts, m, root, skip, err);
    if (rc == KJ_OK)
        rc = kj_mix_tokens("tokens", m->tokens_text, &m->tokens, err);
    if (rc == KJ_OK && w)
        rc = read_weights(&m->weights, w, err);
    if (rc == KJ_OK &&
        (!mix || mix->kind != KJ_Y_SEQ || !mix->n || mix->n >= KJ_ORDER_PARTS))
        rc = kj_ynode_err(mix ? mix : root, err, "mix: a list of parts is needed");
    if (rc != KJ_OK)
        return rc;
    m->parts = kj_xcalloc(mix->n, sizeof *m->parts);
    for (size_t i = 0; i < mix->n && rc == KJ_OK; i++)
        rc = read_part(m, mix->items[i], err);
    return rc;
}

int kj_mix_load(struct kj_mix *m, const char *path, struct kj_err *err)
{
    memset(m, 0, sizeof *m);
    int rc = kj_yaml_load(&m->yaml, path, err);
    if (rc == KJ_OK)
        rc = read_plan(m, err);
    if (rc != KJ_OK)
        kj_err_where(err, path, -1);
    return rc;
}

int kj_mix_parse(struct kj_mix *m, const char *p, size_t n, const char *name,
                 struct kj_err *err)
{
    memset(m, 0, sizeof *m);
    int rc = kj_yaml_parse(&m->yaml, p, n, name, err);
    return rc == KJ_OK ? read_plan(m, err) : rc;
}
