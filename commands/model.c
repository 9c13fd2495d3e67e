/* model.c - what the commands on models share. */
#include "commands/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/opt.h"
#include "tokenize/tokenizer.h"
#include "trainer/stages.h"

int kj_model_seconds(const char *text, double *out, struct kj_err *err)
{
    double sum = 0;
    const char *p = text;
    for (; p && *p;) {
        char *end;
        double v = strtod(p, &end);
        if (end == p || !(v >= 0 && v < 1e9))
            break;
        double unit = *end == 'h' ? 3600 : *end == 'm' ? 60 : 1;
        sum += v * unit;
        p = end + (*end == 'h' || *end == 'm' || *end == 's');
        if (!*p) {
            *out = sum;
            return KJ_OK;
        }
    }
    return kj_err_set(err, KJ_USAGE,
                      "--time-limit takes a time like 90s, 2m or 1h30m, not '%s'",
                      text ? text : "");
}

/* The key of a run file that "section.key=..." names, or NULL. */
static const struct kj_opt *key_of(const char *a, const char *eq)
{
    const char *dot = memchr(a, '.', (size_t)(eq - a)), *key = dot ? dot + 1 : a;
    size_t n = dot ? (size_t)(dot - a) : 0, k = (size_t)(eq - key);
    for (const struct kj_run_section *s = kj_run_sections; s->name; s++) {
        if (strlen(s->name) != n || memcmp(s->name, a, n) != 0)
            continue;
        for (const struct kj_opt *o = s->opts; o->name; o++)
            if (strlen(o->name) == k && memcmp(o->name, key, k) == 0)
                return o;
    }
    return NULL;
}

/* It may be that only the section is wrong, or missing. */
static int no_key(const char *a, const char *eq, struct kj_err *err)
{
    const char *dot = memchr(a, '.', (size_t)(eq - a)), *key = dot ? dot + 1 : a;
    for (const struct kj_run_section *s = kj_run_sections; s->name; s++)
        for (const struct kj_opt *o = s->opts; o->name; o++)
            if (strlen(o->name) == (size_t)(eq - key) &&
                memcmp(o->name, key, (size_t)(eq - key)) == 0)
                return kj_err_set(err, KJ_USAGE,
                                  "there is no key '%.*s' in run files; did you mean "
                                  "'%s%s%s'?",
                                  (int)(eq - a), a, s->name, *s->name ? "." : "",
                                  o->name);
    return kj_err_set(err, KJ_USAGE,
                      "there is no key '%.*s' in run files; kijil plan --keys lists "
                      "them",
                      (int)(eq - a), a);
}

/* Number `at` of all. */
static int set(struct kj_run *r, const char *a, const struct kj_strs *all, size_t at,
               struct kj_err *err)
{
    const char *eq = strchr(a, '=');
    if (!eq)
        return kj_err_set(err, KJ_USAGE, "--set takes section.key=value, not '%s'", a);
    if (strncmp(a, "stages.", 7) == 0)
        return kj_stages_set(r, a, err);
    const struct kj_opt *o = key_of(a, eq);
    if (!o)
        return no_key(a, eq, err);
    bool again = false;
    for (size_t i = 0; i < at; i++)
        again |= strncmp(all->v[i], a, (size_t)(eq - a) + 1) == 0;
    if (o->kind == KJ_OPT_LIST && !again)
        kj_strs_release((struct kj_strs *)((char *)r + o->off));
    char as[96];
    snprintf(as, sizeof as, "--set %.*s", (int)(eq - a < 80 ? eq - a : 80), a);
    return kj_opt_set(o, r, as, eq + 1, err);
}

int kj_model_set(struct kj_run *r, const struct kj_strs *assignments,
                 struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < assignments->n && rc == KJ_OK; i++)
        rc = set(r, assignments->v[i], assignments, i, err);
    return rc;
}

int kj_model_output(const char *dir, bool force, struct kj_err *err)
{
    char path[4096];
    if (!dir)
        return kj_err_set(err, KJ_USAGE, "where to? give -o DIR");
    if (access(dir, F_OK) != 0 || rmdir(dir) == 0)
        return KJ_OK; /* nothing there, or an empty folder */
    snprintf(path, sizeof path, "%s/config.json", dir);
    if (!force || access(path, F_OK) != 0)
        return kj_err_set(err, KJ_USAGE, "%s is there already%s", dir,
                          force ? " and holds no model" : "; --force replaces it");
    return KJ_OK;
}

static int open_tokenizer(struct kj_opened *o, const char *dir, const char *given,
                          struct kj_err *err)
{
    char path[4096];
    uint32_t eos;
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    if (!given && access(path, F_OK) != 0)
        return kj_err_set(err, KJ_FAIL,
                          "%s has no tokenizer.json; name one with --tokenizer", dir);
    int rc = kj_tok_load(&o->tok, given ? given : path, err);
    if (rc == KJ_OK && kj_tok_vocab_size(o->tok) > o->config.shape.vocab_size)
        rc = kj_err_set(err, KJ_FAIL, "the tokenizer has %u ids, the model %lld",
                        kj_tok_vocab_size(o->tok),
                        (long long)o->config.shape.vocab_size);
    if (rc)
        return rc;
    if (o->config.bos >= 0)
        o->begin = (uint32_t)o->config.bos;
    else if ((rc = kj_tok_eos(o->tok, NULL, &eos, err)) == KJ_OK)
        o->begin = eos;
    if (o->config.eos < 0)
        o->config.eos = o->begin;
    if (rc == KJ_OK && o->begin >= (uint64_t)o->config.shape.vocab_size)
        rc = kj_err_set(err, KJ_FAIL, "bos_token_id is outside the vocabulary");
    return rc;
}

int kj_model_look(struct kj_opened *o, const char *dir, const char *tokenizer,
                  struct kj_err *err)
{
    char path[4096];
    memset(o, 0, sizeof *o);
    snprintf(path, sizeof path, "%s/config.json", dir);
    bool direct = access(path, F_OK) == 0;
    snprintf(path, sizeof path, "%s/model/config.json", dir);
    if (!direct && access(path, F_OK) == 0) {
        snprintf(path, sizeof path, "%s/model", dir);
        dir = path;
    } else if (!direct)
        return kj_err_set(err, KJ_FAIL,
                          "%s holds no model: there is no config.json in it or in its "
                          "folder model",
                          dir);
    o->dir = kj_xstrdup(dir);
    int rc = kj_hf_config(o->dir, &o->config, err);
    if (rc == KJ_OK)
        rc = open_tokenizer(o, o->dir, tokenizer, err);
    if (rc)
        kj_model_close(o);
    return rc;
}

int kj_model_weights(struct kj_opened *o, const char *device, unsigned threads,
                     size_t tokens, struct kj_err *err)
{
    int rc = o->b ? KJ_OK : kj_backend_open(&o->b, device, threads, err);
    if (tokens > (size_t)o->config.shape.max_positions)
        tokens = (size_t)o->config.shape.max_positions;
    if (o->m && o->tokens >= tokens)
        return rc;
    kj_llama_free(o->m);
    o->m = NULL;
    o->tokens = tokens;
    if (rc == KJ_OK)
        rc = kj_llama_new(&o->m, o->b, &o->config.shape, tokens, 256, false, err);
    return rc ? rc : kj_hf_load(o->m, o->dir, err);
}

int kj_model_open(struct kj_opened *o, const char *dir, const char *tokenizer,
                  const char *device, unsigned threads, size_t tokens,
                  struct kj_err *err)
{
    int rc = kj_model_look(o, dir, tokenizer, err);
    if (rc == KJ_OK && (rc = kj_model_weights(o, device, threads, tokens, err)))
        kj_model_close(o);
    return rc;
}

void kj_model_close(struct kj_opened *o)
{
    kj_llama_free(o->m);
    kj_backend_close(o->b);
    kj_tok_free(o->tok);
    free(o->dir);
    memset(o, 0, sizeof *o);
}
