/* shards_open.c - a shard writer's options and how it begins: anew, or where a killed
 * run's state says; and what it holds is freed here. */
#include "tokenize/shards_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/output.h"
#include "base/shards.h"
#include "base/sorter.h"

/* Megatron's own rule for the width of a token. */
#define UINT16_BELOW 65500u
/* Memory of the shuffle where nobody says. */
#define SHUFFLE_MEMORY ((int64_t)256 << 20)
#define MANIFEST_MAX   ((size_t)1 << 30)

#define OFF(f) offsetof(struct kj_shard_opts, f)
const struct kj_opt kj_shard_opts_table[] = {
    {"shard_tokens", 0, KJ_OPT_INT, OFF(shard_tokens), "N", "most tokens in a shard",
     "100000000", 1, 0x1p40},
    {"format", 0, KJ_OPT_ENUM, OFF(format), "megatron|llm.c|ds",
     "form of the shards: Megatron .bin/.idx, llm.c .bin, datatrove .ds", "megatron", 0,
     0},
    {"shuffle", 0, KJ_OPT_INT, OFF(shuffle), "SEED",
     "write documents in an order drawn by this seed, on disk beyond --memory", "-1",
     -1, 0x1p53},
    {"band", 0, KJ_OPT_STR, OFF(band), "FIELD",
     "quality band of a document: this field's text, or of a number its whole part",
     NULL, 0, 0},
    {"band_cuts", 0, KJ_OPT_LIST, OFF(band_cuts), "N,N",
     "bands by the number of cuts that the field reaches, from 0 on", NULL, 0, 0},
    {0},
};
#undef OFF

void kj_shard_forget(const struct kj_shard_writer *w, const char *name)
{
    char *p = kj_shard_file_path(&w->file, name);
    unlink(p);
    free(p);
}

void kj_shard_tallies_forget(struct kj_shard_writer *w)
{
    for (size_t i = 0; i < w->n_tallies; i++) {
        free(w->tallies[i].source);
        free(w->tallies[i].language);
        free(w->tallies[i].band);
    }
    w->n_tallies = w->last_tally = 0;
}

void kj_shard_writer_free(struct kj_shard_writer *w)
{
    kj_shard_tallies_forget(w);
    free(w->tallies);
    free(w->cuts);
    kj_shard_file_release(&w->file, w->saved);
    kj_sorter_free(w->sorter);
    free(w->first_id);
    free(w->last_id);
    kj_buf_release(&w->manifest);
    kj_buf_release(&w->line);
    kj_buf_release(&w->rest);
    kj_buf_release(&w->ids);
    kj_buf_release(&w->packed);
    free(w);
}

/* What decides the bytes besides the documents; paths do not. */
static void hash_config(struct kj_shard_writer *w)
{
    struct kj_buf b;
    char hex[33];
    kj_buf_init(&b, 1 << 20);
    kj_buf_printf(&b,
                  "format: %s\ntokenizer_hash: %s\neos: %u\nno_special: %d\n"
                  "template: %d\nshard_tokens: %ju\n",
                  kj_shard_formats[w->file.format], kj_tok_hash(w->c->tok),
                  w->c->eos_id, w->c->no_special, w->c->use_template,
                  (uintmax_t)w->shard_tokens);
    if (w->shuffle >= 0)
        kj_buf_printf(&b, "shuffle: %jd\n", (intmax_t)w->shuffle);
    if (w->band)
        kj_buf_printf(&b, "band: %s\n", w->band);
    for (size_t i = 0; i < w->n_cuts; i++)
        kj_buf_printf(&b, "cut: %.17g\n", w->cuts[i]);
    kj_hash128_hex(kj_hash128(b.p, b.n), hex);
    snprintf(w->config_hash, sizeof w->config_hash, "xxh128:%s", hex);
    kj_buf_release(&b);
}

static int read_cuts(struct kj_shard_writer *w, const struct kj_shard_opts *o,
                     struct kj_err *err)
{
    if (o->band_cuts.n && !o->band)
        return kj_err_set(err, KJ_USAGE, "--band-cuts needs --band FIELD");
    w->cuts = kj_xcalloc(o->band_cuts.n + 1, sizeof *w->cuts);
    for (; w->n_cuts < o->band_cuts.n; w->n_cuts++) {
        const char *z = o->band_cuts.v[w->n_cuts];
        char *end;
        double v = strtod(z, &end);
        if (end == z || *end || !isfinite(v) ||
            (w->n_cuts && v <= w->cuts[w->n_cuts - 1]))
            return kj_err_set(
                err, KJ_USAGE,
                "--band-cuts takes numbers that rise (like 0.3,0.7), not '%s'", z);
        w->cuts[w->n_cuts] = v;
    }
    return KJ_OK;
}

/* Go on where a killed run's state says. */
static bool take_up(struct kj_shard_writer *w)
{
    if (kj_shard_state_load(w) != KJ_OK)
        return false;
    kj_shard_states_forget(w->file.dir, w->at.name);
    kj_shard_file_forget(&w->file, w->shard, w->file.bin != NULL);
    return true;
}

/* Also behind a state that was half taken up. */
static int begin_anew(struct kj_shard_writer *w, struct kj_err *err)
{
    kj_output_abort(w->docs);
    kj_shard_file_release(&w->file, false);
    kj_shard_tallies_forget(w);
    kj_buf_reset(&w->manifest);
    w->shard = 0;
    w->damaged = 0;
    w->totals = (struct kj_shard_totals){0};
    w->at = (struct kj_shard_place){0};
    kj_shard_states_forget(w->file.dir, NULL);
    kj_shard_forget(w, "docs.jsonl.zst.part");
    kj_shard_file_forget(&w->file, 0, false);
    char *docs = kj_shard_file_path(&w->file, "docs.jsonl.zst");
    int rc = w->file.parts ? kj_output_open_part(&w->docs, docs, 0, NULL, 0, err)
                           : kj_output_open(&w->docs, docs, err);
    free(docs);
    return rc;
}

int kj_shard_writer_open(struct kj_shard_writer **out, const struct kj_tokenize *c,
                         const struct kj_shard_opts *o, const char *dir,
                         const char *tool, bool force, struct kj_err *err)
{
    struct kj_shard_writer *w = kj_xcalloc(1, sizeof *w);
    w->c = c;
    w->tool = tool;
    w->band = o->band;
    w->shuffle = o->shuffle;
    w->shard_tokens = (uint64_t)o->shard_tokens;
    w->file = (struct kj_shard_file){
        .dir = dir,
        .tokenizer = kj_tok_name(c->tok),
        .format = o->format,
        .width = kj_tok_vocab_size(c->tok) < UINT16_BELOW ? 2 : 4};
    kj_buf_init(&w->manifest, MANIFEST_MAX);
    kj_buf_init(&w->line, MANIFEST_MAX);
    kj_buf_init(&w->rest, MANIFEST_MAX);
    kj_buf_init(&w->ids, (size_t)1 << 34);
    kj_buf_init(&w->packed, (size_t)1 << 34);
    int rc = read_cuts(w, o, err);
    if (rc == KJ_OK && w->shard_tokens > kj_shard_file_most(&w->file))
        rc = kj_err_set(err, KJ_USAGE,
                        "--shard-tokens takes at most %ju for %s, not %ju",
                        (uintmax_t)kj_shard_file_most(&w->file),
                        kj_shard_formats[o->format], (uintmax_t)w->shard_tokens);
    hash_config(w);
    if (rc == KJ_OK)
        rc = kj_output_mkdirs(dir, err);
    if (w->shuffle >= 0)
        w->sorter =
            kj_sorter_new(dir, (size_t)(o->memory ? o->memory : SHUFFLE_MEMORY));
    if (rc == KJ_OK) {
        char *manifest = kj_shard_file_path(&w->file, "manifest.jsonl");
        bool there = access(manifest, F_OK) == 0;
        if (there && !force)
            rc = kj_err_set(err, KJ_USAGE, "%s exists already; --force starts over",
                            manifest);
        else if (there && unlink(manifest) != 0)
            rc = kj_err_errno(err, KJ_FAIL, "cannot remove %s", manifest);
        free(manifest);
    }
    if (o->restart && w->shuffle < 0)
        w->restart = o->restart;
    w->file.parts = w->restart != NULL;
    if (rc == KJ_OK)
        rc = w->restart && take_up(w) ? KJ_OK : begin_anew(w, err);
    if (rc != KJ_OK) {
        kj_shard_writer_free(w);
        return rc;
    }
    *out = w;
    return KJ_OK;
}
