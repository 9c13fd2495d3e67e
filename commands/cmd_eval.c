/* cmd_eval.c - kijil eval: how good a model is, measured. */
#include "commands/commands.h"

#include <string.h>

#include "base/mem.h"
#include "base/output.h"
#include "commands/eval.h"
#include "manifests/ledger.h"
#include "tokenize/tokenizer.h"

#define F(x) offsetof(struct kj_eval_options, x)
static const struct kj_opt eval_opts[] = {
    {"task", 't', KJ_OPT_LIST, F(tasks), "TASK",
     "what to measure: ppl (perplexity, and bits per byte of text), a multiple-choice "
     "task (mmlu, kmmlu, haerae, kobest), or the file of one",
     "ppl", 0, 0},
    {"data", 0, KJ_OPT_LIST, F(data), "DIR|TASK.SPLIT=FILE",
     "where the questions are: folders with files of the tasks' names, or single files",
     0, 0, 0},
    {"shots", 0, KJ_OPT_INT, F(shots), "N",
     "examples before each question; -1: as many as the task says", "-1", -1, 1000},
    {"bos", 0, KJ_OPT_ENUM, F(bos), "auto|yes|no",
     "begin token before prompts; auto: as tokenizer.json's post-processor has it",
     "auto", 0, 0},
    {"context", 0, KJ_OPT_INT, F(context), "N",
     "ppl: longest piece of a document; 0: the model's max_position_embeddings", "0", 0,
     1 << 24},
    {"limit", 0, KJ_OPT_INT, F(limit), "N",
     "only the first N documents, or N questions of each subset; 0: all", "0", 0,
     0x1p53},
    {"pass_tokens", 0, KJ_OPT_INT, F(pass), "N",
     "tokens in one pass over multiple choices, or the longest prompt if that is more",
     "2048", 1, 1 << 24},
    {"tokenizer", 0, KJ_OPT_STR, F(tokenizer), "FILE",
     "tokenizer.json; default: the model's own", 0, 0, 0},
    {"device", 0, KJ_OPT_STR, F(device), "NAME", "compute back end: auto, cpu, cuda",
     "auto", 0, 0},
    {"jobs", 'j', KJ_OPT_INT, F(jobs), "N",
     "threads; 0: as many as processors are allowed", "0", 0, 1024},
    {"output", 'o', KJ_OPT_STR, F(output), "FILE",
     "results as JSON, one object a line; a file is replaced; - : on standard output, "
     "instead of the table",
     0, 0, 0},
    {"json", 0, KJ_OPT_FLAG, F(json), 0, "the same as -o -", 0, 0, 0},
    {"details", 0, KJ_OPT_STR, F(details), "FILE",
     "every question with its prompt, choices, token ids, scores and the answer taken",
     0, 0, 0},
    {"ledger", 0, KJ_OPT_STR, F(ledger), "FILE",
     "also put the results into this ledger (made when missing)", 0, 0, 0},
    {"quiet", 'q', KJ_OPT_FLAG, F(quiet), 0, "no lines on stderr but errors", 0, 0, 0},
    {0},
};
#undef F

static int open_file(const char *path, FILE **out, struct kj_err *err)
{
    if (!path)
        return KJ_OK;
    *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    return *out ? KJ_OK : kj_err_errno(err, KJ_FAIL, "cannot write %s", path);
}

static int close_file(FILE *f, const char *path, int rc, struct kj_err *err)
{
    if (!f)
        return rc;
    int bad = fflush(f) != 0 || ferror(f);
    if (f != stdout)
        bad |= fclose(f) != 0;
    return bad && rc == KJ_OK ? kj_err_errno(err, KJ_FAIL, "cannot write %s", path)
                              : rc;
}

static int open_ledger(struct kj_evaluation *e, const struct kj_common *c,
                       struct kj_err *err)
{
    int rc = kj_ledger_open(&e->ledger, e->o->ledger, KJ_LEDGER_WRITE, err);
    struct kj_ledger_evaluation v = {.model = e->model,
                                     .tokenizer = kj_tok_hash(e->m.tok),
                                     .version = KJ_VERSION,
                                     .command = c->command_line};
    return rc ? rc : kj_ledger_evaluation(e->ledger, &v, &e->number, err);
}

static int eval(struct kj_evaluation *e, const struct kj_strs *pos,
                const struct kj_common *c, struct kj_err *err)
{
    const struct kj_eval_options *o = e->o;
    struct kj_strs files = {.v = pos->v + 1, .n = pos->n - 1};
    const char *json = o->json ? "-" : o->output;
    int rc = kj_model_look(&e->m, pos->v[0], o->tokenizer, err);
    e->model = pos->v[0];
    rc = rc ? rc : open_file(json, &e->json, err);
    rc = rc ? rc : open_file(o->details, &e->details, err);
    e->table = e->json == stdout || e->details == stdout ? NULL : stdout;
    if (rc == KJ_OK && o->ledger)
        rc = open_ledger(e, c, err);
    for (size_t i = 0; i < o->tasks.n && rc == KJ_OK; i++)
        rc = strcmp(o->tasks.v[i], "ppl") == 0 ? kj_eval_ppl(e, &files, err)
                                               : kj_eval_task(e, o->tasks.v[i], err);
    rc = close_file(e->json, json, rc, err);
    rc = close_file(e->details, o->details, rc, err);
    if (e->ledger) {
        int closed = kj_ledger_close(e->ledger, rc ? NULL : err);
        rc = rc ? rc : closed;
    }
    return rc;
}

static int check(const struct kj_eval_options *o, const struct kj_strs *pos,
                 struct kj_err *err)
{
    bool ppl = false;
    if (!pos->n)
        return kj_err_set(err, KJ_USAGE, "a folder with a model is needed");
    for (size_t i = 0; i < o->tasks.n; i++)
        ppl = ppl || strcmp(o->tasks.v[i], "ppl") == 0;
    if (pos->n > 1 && !ppl)
        return kj_err_set(err, KJ_USAGE,
                          "files are for the task ppl; those of others are named by "
                          "--data");
    if (o->json && o->output)
        return kj_err_set(err, KJ_USAGE, "--json and -o are two ways to the same");
    return KJ_OK;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct kj_eval_options o = {0};
    struct kj_common common;
    struct kj_strs pos = {0};
    struct kj_err err = KJ_ERR_INIT;
    void *const cfgs[] = {&o};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status >= 0)
        return status;
    kj_cmd_signals();
    struct kj_evaluation e = {.o = &o,
                              .threads = (unsigned)(o.jobs ? o.jobs : common.jobs)};
    int rc = check(&o, &pos, &err);
    rc = rc ? rc : eval(&e, &pos, &common, &err);
    if (rc == KJ_OK && e.damaged)
        fprintf(stderr, "kijil eval: %llu lines could not be used\n",
                (unsigned long long)e.damaged);
    status = rc                             ? kj_cmd_fail(cmd, &err)
             : atomic_load(&kj_interrupted) ? 130
             : e.damaged                    ? 3
                                            : 0;
    kj_model_close(&e.m);
    kj_strs_release(&pos);
    kj_opt_release(eval_opts, &o);
    return status;
}

const struct kj_cmd kj_cmd_eval = {
    .name = "eval",
    .synopsis = "MODELDIR [-t TASK...] [--data DIR] [FILE.jsonl...]",
    .about = "perplexity by source; multiple-choice tasks, scored by likelihood",
    .details =
        "ppl reads documents {\"text\", \"source\"}. Every token of a text is "
        "predicted "
        "from those before it, the first from the begin token; a document longer than "
        "the context is cut into pieces. Bits per byte compare models with different "
        "tokenizers.\n\n"
        "A multiple-choice task is a file in recipes/eval/, or one of your own "
        "(docs/evaluation.md): its prompts, its examples and how they are drawn, and "
        "its scores are those of lm-evaluation-harness. Its questions are JSONL files "
        "with the fields of the published dataset, found by name in the folders of "
        "--data, or named: --data kobest_boolq.test=FILE. Lines that cannot be used "
        "are named, counted, and left out.",
    .examples =
        "kijil eval out/m -t ppl held-out.jsonl.zst  # a table by source\n"
        "kijil eval out/m -t mmlu,kmmlu,haerae --data eval/ -o scores.jsonl --ledger "
        "out/run.db  # Kanana's three\n"
        "kijil eval out/m -t kobest_boolq --data kobest_boolq.test=dev.jsonl --limit "
        "20 "
        "--details -  # look at prompts",
    .opts = (const struct kj_opt *const[]){eval_opts, NULL},
    .run = run,
};
