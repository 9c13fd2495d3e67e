/* cmd_run.c - `kijil run`: a recipe from archives to shards, in one process,
 * that can be killed anywhere and goes on to the same bytes.
 *
 * The steps are cut into phases. A phase reads documents, passes them through
 * one or more stages, and writes them as numbered parts; it ends before a
 * stage that must survey the whole corpus first (dedup, classify with
 * --keep-top), and before the corpus steps tokenizer and tokenize.
 *
 * A part of the first phase is a stretch of archive that starts and ends at a
 * gzip member; a part of a later phase is what became of one part of the phase
 * before. A part file gets its final name first, then one transaction of the
 * ledger takes its row and the rows of all of its documents. So after a kill
 * the ledger says which parts are done, and the next one starts where the last
 * one ended. Batches start afresh with each part, so their bytes are the same
 * as if nothing had happened.
 */
#include "commands/run.h"

#include "base/hash.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/output.h"
#include "manifests/report.h"

#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const struct kj_opt run_opts[] = {
    {"input", 'i', KJ_OPT_LIST, offsetof(struct kj_run_opts, input), "GLOB",
     "input files; quote the pattern, it is expanded and sorted here", 0, 0, 0},
    {"part_size", 0, KJ_OPT_SIZE, offsetof(struct kj_run_opts, part_size), "SIZE",
     "input that makes one part, the unit of restart", "256M", 1, 0x1p50},
    {0},
};

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int expand_inputs(struct kj_run *r, const struct kj_strs *pos,
                         struct kj_err *err)
{
    for (size_t k = 0; k < r->o.input.n + pos->n; k++) {
        const char *w = k < r->o.input.n ? r->o.input.v[k] : pos->v[k - r->o.input.n];
        glob_t g;
        int rc = glob(w, GLOB_ERR, NULL, &g);
        for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++)
            kj_strs_add(&r->files, kj_xstrdup(g.gl_pathv[i]));
        if (rc == 0)
            globfree(&g);
        else
            return kj_err_set(err, KJ_USAGE, "no file matches '%s'%s", w,
                              strstr(w, "://") ? "; addresses are not fetched" : "");
    }
    if (!r->files.n)
        return kj_err_set(err, KJ_USAGE, "no input: name the archives with -i 'GLOB'");
    qsort(r->files.v, r->files.n, sizeof *r->files.v, by_name);
    /* what two patterns match is one file, and not twice its documents */
    size_t n = 1;
    for (size_t i = 1; i < r->files.n; i++)
        if (strcmp(r->files.v[i], r->files.v[n - 1]) != 0)
            r->files.v[n++] = r->files.v[i];
        else
            free((char *)(uintptr_t)r->files.v[i]);
    r->files.n = n;
    struct kj_common named = r->c;
    named.inputs = r->files.v;
    named.n_inputs = n;
    int rc = kj_cmd_check_names(&named, err);
    if (rc == KJ_OK)
        kj_cmd_warn_empty(r->cmd, &named);
    return rc;
}

/* The state of a run folder: run.json says for which configuration, and
 * whether it is complete. */
static int folder_state(struct kj_run *r, const char *config, bool *complete,
                        struct kj_err *err)
{
    char *path = kj_run_path(r->out, "run.json");
    struct kj_json *j = kj_json_new();
    const struct kj_jval *v = NULL;
    int rc = KJ_OK;
    *complete = false;
    if (access(path, F_OK) == 0)
        rc = kj_json_load(j, path, 1 << 20, &v, err);
    if (rc == KJ_OK && v && !r->c.force) {
        if (!kj_str_is(kj_jstr(kj_jget(v, "config")), config))
            rc = kj_err_set(err, KJ_FAIL,
                            "%s holds a run of another recipe, input or version; name "
                            "another folder, or --force to start over",
                            r->out);
        *complete = kj_jbool(kj_jget(v, "complete"), false);
        r->damaged = (uint64_t)kj_jint(kj_jget(v, "damaged"), 0);
    }
    kj_json_free(j);
    free(path);
    return rc;
}

static int mark_folder(struct kj_run *r, const char *config, bool complete,
                       struct kj_err *err)
{
    struct kj_buf b;
    kj_buf_init(&b, 4096);
    char *path = kj_run_path(r->out, "run.json");
    kj_buf_printf(&b,
                  "{\"config\":\"%s\",\"version\":\"" KJ_VERSION
                  "\",\"complete\":%s,\"damaged\":%llu}\n",
                  config, complete ? "true" : "false", (unsigned long long)r->damaged);
    int rc = kj_output_file(path, b.p, b.n, err);
    free(path);
    kj_buf_release(&b);
    return rc;
}

/* --force: what an earlier run left that would be taken for this one's. */
static void clear_folder(struct kj_run *r)
{
    static const char *const names[] = {"run.json",       "run.db",
                                        "run.db-wal",     "run.db-shm",
                                        "tokenizer.json", "manifest.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *p = kj_run_path(r->out, "%s", names[i]);
        unlink(p);
        free(p);
    }
}

static void summary(struct kj_run *r)
{
    struct kj_buf b;
    struct kj_err err = KJ_ERR_INIT;
    kj_buf_init(&b, 1 << 20);
    if (!r->c.quiet && kj_report_text(r->ledger, 0, &b, &err) == KJ_OK)
        fwrite(b.p, 1, b.n, stderr);
    kj_buf_release(&b);
}

static int open_books(struct kj_run *r, const char *config, struct kj_err *err)
{
    char *own = kj_run_path(r->out, "run.db");
    struct kj_ledger_info info = {.name = "run",
                                  .version = KJ_VERSION,
                                  .command = r->c.command_line,
                                  .config = config,
                                  .shard = r->c.shard,
                                  .resume = !r->c.force,
                                  .partial = r->c.shard_n > 1 || r->c.limit > 0,
                                  .signals = r->c.signals_kind,
                                  .signal_share = r->c.signal_share};
    int rc = kj_ledger_open(&r->ledger, r->c.ledger ? r->c.ledger : own,
                            KJ_LEDGER_WRITE, err);
    if (rc == KJ_OK)
        rc = kj_ledger_begin(r->ledger, &info, NULL, err);
    for (size_t i = 0; i < r->files.n && rc == KJ_OK; i++)
        rc = kj_ledger_input(r->ledger, r->files.v[i], err);
    free(own);
    return rc;
}

/* Two processes on one folder would undo each other's work. The lock is
 * released with the process, however it ends. */
static int lock_folder(struct kj_run *r, struct kj_err *err)
{
    int fd = open(r->out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return kj_err_errno(err, KJ_FAIL, "cannot open the folder %s", r->out);
    if (flock(fd, LOCK_EX | LOCK_NB))
        return kj_err_set(err, KJ_FAIL, "another process is at work in %s", r->out);
    kj_run_sweep(r->out);
    return KJ_OK;
}

static int run_all(struct kj_run *r, struct kj_err *err)
{
    struct kj_buf config;
    char hex[33];
    bool complete;
    kj_buf_init(&config, 16 << 20);
    kj_recipe_dump(&r->recipe, &config);
    kj_buf_printf(&config, "part_size: %lld\nlimit: %lld\nseed: %lld\n",
                  (long long)r->o.part_size, (long long)r->c.limit,
                  (long long)r->c.seed);
    if (r->c.shard)
        kj_buf_printf(&config, "shard: %s\n", r->c.shard);
    if (r->c.ledger) /* runs into several folders may share it */
        kj_buf_printf(&config, "out: %s\n", r->out);
    for (size_t i = 0; i < r->files.n; i++)
        kj_buf_printf(&config, "input: %s\n", r->files.v[i]);
    kj_hash128_hex(kj_hash128(config.p, config.n), hex);
    int rc = kj_output_mkdirs(r->out, err);
    if (rc == KJ_OK)
        rc = lock_folder(r, err);
    if (rc == KJ_OK)
        rc = folder_state(r, hex, &complete, err);
    if (rc == KJ_OK && complete) {
        if (!r->c.quiet)
            fprintf(stderr,
                    "kijil run: %s is complete already; --force makes it anew\n",
                    r->out);
        kj_buf_release(&config);
        return KJ_OK; /* with the damage that it found then */
    }
    r->damaged = 0;
    if (rc == KJ_OK && r->c.force)
        clear_folder(r);
    if (rc == KJ_OK)
        rc = mark_folder(r, hex, false, err);
    if (rc == KJ_OK)
        rc = open_books(r, kj_buf_z(&config), err);
    if (rc == KJ_OK)
        rc = kj_run_steps(r, err);
    if (rc == KJ_OK)
        rc = kj_ledger_damaged(r->ledger, &r->damaged, err);
    if (rc == KJ_OK)
        rc = kj_ledger_end(r->ledger, NULL, r->damaged ? 3 : 0, err);
    if (rc == KJ_OK)
        rc = kj_ledger_reconcile(r->ledger, NULL, err);
    if (rc == KJ_OK)
        summary(r);
    struct kj_err late = KJ_ERR_INIT;
    int rc2 = kj_ledger_close(r->ledger, &late);
    if (rc == KJ_OK && rc2) {
        rc = rc2;
        *err = late;
    }
    if (rc == KJ_OK)
        rc = mark_folder(r, hex, true, err);
    kj_buf_release(&config);
    return rc;
}

static int reopen_archives(void *self, struct kj_source *out, struct kj_err *err)
{
    struct kj_run *r = self;
    return kj_archive_source(out, r->files.v, r->files.n, KJ_ARCHIVE_AUTO,
                             (struct kj_pos){0, 0}, NULL, err);
}

/* --dry-run: of the first phase, which reads everything; the phases behind it
 * read only what it kept. */
static int estimate(struct kj_run *r, struct kj_err *err)
{
    size_t n = kj_run_phase_end(r, 0);
    struct kj_step *steps = kj_xcalloc(n, sizeof *steps);
    printf("estimate_steps:");
    for (size_t i = 0; i < n; i++) {
        steps[i] = (struct kj_step){.stage = r->recipe.steps[i].stage,
                                    .cfg = r->recipe.steps[i].cfg};
        printf(" %s", r->recipe.steps[i].name);
    }
    printf("\n");
    int rc = kj_cmd_estimate(
        &r->c, steps, n, (struct kj_corpus_inputs){reopen_archives, r}, &r->files, err);
    free(steps);
    return rc;
}

static int cmd_run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct kj_run r = {.cmd = cmd};
    struct kj_err err = KJ_ERR_INIT;
    struct kj_strs pos = {0}, rest = {0};
    void *const cfgs[] = {&r.o, NULL};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &r.c, &pos);
    int rc = KJ_OK;
    if (status < 0 && (pos.n < 1 || !r.c.output))
        rc = kj_err_set(&err, KJ_USAGE, "a recipe and -o DIR are needed; see --help");
    if (status < 0 && rc == KJ_OK) {
        r.out = r.c.output;
        for (size_t i = 1; i < pos.n; i++)
            kj_strs_add(&rest, pos.v[i]);
        rc = kj_recipe_load(&r.recipe, pos.v[0], &err);
        if (rc == KJ_OK)
            rc = kj_run_check(&r, &err);
        if (rc == KJ_OK)
            rc = kj_recipe_open(&r.recipe, &err);
        if (rc == KJ_OK)
            rc = expand_inputs(&r, &rest, &err);
        if (rc == KJ_OK && r.c.dry_run) {
            struct kj_buf b;
            kj_buf_init(&b, 16 << 20);
            kj_recipe_dump(&r.recipe, &b);
            fwrite(b.p, 1, b.n, stdout);
            kj_buf_release(&b);
            rc = estimate(&r, &err);
        } else if (rc == KJ_OK) {
            kj_cmd_signals();
            for (size_t i = 0; i < r.recipe.n; i++)
                if (r.recipe.steps[i].opened)
                    kj_cmd_print_remark(r.recipe.steps[i].name, &r.c,
                                        r.recipe.steps[i].stage, r.recipe.steps[i].cfg);
            rc = run_all(&r, &err);
            for (size_t i = 0; i < r.recipe.n && rc == KJ_OK; i++)
                if (r.recipe.steps[i].opened)
                    kj_cmd_print_warning(r.recipe.steps[i].name, &r.c,
                                         r.recipe.steps[i].stage,
                                         r.recipe.steps[i].cfg);
        }
    }
    if (status < 0)
        status = rc < 0                         ? kj_cmd_fail(cmd, &err)
                 : atomic_load(&kj_interrupted) ? 130
                 : r.damaged                    ? 3
                                                : 0;
    kj_recipe_release(&r.recipe);
    kj_run_parts_release(&r.docs);
    for (size_t i = 0; i < r.files.n; i++)
        free((char *)(uintptr_t)r.files.v[i]);
    kj_strs_release(&r.files);
    kj_strs_release(&rest);
    kj_strs_release(&pos);
    kj_strs_release(&r.o.input);
    return status;
}

static const struct kj_opt *const tables[] = {run_opts, kj_run_common_opts, NULL};

const struct kj_cmd kj_cmd_run = {
    .name = "run",
    .synopsis = "RECIPE.yaml -i 'GLOB' -o DIR",
    .about = "a whole recipe in one process, restartable after any kill",
    .details =
        "Runs the steps of a recipe from archives to shards. DIR gets the documents "
        "of\n"
        "each phase as parts (DIR/1-extract/part-00000.jsonl.zst and the rejects "
        "beside\n"
        "them), tokenizer.json, the shards with manifest.jsonl, and the ledger "
        "run.db.\n"
        "\n"
        "A run that was killed or interrupted goes on where it stopped when the same\n"
        "command is given again, and ends with the same bytes. A complete one is left\n"
        "alone. A folder that holds a run of another recipe is refused without "
        "--force.",
    .examples =
        "  kijil run recipes/demo.yaml -i 'crawl/*.warc.gz' -o out/  # archives to "
        "shards\n"
        "  sqlite3 out/run.db 'select * from waterfall'              # what went where",
    .opts = tables,
    .run = cmd_run,
};
