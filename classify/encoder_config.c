/* encoder_config.c - config.json of an encoder. */
#include "classify/encoder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

#define LABELS_MAX 100000

void kj_encoder_config_release(struct kj_encoder_config *c)
{
    for (int64_t i = 0; c->names && i < c->labels; i++)
        free(c->names[i]);
    free(c->names);
    free(c->prefix);
    memset(c, 0, sizeof *c);
}

static int one_of(struct kj_str s, const char *field, const char *const *names,
                  const int *values, int *out, struct kj_err *err)
{
    for (size_t i = 0; names[i]; i++)
        if (kj_str_is(s, names[i])) {
            *out = values[i];
            return KJ_OK;
        }
    return kj_err_set(err, KJ_FAIL, "%s \"%.*s\" is not supported", field,
                      (int)(s.n < 40 ? s.n : 40), s.p ? s.p : "");
}

static int number(const struct kj_jval *root, const char *key, int64_t other,
                  int64_t most, int64_t *out, struct kj_err *err)
{
    const struct kj_jval *v = kj_jget(root, key);
    *out = kj_jint(v, v && v->kind != KJ_J_NULL ? -1 : other);
    if (*out < 1 || *out > most)
        return kj_err_set(err, KJ_FAIL, "%s is missing or impossible", key);
    return KJ_OK;
}

static int read_shape(struct kj_encoder_config *c, const struct kj_jval *root,
                      bool roberta, struct kj_err *err)
{
    const struct {
        const char *key;
        int64_t other, most, *to;
    } rows[] = {
        {"vocab_size", 0, 1 << 24, &c->vocab},
        {"hidden_size", 0, 1 << 16, &c->hidden},
        {"intermediate_size", 0, 1 << 18, &c->ffn},
        {"num_hidden_layers", 0, 1024, &c->layers},
        {"num_attention_heads", 0, 1 << 16, &c->heads},
        {"max_position_embeddings", 512, 1 << 20, &c->positions},
        {"type_vocab_size", 2, 1 << 16, &c->types},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (number(root, rows[i].key, rows[i].other, rows[i].most, rows[i].to, err))
            return KJ_FAIL;
    if (c->hidden % c->heads != 0)
        return kj_err_set(err, KJ_FAIL,
                          "hidden_size is no multiple of num_attention_heads");
    c->first_position = roberta ? kj_jint(kj_jget(root, "pad_token_id"), 1) + 1 : 0;
    if (c->first_position < 0 || c->first_position >= c->positions)
        return kj_err_set(err, KJ_FAIL, "impossible pad_token_id");
    c->max_tokens = c->positions - c->first_position;
    c->eps = kj_jnum(kj_jget(root, "layer_norm_eps"), 1e-12);
    if (!(c->eps > 0 && c->eps < 1))
        return kj_err_set(err, KJ_FAIL, "impossible layer_norm_eps");
    return KJ_OK;
}

static int read_kind(struct kj_encoder_config *c, const struct kj_jval *root,
                     bool *roberta, struct kj_err *err)
{
    static const char *const kinds[] = {"bert", "roberta", "xlm-roberta", "camembert",
                                        NULL};
    static const char *const acts[] = {"gelu",      "gelu_new", "gelu_pytorch_tanh",
                                       "gelu_fast", "relu",     NULL};
    static const int act_values[] = {KJ_ACT_GELU, KJ_ACT_GELU_TANH, KJ_ACT_GELU_TANH,
                                     KJ_ACT_GELU_TANH, KJ_ACT_RELU};
    const struct kj_jval *act = kj_jget(root, "hidden_act");
    struct kj_str where = kj_jstr(kj_jget(root, "position_embedding_type"));
    int kind, a = KJ_ACT_GELU;
    if (one_of(kj_jstr(kj_jget(root, "model_type")), "model_type", kinds,
               (const int[]){0, 1, 1, 1}, &kind, err) ||
        (act && one_of(kj_jstr(act), "hidden_act", acts, act_values, &a, err)))
        return KJ_FAIL;
    if (where.n && !kj_str_is(where, "absolute"))
        return kj_err_set(err, KJ_FAIL,
                          "position_embedding_type \"%.*s\" is not supported",
                          (int)(where.n < 40 ? where.n : 40), where.p);
    if (kj_jbool(kj_jget(root, "is_decoder"), false))
        return kj_err_set(err, KJ_FAIL, "is_decoder: decoders are not supported");
    *roberta = kind == 1;
    c->act = (enum kj_act)a;
    return KJ_OK;
}

static int read_labels(struct kj_encoder_config *c, const struct kj_jval *root,
                       struct kj_err *err)
{
    const struct kj_jval *map = kj_jget(root, "id2label");
    struct kj_str problem = kj_jstr(kj_jget(root, "problem_type"));
    char key[24];
    c->regression = kj_str_is(problem, "regression");
    if (kj_str_is(problem, "multi_label_classification"))
        return kj_err_set(err, KJ_FAIL,
                          "problem_type multi_label_classification is not supported");
    if (!map || map->kind != KJ_J_OBJECT || map->n == 0)
        return KJ_OK;
    if (map->n > LABELS_MAX)
        return kj_err_set(err, KJ_FAIL, "id2label has too many labels");
    c->names = kj_xcalloc(map->n, sizeof *c->names);
    c->labels = (int64_t)map->n;
    for (int64_t i = 0; i < c->labels; i++) {
        snprintf(key, sizeof key, "%lld", (long long)i);
        struct kj_str s = kj_jstr(kj_jget(map, key));
        if (!s.p || memchr(s.p, 0, s.n))
            return kj_err_set(err, KJ_FAIL, "id2label has no label %s", key);
        c->names[i] = kj_xstrndup(s.p, s.n);
    }
    return KJ_OK;
}

static int read_own(struct kj_encoder_config *c, const struct kj_jval *own,
                    struct kj_err *err)
{
    static const char *const pools[] = {"cls", "mean", NULL};
    static const char *const acts[] = {"tanh", "relu", NULL};
    const struct kj_jval *pool = kj_jget(own, "pooling");
    const struct kj_jval *act = kj_jget(own, "activation");
    static const char *const heads[] = {"linear", "dense", NULL};
    const struct kj_jval *head = kj_jget(own, "head");
    struct kj_str prefix = kj_jstr(kj_jget(own, "prefix"));
    int p = KJ_POOL_CLS, a = KJ_ACT_TANH;
    if ((pool && one_of(kj_jstr(pool), "kijil.pooling", pools,
                        (const int[]){KJ_POOL_CLS, KJ_POOL_MEAN}, &p, err)) ||
        (act && one_of(kj_jstr(act), "kijil.activation", acts,
                       (const int[]){KJ_ACT_TANH, KJ_ACT_RELU}, &a, err)) ||
        (head && one_of(kj_jstr(head), "kijil.head", heads, (const int[]){1, 2},
                        &c->head, err)))
        return KJ_FAIL;
    int64_t most = kj_jint(kj_jget(own, "max_tokens"), c->max_tokens);
    if (most < 3 || most > c->max_tokens)
        return kj_err_set(err, KJ_FAIL, "kijil.max_tokens is not within the model's");
    if (prefix.n > 4096 || (prefix.n && memchr(prefix.p, 0, prefix.n)))
        return kj_err_set(err, KJ_FAIL, "kijil.prefix is too long");
    c->pool = (enum kj_pool)p;
    c->head_act = (enum kj_act)a;
    c->pooler = kj_jbool(kj_jget(own, "pooler"), p == KJ_POOL_CLS);
    c->max_tokens = most;
    c->prefix = kj_xstrndup(prefix.p ? prefix.p : "", prefix.n);
    return KJ_OK;
}

int kj_encoder_config_parse(struct kj_encoder_config *c, const char *p, size_t n,
                            struct kj_err *err)
{
    struct kj_json *j = kj_json_new();
    const struct kj_jval *root;
    bool roberta = false;
    memset(c, 0, sizeof *c);
    int rc = kj_json_parse(j, p, n, &root, err);
    if (rc == KJ_OK)
        rc = read_kind(c, root, &roberta, err);
    if (rc == KJ_OK)
        rc = read_shape(c, root, roberta, err);
    if (rc == KJ_OK)
        rc = read_labels(c, root, err);
    if (rc == KJ_OK)
        rc = read_own(c, kj_jget(root, "kijil"), err);
    kj_json_free(j);
    if (rc == KJ_OK)
        return KJ_OK;
    kj_encoder_config_release(c);
    if (err)
        err->rc = KJ_FAIL;
    return KJ_FAIL;
}
