/* shards_state.c - the state of a shard writer between two batches, so that a
 * killed run goes on.
 *
 * A state is one small file: where in the input the next document begins, and what
 * the writer holds in memory about the shard that is open. It says how many bytes
 * of the shard and of the document index belong to it; whatever a killed process
 * wrote behind that is cut off, and shards that it finished later are taken back.
 * So states and shards need not be written in one step, and the bytes are those of
 * a run that was never killed.
 *
 *     "KJTOKST1", numbers (u64) and texts (u64 length, bytes) as put below,
 *     XXH64 of all before
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/input.h"
#include "base/output.h"
#include "tokenize/shards_write.h"

#define MAGIC     "KJTOKST1"
#define NAME      "tokenize.state"
#define STATE_MAX ((size_t)4 << 30)
#define DOCS      "docs.jsonl.zst"

/* ---- writing ---- */

static void num(struct kj_buf *b, uint64_t v)
{
    kj_buf_add(b, (const char *)&v, 8);
}

static int bytes(struct kj_buf *b, const char *p, size_t n)
{
    num(b, n);
    return kj_buf_add(b, p, n);
}

static void text(struct kj_buf *b, const char *z)
{
    bytes(b, z ? z : "", z ? strlen(z) : 0);
}

static int put_state(struct kj_shard_writer *w, struct kj_buf *b, struct kj_err *err)
{
    const struct kj_shard_place *at = &w->at;
    const char *unit;
    size_t n;
    kj_buf_add(b, MAGIC, 8);
    text(b, w->restart->identity);
    text(b, w->config_hash);
    const uint64_t numbers[] = {at->next.file,
                                (uint64_t)at->next.offset,
                                (uint64_t)at->next_at,
                                at->next_doc,
                                at->damaged,
                                w->shard,
                                (uint64_t)w->docs_offset,
                                w->chain,
                                w->sum,
                                w->totals.shards,
                                w->totals.documents,
                                w->totals.tokens,
                                w->n_tallies};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        num(b, numbers[i]);
    text(b, w->first_id);
    text(b, w->last_id);
    bytes(b, w->manifest.p ? w->manifest.p : "", w->manifest.n);
    for (size_t i = 0; i < w->n_tallies; i++) {
        const struct kj_shard_tally *t = &w->tallies[i];
        text(b, t->source);
        text(b, t->language);
        text(b, t->band);
        num(b, t->documents);
        num(b, t->tokens);
    }
    int rc = kj_output_save(w->docs, &unit, &n, err);
    num(b, (uint64_t)kj_output_stored(w->docs));
    bytes(b, unit, n);
    num(b, w->file.bin != NULL);
    if (rc == KJ_OK && w->file.bin) {
        rc = kj_output_save(w->file.bin, &unit, &n, err);
        num(b, (uint64_t)kj_output_stored(w->file.bin));
        num(b, w->file.tokens);
        if (bytes(b, (const char *)w->file.lengths, w->file.n * 4))
            rc = kj_err_set(err, KJ_FAIL, "the state grew too large");
    }
    num(b, kj_hash64(b->p, b->n, 0));
    return rc;
}

int kj_shard_state_save(struct kj_shard_writer *w, const struct kj_batch *batch,
                        struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, STATE_MAX);
    w->at = (struct kj_shard_place){batch->next, batch->next_at,   batch->next_doc,
                                    w->damaged,  w->at.number + 1, ""};
    /* Numbered where somebody else says which one holds. */
    if (w->restart->saved)
        snprintf(w->at.name, sizeof w->at.name, NAME "-%05" PRIu64, w->at.number);
    else
        snprintf(w->at.name, sizeof w->at.name, NAME);
    int rc = put_state(w, &b, err);
    char *path = kj_shard_file_path(&w->file, w->at.name);
    if (rc == KJ_OK)
        rc = kj_output_file(path, b.p, b.n, err);
    if (rc == KJ_OK && w->restart->saved)
        rc = w->restart->saved(w->restart->ctx, &w->at, err);
    if (rc == KJ_OK)
        kj_shard_states_forget(w->file.dir, w->at.name);
    w->saved |= rc == KJ_OK;
    w->input = 0;
    free(path);
    kj_buf_release(&b);
    return rc;
}

void kj_shard_states_forget(const char *dir, const char *keep)
{
    const struct kj_shard_file f = {.dir = dir};
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL)
        if (strncmp(e->d_name, NAME, strlen(NAME)) == 0 &&
            (!keep || strcmp(e->d_name, keep) != 0)) {
            char *p = kj_shard_file_path(&f, e->d_name);
            unlink(p);
            free(p);
        }
    if (d)
        closedir(d);
}

/* ---- reading: the hash holds, so what is there was written above ---- */

struct cursor {
    const char *p;
    size_t n;
    bool bad;
};

static uint64_t get(struct cursor *c)
{
    uint64_t v = 0;
    if (c->n < 8) {
        c->bad = true;
        return 0;
    }
    memcpy(&v, c->p, 8);
    c->p += 8;
    c->n -= 8;
    return v;
}

static struct kj_str take(struct cursor *c)
{
    uint64_t n = get(c);
    struct kj_str s = {c->p, (size_t)n};
    if (n > c->n) {
        c->bad = true;
        return KJ_STR("");
    }
    c->p += n;
    c->n -= n;
    return s;
}

static char *take_text(struct cursor *c)
{
    struct kj_str s = take(c);
    return kj_xstrndup(s.p, s.n);
}

/* What a killed process had renamed since is taken back. */
static void take_back(const struct kj_shard_writer *w, const char *name)
{
    char part[64];
    snprintf(part, sizeof part, "%s.part", name);
    char *from = kj_shard_file_path(&w->file, name);
    char *to = kj_shard_file_path(&w->file, part);
    if (access(from, F_OK) == 0 && rename(from, to) == 0)
        kj_output_sync_dir(to, NULL);
    free(from);
    free(to);
}

static int get_files(struct kj_shard_writer *w, struct cursor *c, struct kj_err *err)
{
    int64_t stored = (int64_t)get(c);
    struct kj_str unit = take(c);
    char *path = kj_shard_file_path(&w->file, DOCS);
    take_back(w, DOCS);
    int rc = kj_output_open_part(&w->docs, path, stored, unit.p, unit.n, err);
    free(path);
    if (rc || !get(c))
        return rc;
    stored = (int64_t)get(c);
    uint64_t tokens = get(c);
    struct kj_str lengths = take(c);
    kj_shard_file_name(&w->file, w->shard);
    take_back(w, w->file.bin_name);
    return kj_shard_file_resume(&w->file, w->shard, stored, tokens, lengths.p,
                                lengths.n / 4, err);
}

static int get_state(struct kj_shard_writer *w, struct cursor *c, struct kj_err *err)
{
    struct kj_shard_place *at = &w->at;
    struct kj_str identity = take(c), config = take(c);
    if (!kj_str_is(identity, w->restart->identity) ||
        !kj_str_is(config, w->config_hash))
        return KJ_EOF;
    at->next.file = (uint32_t)get(c);
    at->next.offset = (int64_t)get(c);
    at->next_at = (int64_t)get(c);
    at->next_doc = get(c);
    at->damaged = w->damaged = get(c);
    w->shard = (size_t)get(c);
    w->docs_offset = (int64_t)get(c);
    w->chain = get(c);
    w->sum = get(c);
    w->totals.shards = get(c);
    w->totals.documents = get(c);
    w->totals.tokens = get(c);
    uint64_t tallies = get(c);
    w->first_id = take_text(c);
    w->last_id = take_text(c);
    struct kj_str rows = take(c);
    kj_buf_add(&w->manifest, rows.p, rows.n);
    w->tallies = kj_xcalloc(KJ_SHARD_COUNTS_MAX + 1, sizeof *w->tallies);
    for (uint64_t i = 0; i < tallies && i <= KJ_SHARD_COUNTS_MAX && !c->bad; i++) {
        struct kj_shard_tally *t = &w->tallies[w->n_tallies++];
        t->source = take_text(c);
        t->language = take_text(c);
        t->band = take_text(c);
        t->documents = get(c);
        t->tokens = get(c);
    }
    int rc = c->bad ? KJ_EOF : get_files(w, c, err);
    return rc == KJ_OK && c->bad ? KJ_EOF : rc;
}

int kj_shard_state_load(struct kj_shard_writer *w)
{
    struct kj_buf b;
    struct kj_err why = KJ_ERR_INIT;
    uint64_t hash = 0;
    const char *name = w->restart->from ? w->restart->from : NAME;
    char *path = kj_shard_file_path(&w->file, name);
    int rc = KJ_EOF;
    kj_buf_init(&b, STATE_MAX);
    if (*name && access(path, F_OK) == 0 && kj_input_slurp(path, &b, &why) == KJ_OK &&
        b.n > 16 && memcmp(b.p, MAGIC, 8) == 0) {
        memcpy(&hash, b.p + b.n - 8, 8);
        struct cursor c = {b.p + 8, b.n - 16, false};
        if (hash == kj_hash64(b.p, b.n - 8, 0) && get_state(w, &c, &why) == KJ_OK)
            rc = KJ_OK;
    }
    if (rc == KJ_OK) {
        const char *dash = strrchr(name, '-');
        w->at.number = dash ? strtoull(dash + 1, NULL, 10) : 0;
        snprintf(w->at.name, sizeof w->at.name, "%s", name);
        w->saved = true;
    }
    free(path);
    kj_buf_release(&b);
    return rc;
}
