/* steps.h - a deduplication in steps that can be stopped, restarted, and spread
 * over processes.
 *
 * Every step reads files that the one before left in one folder, and leaves
 * its own (docs/formats/signatures.md), each under its final name only when it
 * is whole. A step passes over what is there already; so whoever was killed
 * begins again where it was, and jobs may come in any order within a step.
 *
 *   step    splits by    leaves
 *   sign    input file   sigs-FILE-PART    keys of `per` documents
 *   match   band         match-BAND        buckets, and who is in one
 *   gather  input file   sets-FILE         n-grams of these
 *   solve   -            names, list       the keep-list
 *   apply   input file   the outcome
 *
 * Shard i of n does the input files (the bands) whose number is i modulo n.
 * The outcome is that of a survey, byte for byte. For documents (not lines or
 * paragraphs), methods exact and minhash.
 *
 * Disk: 8 bytes per document and band (and 8 more per document); 8 per document
 * and bucket, 1/8 per document and band; the candidates' sets, twice while
 * solving; memory as in external.h. Sorting takes as much again at a time.
 */
#ifndef KJ_DEDUP_STEPS_H
#define KJ_DEDUP_STEPS_H

#include <stddef.h>
#include <stdint.h>

struct kj_corpus;
struct kj_err;

enum kj_dedup_step {
    KJ_STEP_ALL, /* all but apply, which is left ready */
    KJ_STEP_SIGN,
    KJ_STEP_MATCH,
    KJ_STEP_GATHER,
    KJ_STEP_SOLVE,
    KJ_STEP_APPLY /* nothing but get ready */
};

struct kj_dedup_job {
    const char *dir; /* made if it is not there; lives as long as the stage */
    enum kj_dedup_step step;
    unsigned shard, shards; /* 0, 1: all */
    const char *const *files;
    size_t n_files; /* as corpus->pass reads them one by one */
    uint64_t per;   /* documents in a file of signatures */
    void (*say)(void *self, const char *what, size_t no, size_t of); /* or NULL */
    void *self;
};

/* Do the job with the configuration of an opened stage "dedup". After ALL and
 * APPLY the stage's run() can be used without a survey: on all files, or with
 * APPLY on those of the shard, one behind the other. KJ_EOF when it was stopped.
 * Files that are missing, cut short, changed, or of other input, seed or
 * parameters are KJ_FATAL, by name, with what to do. */
int kj_dedup_steps(void *cfg, struct kj_corpus *corpus, const struct kj_dedup_job *job,
                   struct kj_err *err);

#endif
