/* cmd_check.c - kijil check: is a run's folder what its ledger says? */
#include "commands/commands.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "manifests/verify.h"
#include "trainer/gguf.h"

struct check_cfg {
    const char *ledger;
    int progress; /* as in kj_common */
    bool quiet;
};

static const struct kj_opt check_opts[] = {
    {"ledger", 0, KJ_OPT_STR, offsetof(struct check_cfg, ledger), "FILE",
     "the ledger; without it DIR/run.db, when there is one", 0, 0, 0},
    {"progress", 0, KJ_OPT_ENUM, offsetof(struct check_cfg, progress),
     "auto|plain|json|never", "progress on stderr; auto: on a terminal only", "auto", 0,
     0},
    {"quiet", 'q', KJ_OPT_FLAG, offsetof(struct check_cfg, quiet), 0, "no closing line",
     0, 0, 0},
    {0},
};

struct shown {
    const struct check_cfg *cfg;
    bool line;
};

static void clear_line(struct shown *s)
{
    if (s->line)
        fputs("\r\033[K", stderr);
    s->line = false;
}

static void on_wrong(void *ctx, const char *file, const char *what)
{
    clear_line(ctx);
    fprintf(stderr, "kijil check: %s%s%s\n", file, *file ? ": " : "", what);
}

static void on_progress(void *ctx, const char *file, int64_t done, int64_t all)
{
    struct shown *s = ctx;
    double share = all > 0 ? (double)done / (double)all : 0;
    bool tty = s->cfg->progress == 0;
    if (s->cfg->progress == 3 || (tty && (s->cfg->quiet || !isatty(STDERR_FILENO))))
        return;
    if (s->cfg->progress == 2) {
        fprintf(stderr,
                "{\"command\":\"check\",\"share\":%.4f,\"bytes\":%" PRId64 "}\n", share,
                done);
        return;
    }
    fprintf(stderr, "%skijil check: %3.0f %% %s%s", tty ? "\r" : "", 100 * share, file,
            tty ? "\033[K" : "\n");
    s->line = tty;
}

static int check(const struct kj_cmd *cmd, const char *dir, const struct check_cfg *cfg)
{
    struct shown s = {.cfg = cfg};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_verify v = {.dir = dir,
                          .ledger = cfg->ledger,
                          .ctx = &s,
                          .wrong = on_wrong,
                          .progress = on_progress,
                          .stop = &kj_interrupted};
    kj_cmd_signals();
    int rc = kj_verify_run(&v, &err);
    clear_line(&s);
    if (rc < 0)
        return kj_cmd_fail(cmd, &err);
    if (!cfg->quiet)
        fprintf(stderr,
                "kijil " KJ_VERSION " check: %" PRIu64 " files, %.1f MB, %" PRIu64
                " documents, %" PRIu64 " shards with %" PRIu64 " tokens: %" PRIu64
                " mismatches%s\n",
                v.files, (double)v.bytes / 1e6, v.documents, v.shards, v.tokens,
                v.mismatches, rc == KJ_EOF ? " (interrupted)" : "");
    return rc == KJ_EOF ? 130 : v.mismatches ? 1 : 0;
}

static bool is_gguf(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".gguf") == 0;
}

static int check_gguf(const struct kj_cmd *cmd, const char *path, bool quiet)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_gguf *g = NULL;
    struct kj_shape s;
    size_t n, elements;
    int rc = kj_gguf_open(&g, path, &err);
    if (rc == KJ_OK) {
        rc = kj_gguf_check(g, &s, &err);
        kj_err_where(rc ? &err : NULL, path, -1);
    }
    if (rc == KJ_OK && !quiet) {
        free(kj_llama_params(&s, &n, &elements));
        struct kj_str pre = kj_gguf_text(g, "tokenizer.ggml.pre");
        fprintf(stderr,
                "kijil " KJ_VERSION " check: %s: Llama of %.3f M parameters in %zu "
                "tensors, %s%.*s\n",
                path, (double)elements * 1e-6, n, pre.p ? "tokenizer " : "no tokenizer",
                (int)(pre.n < 40 ? pre.n : 40), pre.p ? pre.p : "");
    }
    kj_gguf_close(g);
    return rc ? kj_cmd_fail(cmd, &err) : 0;
}

static int run_check(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct check_cfg cfg = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    int status = kj_cmd_parse(cmd, argc, argv, (void *const[]){&cfg}, &common, &pos);
    if (status < 0) {
        if (pos.n == 1 && is_gguf(pos.v[0])) {
            status = check_gguf(cmd, pos.v[0], cfg.quiet);
        } else if (pos.n == 1) {
            status = check(cmd, pos.v[0], &cfg);
        } else {
            kj_err_set(&err, KJ_USAGE, "give one folder");
            status = kj_cmd_fail(cmd, &err);
        }
    }
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_check = {
    .name = "check",
    .synopsis = "DIR|FILE.gguf",
    .about = "verify what a run wrote: hashes, counts, lineage, shards",
    .details =
        "Reads everything that the ledger says was written, and compares: the "
        "ledger's own books (in = kept + dropped at every stage, checksums from stage "
        "to stage); size and content hash of each file; number, form and checksum of "
        "the documents in JSONL files; headers, pointers, token ids and end marks of "
        "token shards; and that each document in the shards came through every "
        "stage. Each mismatch is one line that names the file.\n"
        "\n"
        "A file FILE.gguf is checked as a model: is it a whole Llama, are its values "
        "finite, do tokens and merges fit?\n"
        "\n"
        "DIR is the folder of a run, or its ledger. Folders of token shards without "
        "a ledger are checked by themselves. Exit status: 0 all is well, 1 "
        "mismatches or a ledger that cannot be read.",
    .examples = "kijil check out/  # a whole run\n"
                "kijil check shards/  # token shards alone",
    .opts = (const struct kj_opt *const[]){check_opts, NULL},
    .run = run_check,
};
