/* cmd_model.c - kijil model: fastText classifiers. Its verbs are in model_*.c. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "commands/model_job.h"

#define OFF(f) offsetof(struct model_cfg, f)
static const struct kj_opt model_opts[] = {
    {"jsonl", 0, KJ_OPT_FLAG, OFF(jsonl), NULL,
     "input is documents as JSONL, the label in --label-field", NULL, 0, 0},
    {"label_field", 0, KJ_OPT_STR, OFF(label_field), "F",
     "field with the label: a word, a number, or a list of them", "label", 0, 0},
    {"label_prefix", 0, KJ_OPT_STR, OFF(t.label_prefix), "P",
     "train: what labels begin with in fastText's format", "__label__", 0, 0},
    {"lr", 0, KJ_OPT_REAL, OFF(t.lr), "R", "train: learning rate", "0.1", 1e-6, 1e3},
    {"lr_update_rate", 0, KJ_OPT_INT, OFF(t.lr_update_rate), "N",
     "train: tokens between updates of the rate", "100", 1, 1e9},
    {"dim", 0, KJ_OPT_INT, OFF(t.dim), "N", "train: length of vectors", "100", 1,
     65536},
    {"ws", 0, KJ_OPT_INT, OFF(t.ws), "N",
     "train: window of word vectors; kept in the file, of no effect here", "5", 1, 1e6},
    {"epoch", 0, KJ_OPT_INT, OFF(t.epoch), "N", "train: passes over the text", "5", 1,
     1e6},
    {"min_count", 0, KJ_OPT_INT, OFF(t.min_count), "N",
     "train: words less frequent are left out", "1", 0, 1e18},
    {"min_count_label", 0, KJ_OPT_INT, OFF(t.min_count_label), "N",
     "train: labels less frequent are left out", "0", 0, 1e18},
    {"neg", 0, KJ_OPT_INT, OFF(t.neg), "N", "train: negatives drawn (loss ns)", "5", 0,
     1e6},
    {"word_ngrams", 0, KJ_OPT_INT, OFF(t.word_ngrams), "N",
     "train: longest n-gram of words", "1", 1, 1024},
    {"bucket", 0, KJ_OPT_INT, OFF(t.bucket), "N", "train: rows for n-grams", "2000000",
     0, 2147483647},
    {"minn", 0, KJ_OPT_INT, OFF(t.minn), "N", "train: shortest n-gram of characters",
     "0", 0, 1024},
    {"maxn", 0, KJ_OPT_INT, OFF(t.maxn), "N",
     "train: longest n-gram of characters; 0: none", "0", 0, 1024},
    {"loss", 0, KJ_OPT_ENUM, OFF(t.loss), "hs|ns|softmax|ova", "train: loss", "softmax",
     0, 0},
    {"t", 0, KJ_OPT_REAL, OFF(t.t), "R",
     "train: sampling threshold; kept in the file, of no effect here", "0.0001", 0, 1},
    {"seed", 0, KJ_OPT_INT, OFF(t.seed), "N", "train: seed of the random start", "0", 0,
     2147483647},
    {"jobs", 'j', KJ_OPT_INT, OFF(t.threads), "N",
     "train: threads; with more than one, results differ a little from run to run; "
     "refine: of scoring, the same result with any number",
     "1", 1, 1024},
    {"k", 'k', KJ_OPT_INT, OFF(k), "N", "test: labels to predict", "1", 1, 1e6},
    {"threshold", 0, KJ_OPT_REAL, OFF(threshold), "P",
     "test: predict labels with at least this probability", "0", 0, 1},
    {"curve", 0, KJ_OPT_LIST, OFF(curve), "LABEL",
     "test: precision and recall of this label at 20 cuts, and its calibration; "
     "repeatable",
     NULL, 0, 0},
    {"json", 0, KJ_OPT_FLAG, OFF(json), NULL,
     "test: --curve as JSON, a line a label, instead of tables", NULL, 0, 0},
    {"cutoff", 0, KJ_OPT_INT, OFF(cutoff), "N",
     "quantize: words and n-grams to keep; 0: all", "0", 0, 2147483647},
    {"retrain", 0, KJ_OPT_FLAG, OFF(retrain), NULL,
     "quantize: train the kept rows again on the given text", NULL, 0, 0},
    {"dsub", 0, KJ_OPT_INT, OFF(dsub), "N",
     "quantize, autotune with a size: length of sub-vectors", "2", 1, 65536},
    {"qnorm", 0, KJ_OPT_FLAG, OFF(qnorm), NULL, "quantize: norms apart", NULL, 0, 0},
    {"qout", 0, KJ_OPT_FLAG, OFF(qout), NULL, "quantize: the output matrix too", NULL,
     0, 0},
    {"validation", 0, KJ_OPT_LIST, OFF(validation), "FILE",
     "autotune: labelled text that trials are judged by; repeatable", NULL, 0, 0},
    {"trials", 0, KJ_OPT_INT, OFF(trials), "N",
     "autotune: how many; 0: until --duration is over", "20", 0, 100000},
    {"duration", 0, KJ_OPT_REAL, OFF(duration), "S",
     "autotune: begin no trial after so many seconds; 0: no limit", "0", 0, 1e7},
    {"tune_metric", 0, KJ_OPT_STR, OFF(tune_metric), "f1|f1:LABEL",
     "autotune: F1 of all labels together, or of one", "f1", 0, 0},
    {"autotune_modelsize", 0, KJ_OPT_COUNT, OFF(modelsize), "BYTES",
     "autotune: quantize every trial to at most so many bytes (2M are 2,000,000), and "
     "judge it so; 0: no limit, not quantized",
     "0", 0, 1e15},
    {"fix", 0, KJ_OPT_LIST, OFF(fix), "OPTION",
     "autotune: leave it as it is given: lr, epoch, dim, word-ngrams, minn (with "
     "maxn), "
     "bucket, loss, dsub; repeatable",
     NULL, 0, 0},
    {"seeds", 0, KJ_OPT_LIST, OFF(seeds), "FILE",
     "refine: JSONL with labels to begin with; repeatable", NULL, 0, 0},
    {"held", 0, KJ_OPT_LIST, OFF(held), "FILE",
     "refine: JSONL with labels that is only judged by; repeatable", NULL, 0, 0},
    {"positive", 0, KJ_OPT_LIST, OFF(positive), "WORD",
     "refine: labels that are positive when they are words (hq if none is given)", NULL,
     0, 0},
    {"positive_min", 0, KJ_OPT_REAL, OFF(positive_min), "R",
     "refine: labels that are numbers are positive from here", "3", -1e9, 1e9},
    {"rounds", 0, KJ_OPT_INT, OFF(rounds), "N", "refine: most rounds", "6", 1, 99},
    {"harvest", 0, KJ_OPT_REAL, OFF(harvest), "P%",
     "refine: most that a round takes of the pool as positives, the best", "5%", 0, 1},
    {"growth", 0, KJ_OPT_REAL, OFF(growth), "R",
     "refine: most positives of a round, as a multiple of the round before", "4", 1,
     1e9},
    {"min_score", 0, KJ_OPT_REAL, OFF(min_score), "P",
     "refine: the cut of the reports, and without --precision the least score of what "
     "is taken",
     "0.5", 0, 1},
    {"precision", 0, KJ_OPT_REAL, OFF(precision), "P",
     "refine: take what scores no less than where the held-out set still has this "
     "precision; 0, and without --held: what --min-score says",
     "0.9", 0, 1},
    {"updates", 0, KJ_OPT_INT, OFF(updates), "N",
     "refine: a round learns from so many lines at least, each counted once an "
     "epoch; --epoch rises to that while the labels are few",
     "20000", 0, 1e12},
    {"margin", 0, KJ_OPT_REAL, OFF(margin), "P%",
     "refine: best share of the pool from which no negatives are drawn", "10%", 0, 1},
    {"balance", 0, KJ_OPT_REAL, OFF(balance), "R",
     "refine: negatives for each positive, the seeds' first, then random ones of the "
     "pool; 0: the seeds' only",
     "5", 0, 1e6},
    {"metric", 0, KJ_OPT_ENUM, OFF(refine_metric), "ap|f1",
     "refine: what the held-out set judges by: average precision, or F1 at "
     "--min-score",
     "ap", 0, 0},
    {"epsilon", 0, KJ_OPT_REAL, OFF(epsilon), "R",
     "refine: least gain of the metric that counts; without --held, least relative "
     "change of the share of positives in the pool",
     "0.005", 0, 1},
    {"patience", 0, KJ_OPT_INT, OFF(patience), "N",
     "refine: stop after so many rounds without", "1", 1, 99},
    {"examples", 0, KJ_OPT_INT, OFF(examples), "N",
     "refine: documents shown of a harvest, from its top and its border", "5", 0, 1000},
    {"url", 0, KJ_OPT_STR, OFF(url), "URL",
     "annotate: server, up to and with /v1; the key is taken from KIJIL_API_KEY", NULL,
     0, 0},
    {"llm", 0, KJ_OPT_STR, OFF(llm), "NAME", "annotate: its model", NULL, 0, 0},
    {"as", 0, KJ_OPT_STR, OFF(as), "NAME", "annotate: fields NAME_score and NAME_note",
     "edu", 0, 0},
    {"prompt", 0, KJ_OPT_STR, OFF(prompt), "FILE",
     "annotate: another prompt, with {text} in it", NULL, 0, 0},
    {"prompt_language", 0, KJ_OPT_ENUM, OFF(prompt_language), "auto|en|ko",
     "annotate: which built-in prompt; auto goes by the document", "auto", 0, 0},
    {"concurrency", 0, KJ_OPT_INT, OFF(concurrency), "N",
     "annotate: requests under way at once", "8", 1, 1000},
    {"rpm", 0, KJ_OPT_REAL, OFF(rpm), "N",
     "annotate: most requests a minute; 0: no limit", "0", 0, 1e6},
    {"tries", 0, KJ_OPT_INT, OFF(tries), "N", "annotate: most requests for a document",
     "5", 1, 100},
    {"timeout", 0, KJ_OPT_REAL, OFF(timeout), "S", "annotate: seconds for a request",
     "60", 0.01, 3600},
    {"backoff", 0, KJ_OPT_REAL, OFF(backoff), "S",
     "annotate: seconds before a second try; doubled for each further", "1", 0, 60},
    {"max_chars", 0, KJ_OPT_INT, OFF(max_chars), "N",
     "annotate: characters of a document that are sent", "4000", 1, 1e7},
    {"max_tokens", 0, KJ_OPT_INT, OFF(max_tokens), "N",
     "annotate: most tokens of an answer", "256", 1, 1e6},
    {"price_in", 0, KJ_OPT_REAL, OFF(price_in), "R",
     "annotate: price of a million tokens sent, for the cost", "0", 0, 1e6},
    {"price_out", 0, KJ_OPT_REAL, OFF(price_out), "R",
     "annotate: price of a million tokens answered", "0", 0, 1e6},
    {"expect_seconds", 0, KJ_OPT_REAL, OFF(expect_seconds), "S",
     "annotate: what an answer takes, for --dry-run's time", "3", 0, 3600},
    {0},
};
#undef OFF

/* ---- the command ---- */

static int run_verb(struct model_job *j)
{
    static const struct {
        const char *name;
        int (*run)(struct model_job *j);
        bool model; /* its result is a binary file */
    } verbs[] = {
        {"train", kj_model_train, true},       {"test", kj_model_test, false},
        {"quantize", kj_model_quantize, true}, {"autotune", kj_model_autotune, true},
        {"refine", kj_model_refine, false},    {"annotate", kj_model_annotate, false}};
    struct kj_err err = KJ_ERR_INIT;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs && j->pos.n; i++) {
        if (strcmp(j->pos.v[0], verbs[i].name) != 0)
            continue;
        if (j->common.dry_run && verbs[i].run != kj_model_annotate) {
            struct kj_buf b;
            kj_buf_init(&b, 1 << 20);
            kj_opt_dump(model_opts, &j->c, &b);
            kj_opt_dump(kj_model_head_opts, &j->h, &b);
            fwrite(b.p, 1, b.n, stdout);
            kj_buf_release(&b);
            return 0;
        }
        if (j->common.ledger && verbs[i].run != kj_model_refine) {
            kj_err_set(&err, KJ_USAGE, "only refine keeps a --ledger");
            return kj_cmd_fail(j->cmd, &err);
        }
        if (verbs[i].model && !j->common.output && isatty(STDOUT_FILENO)) {
            kj_err_set(&err, KJ_USAGE, "a model goes to a file: -o MODEL");
            return kj_cmd_fail(j->cmd, &err);
        }
        int status = verbs[i].run(j);
        if ((status == 0 || status == 3) && j->damaged) {
            fprintf(stderr, "%llu damaged lines were left out\n",
                    (unsigned long long)j->damaged);
            status = 3;
        }
        return status;
    }
    kj_err_set(&err, KJ_USAGE,
               "say train, autotune, test, quantize, annotate or refine");
    return kj_cmd_fail(j->cmd, &err);
}

static int run_model(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct model_job j = {.cmd = cmd};
    void *const cfgs[] = {&j.c, &j.h, NULL};
    kj_ft_train_defaults(&j.c.t);
    j.start = kj_now();
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &j.common, &j.pos);
    if (status < 0)
        status = run_verb(&j);
    kj_strs_release(&j.pos);
    kj_opt_release(model_opts, &j.c);
    kj_opt_release(kj_model_head_opts, &j.h);
    return status;
}

const struct kj_cmd kj_cmd_model = {
    .name = "model",
    .synopsis = "train [FILE...] -o MODEL | test MODEL [FILE...] | quantize MODEL "
                "[FILE...] -o MODEL | autotune [FILE...] --validation FILE -o MODEL | "
                "annotate [FILE...] --url URL --llm NAME -o FILE "
                "| refine POOL... --seeds FILE -o DIR",
    .about = "train, test, shrink and refine fastText classifiers, and label for them",
    .details =
        "train: learns a classifier from lines of text with labels (__label__spam buy "
        "now), or with --jsonl from documents whose --label-field holds the label. "
        "Options and defaults are those of `fasttext supervised`, and its programs "
        "read "
        "the file. With one thread (the default) the same text and options give the "
        "same bytes.\n\n"
        "train --encoder: learns a head on the vectors of a frozen encoder (a folder "
        "in "
        "Hugging Face's layout) from JSONL, and makes a folder with encoder and head "
        "that classify -m takes. --seed, --label-field and -j count here too, the "
        "other "
        "options of fastText do not. The same input gives the same bytes at any -j.\n\n"
        "test: precision and recall of the best k labels over the lines, then both and "
        "their harmonic mean for each label, as a table with tabs. --curve adds what a "
        "label's probability is worth at every cut, and whether it can be believed: of "
        "the lines that got about .7, are seven of ten right? Of a folder with a "
        "regression: mean squared and absolute error, "
        "correlation r, and the classes 0..5 by rounding.\n\n"
        "quantize: keeps the --cutoff words and n-grams of largest norm, and replaces "
        "weights by numbers of centroids. --retrain trains the kept rows again on the "
        "text, which --lr and --epoch govern.\n\n"
        "refine: learns in rounds from the labelled documents of --seeds and a pool of "
        "documents without labels (JSONL, read several times; only scores and what is "
        "chosen are held in memory). A round trains, scores the pool, takes the best "
        "of it as further positives and random others as negatives. What is good "
        "enough "
        "to be taken is said by the precision on the held-out set, which should be "
        "drawn as the pool was. The folder holds "
        "the text, the model, the harvest and the figures of each round, rounds.jsonl "
        "and the best model.bin, with labels hq and cc; the same command goes on in a "
        "folder that was left unfinished. --ledger records every round, with its "
        "domains and examples, for `kijil report`. Few labels need more than train's "
        "defaults: "
        "--lr 0.5 --epoch 25, and --minn 2 --maxn 4 for Korean.\n\n"
        "autotune: trains again and again with other --lr, --epoch, --dim, "
        "--word-ngrams, --minn, --maxn, --bucket and --loss, beginning with those "
        "given and going on from the best, and keeps the model of highest F1 on "
        "--validation. With --autotune-modelsize it looks for the best model of that "
        "size: each is quantized, with as many words and n-grams as fit, and --dsub is "
        "searched too. By --trials and one thread the result is the same every "
        "time.\n\n"
        "annotate: asks a language model behind an OpenAI-compatible server for 0 to 5 "
        "points of educational value for each document (JSONL), criterion by criterion "
        "as FineWeb-Edu does, and appends the documents with NAME_score and NAME_note "
        "to the output. Whatever is worth it is tried again with back-off (no answer, "
        "time-out, 429 with its Retry-After, 5xx, malformed JSON, no valid score); "
        "then the score is null, or, without any answer, the document is left for the "
        "next run (exit status 3). The same command goes on after any end. --dry-run "
        "says what it will take; the key never stands on the command line.\n\n"
        "Inputs may be compressed, and but for the pool are held in memory (--memory).",
    .examples =
        "kijil model train train.txt -o spam.bin --word-ngrams 2 --epoch 10 --lr 0.5\n"
        "kijil model train --jsonl --label-field source in.jsonl -o source.bin\n"
        "kijil model train --encoder e5/ --pooling mean --prefix 'passage: ' "
        "labels.jsonl -o edu/\n"
        "kijil model test spam.bin held-out.txt\n"
        "kijil model autotune train.txt --validation held-out.txt -o spam.bin\n"
        "kijil model autotune train.txt --validation held-out.txt "
        "--autotune-modelsize 2M -o spam.ftz\n"
        "kijil model annotate sample.jsonl --url http://localhost:8000/v1 --llm NAME "
        "-o "
        "labelled.jsonl\n"
        "kijil model refine pool.jsonl --seeds labelled.jsonl --held judged.jsonl -o "
        "edu/\n"
        "kijil model quantize spam.bin --cutoff 50000 --qnorm --retrain train.txt -o "
        "spam.ftz\n",
    .opts = (const struct kj_opt *const[]){model_opts, kj_model_head_opts,
                                           kj_model_common_opts, NULL},
    .run = run_model,
};
