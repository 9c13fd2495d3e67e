/* cmd_tokenize.c - `kijil tokenize`: documents to token shards. */
#include "commands/commands.h"
#include "tokenize/shards.h"

#include "base/jsonl.h"
#include "base/mem.h"
#include "base/output.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

struct own {
    int64_t part_size;
};
static const struct kj_opt own_opts[] = {
    {"part_size", 0, KJ_OPT_SIZE, offsetof(struct own, part_size), "SIZE",
     "documents behind which a killed run goes on", "256M", 1, 0x1p50},
    {0},
};

/* What commit and abort need. */
struct shards {
    struct kj_shard_writer *w;
    struct kj_shard_totals t;
};

static int commit_shards(void *self, struct kj_err *err)
{
    struct shards *s = self;
    return kj_shard_writer_commit(s->w, &s->t, err);
}

static void abort_shards(void *self)
{
    struct shards *s = self;
    kj_shard_writer_abort(s->w);
}

static bool ends_in_slash(const char *path)
{
    size_t n = strlen(path);
    return n && path[n - 1] == '/';
}

/* What the documents depend on: the files as they are, and which of them. Empty
 * when a run cannot go on: a pipe cannot be read again, a shuffle writes at the end,
 * and rejects and ledger are of all documents. */
static char *identity_of(const struct kj_common *c, const struct kj_shard_opts *opts,
                         const struct kj_files *files)
{
    struct kj_buf b;
    bool good = opts->shuffle < 0 && !c->rejects && !c->ledger;
    kj_buf_init(&b, 1 << 28);
    kj_buf_printf(&b, "version: " KJ_VERSION "\nlimit: %lld\nshard: %s\n",
                  (long long)c->limit, c->shard ? c->shard : "");
    for (size_t i = 0; i < files->n && good; i++) {
        struct stat st;
        good = strcmp(files->v[i], "-") != 0 && stat(files->v[i], &st) == 0 &&
               S_ISREG(st.st_mode);
        if (good)
            kj_buf_printf(&b, "%s: %lld, %lld.%09ld\n", files->v[i],
                          (long long)st.st_size, (long long)st.st_mtim.tv_sec,
                          st.st_mtim.tv_nsec);
    }
    char *z = good ? kj_xstrndup(b.p, b.n) : NULL;
    kj_buf_release(&b);
    return z;
}

/* Two processes would write the same files. The lock goes with the process. */
static int lock_folder(const char *dir, struct kj_err *err)
{
    int rc = kj_output_mkdirs(dir, err);
    int fd = rc ? -1 : open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (rc == KJ_OK && fd < 0)
        return kj_err_errno(err, KJ_FAIL, "cannot open the folder %s", dir);
    if (rc == KJ_OK && flock(fd, LOCK_EX | LOCK_NB))
        rc = kj_err_set(err, KJ_FAIL, "another process is at work in %s", dir);
    return rc;
}

/* The files, from where the last state stands. */
struct rest {
    struct kj_files *files;
    struct kj_shard_place at;
};

static int rest_source(void *self, struct kj_source *out, struct kj_err *err)
{
    struct rest *r = self;
    return kj_jsonl_source_at(out, r->files->v, r->files->n, r->at.next, r->at.next_at,
                              err);
}

static int write_shards(const struct kj_cmd *cmd, const struct kj_common *c,
                        struct kj_tokenize *cfg, struct kj_shard_opts *opts,
                        int64_t part_size, struct kj_files *files)
{
    struct kj_err err = KJ_ERR_INIT;
    struct shards s = {0};
    struct rest rest = {.files = files};
    char *identity = identity_of(c, opts, files);
    struct kj_shard_restart restart = {
        .identity = identity, .every = part_size, .from = c->force ? "" : NULL};
    opts->restart = identity ? &restart : NULL;
    int rc = lock_folder(c->output, &err);
    if (rc == KJ_OK)
        rc = kj_shard_writer_open(&s.w, cfg, opts, c->output, "kijil " KJ_VERSION,
                                  c->force, &err);
    if (rc) {
        free(identity);
        return kj_cmd_fail(cmd, &err);
    }
    if (kj_shard_writer_resumed(s.w, &rest.at) && !c->quiet)
        fprintf(stderr, "kijil tokenize: goes on behind document %llu\n",
                (unsigned long long)rest.at.next_doc);
    struct kj_cmd_sink sink = {.sink = kj_shard_writer_sink(s.w),
                               .self = &s,
                               .commit = commit_shards,
                               .abort = abort_shards,
                               .first_doc = rest.at.next_doc,
                               .damaged = rest.at.damaged};
    int status = kj_cmd_drive(cmd, c, &kj_stage_tokenize, cfg,
                              (struct kj_corpus_inputs){rest_source, &rest}, &sink);
    free(identity);
    if ((status == 0 || status == 3) && !c->quiet)
        fprintf(stderr,
                "%llu tokens of %llu documents in %llu shard%s: %s%smanifest.jsonl\n",
                (unsigned long long)s.t.tokens, (unsigned long long)s.t.documents,
                (unsigned long long)s.t.shards, s.t.shards == 1 ? "" : "s", c->output,
                ends_in_slash(c->output) ? "" : "/");
    return status;
}

static int dry_run(const struct kj_cmd *cmd, const struct kj_common *c,
                   struct kj_tokenize *cfg, const struct kj_shard_opts *opts,
                   const struct kj_strs *files)
{
    struct kj_files named = {.v = files->v, .n = files->n};
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    kj_opt_dump(kj_shard_opts_table, opts, &b);
    fwrite(b.p, 1, b.n, stdout);
    kj_buf_release(&b);
    return kj_cmd_dry_run(cmd, c, &kj_stage_tokenize, cfg,
                          (struct kj_corpus_inputs){kj_files_source, &named}, files);
}

/* A folder is complete when it has a manifest. */
static bool done_already(const struct kj_cmd *cmd, const struct kj_common *c)
{
    struct kj_common manifest = *c;
    struct kj_buf path;
    if (!c->output)
        return false;
    kj_buf_init(&path, 1 << 16);
    kj_buf_printf(&path, "%s/manifest.jsonl", c->output);
    manifest.output = kj_buf_z(&path);
    bool done = kj_cmd_done_already(cmd, &manifest);
    kj_buf_release(&path);
    return done;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tokenize cfg = {0};
    struct kj_shard_opts opts = {0};
    struct own own = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_files files = {0};
    void *const cfgs[] = {&cfg, &opts, &own, NULL};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status < 0 && !common.output && !common.dry_run) {
        kj_err_set(&err, KJ_USAGE, "-o DIR is needed");
        status = kj_cmd_fail(cmd, &err);
    }
    if (status < 0 && done_already(cmd, &common))
        status = 0;
    if (status < 0 && !cfg.tokenizer) {
        kj_err_set(&err, KJ_USAGE,
                   "-t tokenizer.json is needed; kijil tokenizer train makes one");
        status = kj_cmd_fail(cmd, &err);
    }
    if (status < 0 && kj_stage_tokenize.open(&cfg, &err))
        status = kj_cmd_fail(cmd, &err);
    if (status < 0 && common.dry_run)
        status = dry_run(cmd, &common, &cfg, &opts, &pos);
    if (status < 0 && kj_files_open(&files, &pos, false, &err))
        status = kj_cmd_fail(cmd, &err);
    opts.memory = common.memory;
    common.inputs = pos.v;
    common.n_inputs = pos.n;
    if (status < 0)
        status = write_shards(cmd, &common, &cfg, &opts, own.part_size, &files);
    kj_files_release(&files);
    kj_stage_tokenize.close(&cfg);
    kj_opt_release(kj_tokenize_opts, &cfg);
    kj_opt_release(kj_shard_opts_table, &opts);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_tokenize = {
    .name = "tokenize",
    .synopsis = "-t tokenizer.json -o DIR [FILE...]",
    .about = "documents to token shards with manifest and document index",
    .details =
        "Encodes the text of JSONL documents, ends each with the end-of-text token, "
        "and "
        "writes Megatron shards: shard-00000.bin and .idx onwards, docs.jsonl.zst with "
        "one line per document, and manifest.jsonl last, so that a folder with a "
        "manifest is whole. Tokens are uint16 when the vocabulary is below 65500, else "
        "int32. A document is never cut between shards. --format has llm.c's and "
        "datatrove's forms too; --shuffle draws the order of documents.\n\n"
        "A run that was killed or interrupted goes on where it stopped when the same "
        "command is given again, to the same bytes; not with --shuffle, --rejects or "
        "--ledger, nor when it reads a pipe.\n\n"
        "Special tokens written in text become their ids, as Hugging Face does it; "
        "--no-special encodes them as plain text, which is safer for text from the "
        "web.",
    .examples =
        "kijil tokenize -t tokenizer.json -o shards/ docs.jsonl.zst  # one folder\n"
        "kijil dedup docs.jsonl | kijil tokenize -t tokenizer.json -o shards/  # a "
        "pipe\n"
        "kijil check shards/  # verifies every hash, count and token\n",
    .opts = (const struct kj_opt *const[]){kj_tokenize_opts, kj_shard_opts_table,
                                           own_opts, kj_common_opts, NULL},
    .run = run,
    .stage = &kj_stage_tokenize,
};
