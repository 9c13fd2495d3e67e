/* stage.h - what every pipeline stage implements.
 *
 * A stage sees one batch of documents at a time and edits it in place. It may
 * rewrite text (new bytes come from the batch's arena), add fields and
 * signals, or mark a document as out with a rule as the reason. Documents that
 * are out already are to be left alone (test kj_doc_kept). It must not reorder
 * documents, print, or keep a pointer into the batch after run().
 *
 * cfg is filled from the option table, completed by open(), and read-only
 * afterwards, but for survey(). Everything mutable is in state: one per
 * worker, or exactly one if the stage is KJ_STAGE_SERIAL, which then sees the
 * batches in stream order.
 *
 * survey() is for decisions that need the whole corpus (near duplicates, the
 * best 10 %): it reads the corpus once or more before any run(), and leaves
 * what it found in cfg. Its run() sees the same documents with the same
 * serial numbers. What it decides may depend on content and ids only, never
 * on serial numbers, threads or shards.
 */
#ifndef KJ_BASE_STAGE_H
#define KJ_BASE_STAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/doc.h"
#include "base/err.h"
#include "base/opt.h"

enum kj_stage_flags { KJ_STAGE_SERIAL = 1 << 0 };

/* One rule of an opened stage, for the ledger, --list and the report. */
struct kj_rule {
    const char *name;  /* "gopher.min_words" */
    const char *op;    /* what is dropped: "<", ">", "<=", ">=", or ""; "off": the rule
                          stands here, but is not applied */
    double threshold;  /* NAN where the rule has none */
    const char *unit;  /* "words", "share of characters", ... */
    const char *about; /* one line; may end in " (where CONDITION)" */
};

/* The corpus, given to survey(). */
struct kj_corpus {
    void *self;
    unsigned threads;
    int64_t memory; /* bytes the survey may use */
    uint64_t seed;
    const char *tmp_dir; /* for its files; removed afterwards */
    /* One pass over all documents (every shard), in order. work runs on
     * workers concurrently (worker numbers from 0, below threads), collect in
     * serial order on one thread; either may be NULL. KJ_OK, negative, or
     * KJ_EOF when the user stopped it: survey() then ends with the same. */
    int (*pass)(struct kj_corpus *c, void *ctx,
                int (*work)(void *ctx, unsigned worker, struct kj_batch *b,
                            struct kj_err *err),
                int (*collect)(void *ctx, struct kj_batch *b, struct kj_err *err),
                struct kj_err *err);
    int64_t limit; /* documents in a pass, as in the run that follows; 0: all */
    const atomic_bool *stop; /* set by anyone: passes end early; may be NULL */
    /* Set between passes, by surveys that are told that they may: `only` asks
     * whoever opens the inputs for input file only - 1 alone (0: all of them); the
     * first `skip` documents are passed over unparsed. */
    size_t only;
    uint64_t skip;
    bool trial; /* an estimate: nothing may outlive it */
};

/* A cut that a survey found in the order of a score, for the user and the ledger. */
struct kj_quantile {
    const char *score;    /* the field: "dclm_score" */
    const char *language; /* of these documents; "": of all */
    int band;     /* the cut is the lower edge of this band; -1: there are none */
    double share; /* of the documents, or of what they weigh, is to be above */
    double cut;   /* the lowest score above it */
    /* From a sample: where the exact cut lies, and the share of the documents that
     * is above this one, each with a confidence of 95 %. NAN: exact, or no bound. */
    double low, high, share_low, share_high;
    uint64_t docs, seen; /* documents in question; those that were looked at */
};
struct kj_quantiles {
    const struct kj_quantile *v;
    size_t n;
    const struct kj_rule *band; /* the row of rules() whose values are bands, whole
                                   numbers to be counted by language; NULL: none */
};

/* What a survey will take of a corpus; NAN: not known. */
struct kj_needs {
    double memory;    /* bytes at most, the whole process */
    double disk;      /* bytes of temporary files at most, if there are any */
    bool always_disk; /* there will be */
};

struct kj_stage {
    const char *name;            /* "lid": command, recipe key and ledger key */
    const char *about;           /* one line for help and man */
    const struct kj_opt *opts;   /* ends with a zero row */
    unsigned flags;              /* enum kj_stage_flags */
    size_t cfg_size, state_size; /* both arrive zeroed, cfg with its defaults */
    int (*open)(void *cfg, struct kj_err *err);                        /* may be NULL */
    int (*survey)(void *cfg, struct kj_corpus *c, struct kj_err *err); /* may be NULL */
    /* Is survey() to be called, as it was opened? NULL: yes, if there is one. */
    bool (*surveys)(const void *cfg);
    int (*begin)(const void *cfg, void *state, struct kj_err *err); /* may be NULL */
    int (*run)(const void *cfg, void *state, struct kj_batch *b, struct kj_err *err);
    void (*end)(const void *cfg, void *state); /* may be NULL */
    void (*close)(void *cfg);                  /* may be NULL */
    /* Rules with their thresholds, after open(); may be NULL. */
    size_t (*rules)(const void *cfg, const struct kj_rule **out);
    /* Options beyond the table in recipes: keys that open() does not see in
     * opts (filter's inline rules). May be NULL. */
    int (*yaml)(void *cfg, const struct kj_ynode *map, struct kj_err *err);
    /* Nobody will see more of the documents that this stage drops than the reason:
     * run() may leave the rest of them unmeasured and undone. Called, if at all,
     * after open() and before begin(). May be NULL. */
    void (*only_kept)(void *cfg);
    /* Does it work on documents that have no field text? NULL: no. */
    bool (*textless)(const void *cfg);
    /* The cuts that survey() found, by score, language and band. They live as long
     * as cfg. May be NULL. */
    void (*quantiles)(const void *cfg, struct kj_quantiles *out);
    /* One line for the user, behind the stage's name: what it found when it was opened
     * (which device it takes). NULL: nothing to say. May be NULL. */
    const char *(*remark)(const void *cfg);
    /* One line for the user when everything has been read and every worker has ended:
     * what looks like a mistake (a recipe that had no rule for any document). NULL:
     * nothing. Lives as long as cfg. May be NULL. */
    const char *(*warning)(const void *cfg);
    /* After a survey of a sample: what one of a corpus `factor` times as large will
     * take, with that many threads and --memory. May be NULL. */
    void (*needs)(const void *cfg, double factor, unsigned threads, int64_t memory,
                  struct kj_needs *out);
};

/* Must the corpus be read before run()? */
static inline bool kj_stage_surveys(const struct kj_stage *s, const void *cfg)
{
    return s->survey && (!s->surveys || s->surveys(cfg));
}

/* The table of stages, NULL-terminated, is in top-level stages.c. */
extern const struct kj_stage *const kj_stages[];
const struct kj_stage *kj_stage_find(const char *name);

#endif
