/* cmd_dedup.c - kijil dedup: the stage as a filter, with the method as its
 * first word. */
#include "commands/dedup_work.h"

#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/stage.h"
#include "dedup/dedup.h"

/* ---- alarm: sources that lose much ---- */

enum { MOST_SOURCES = 4096, FEWEST_DOCS = 50 };

struct source {
    char *name;
    uint64_t docs, gone;
};

/* One command runs in a process; static, because a run that fails does not
 * come to tell_sources(). */
static struct sources {
    double alarm;
    struct source v[2 * MOST_SOURCES]; /* by hash, open addressing */
    size_t n;
} the_sources;

static struct source *find_source(struct sources *s, struct kj_str name)
{
    size_t i = (size_t)kj_hash64(name.p, name.n, 0) % (2 * MOST_SOURCES);
    for (; s->v[i].name; i = (i + 1) % (2 * MOST_SOURCES))
        if (kj_str_is(name, s->v[i].name))
            return &s->v[i];
    if (s->n == MOST_SOURCES)
        return NULL;
    s->n++;
    s->v[i].name = kj_xstrndup(name.n ? name.p : "", name.n);
    return &s->v[i];
}

static int count_sources(void *self, const struct kj_flow *f, const struct kj_batch *b,
                         struct kj_err *err)
{
    (void)f;
    (void)err;
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        struct source *s = d->out.damaged ? NULL : find_source(self, d->source);
        if (s) {
            s->docs++;
            s->gone += !kj_doc_kept(d);
        }
    }
    return KJ_OK;
}

static int tell_sources(void *self, const struct kj_flow *f, struct kj_err *err)
{
    struct sources *s = self;
    (void)f;
    (void)err;
    for (size_t i = 0; i < 2 * (size_t)MOST_SOURCES; i++) {
        struct source *x = &s->v[i];
        if (x->docs >= FEWEST_DOCS && (double)x->gone > s->alarm * (double)x->docs)
            fprintf(stderr,
                    "kijil dedup: warning: source \"%s\" loses %.1f %% of its %llu "
                    "documents\n",
                    x->name, 100 * (double)x->gone / (double)x->docs,
                    (unsigned long long)x->docs);
        free(x->name);
        *x = (struct source){0};
    }
    return KJ_OK;
}

static void watch_sources(const void *cfg, struct kj_watch *out)
{
    the_sources.alarm = kj_dedup_alarm(cfg);
    *out = (struct kj_watch){
        .self = &the_sources, .batch = count_sources, .end = tell_sources};
}

/* "dedup exact FILE..." is "dedup --method=exact FILE...". */
static int run_dedup(const struct kj_cmd *cmd, int argc, char **argv)
{
    static const struct {
        const char *word, *option;
    } methods[] = {{"exact", "--method=exact"},
                   {"minhash", "--method=minhash"},
                   {"bloom", "--method=bloom"},
                   {"substring", "--method=substring"}};
    char **words = kj_xcalloc((size_t)argc + 1, sizeof *words);
    char *option = NULL;
    for (int i = 0; i < argc; i++)
        words[i] = argv[i];
    for (size_t i = 0; i < sizeof methods / sizeof *methods && argc > 1; i++)
        if (strcmp(argv[1], methods[i].word) == 0)
            words[1] = option = kj_xstrdup(methods[i].option);
    struct kj_dedup_work work = {0};
    int status = kj_cmd_stage_own(cmd, argc, words, &work, kj_dedup_work_drive);
    free(option);
    free(words);
    return status;
}

const struct kj_cmd kj_cmd_dedup = {
    .name = "dedup",
    .synopsis = "[minhash|exact|bloom|substring] [FILE...]",
    .about = "take out exact and near copies of documents",
    .details =
        "Reads documents as JSONL and writes those that are no copy of another. The "
        "method is the first word; without one it is minhash. Standard input is kept "
        "in a temporary file, because the documents are read up to three times.\n"
        "\n"
        "minhash: near copies. Candidates are found by MinHash signatures (bands x "
        "rows permutations of hashed n-grams), and each one is verified: a document "
        "goes only if the true Jaccard similarity of its n-grams to those of its "
        "keeper reaches the threshold. Chains are not followed: being similar to a "
        "document that was dropped is no reason to be dropped.\n"
        "\n"
        "exact: equal texts, equal normal forms (--normalize), or equal URLs "
        "(--key url). With --scope line or paragraph, copies of these are cut out of "
        "their documents, and one stays somewhere; documents of which nothing is "
        "left go.\n"
        "\n"
        "bloom: as DataComp-LM's old-both. A line of which more than --threshold of "
        "the 13-grams came before is cut; a "
        "document of which that many did goes. Nothing is verified (--fpr of the "
        "new n-grams count as known), lines of fewer words than an n-gram always "
        "stay, and the order of the input decides: the first copy stays, and "
        "another order gives another result. The memory is 1.2 bytes for each "
        "n-gram of --expected at 1 %; more of them than expected is an error.\n"
        "\n"
        "substring: passages of --min-bytes or more (or of --min-words, whatever "
        "stands between the words) that stand more than once, in two documents or "
        "within one. The first copy stays, in the order of --keep, and the others are "
        "cut out, at the edges of characters, sentences or lines (--cut). A document "
        "gets substring{removed_bytes, spans}, where each span has its place, and the "
        "document and place of the copy; one of which fewer than --min-left bytes "
        "remain goes. Every passage is found, whatever the memory.\n"
        "\n"
        "--index DIR: copies of what earlier corpora kept go too, and what this one "
        "keeps is added to DIR, which grows and is never rewritten. The outcome is "
        "that of one run over all of them in which earlier corpora come first, "
        "verified in the same way; cluster sizes count the documents of this corpus "
        "and "
        "the keeper. A corpus that is in DIR already, by a checksum over its "
        "documents, is "
        "judged as the first time, so a run can be repeated, killed, or split by "
        "--shard. DIR takes 8 bytes for each band and n-gram of a document that "
        "stays, and about 140 more. Other seed, bands, rows, units or method than "
        "those "
        "that DIR was made with are refused; threshold and keep may differ.\n"
        "\n"
        "Documents in a cluster of two or more get cluster{id, size, keeper, "
        "similarity}; those dropped go to --rejects with the same. Which copy stays "
        "is decided by --keep, then by id; the result depends neither on the order "
        "of the input (but for bloom) nor on --jobs or --shard. A folder or file named "
        "like a method "
        "is written ./exact.\n"
        "\n"
        "A source (the field of that name) that loses more than --alarm of its "
        "documents is named on standard error.\n"
        "\n"
        "--memory holds whatever the corpus: when it would not do, the work goes on "
        "in files below TMPDIR, with the same outcome (docs/formats/signatures.md "
        "says how much disk that takes). Only documents that are tied together by "
        "shared n-grams, over any number of steps, must fit at a time, with about "
        "400 bytes each and 60 for each band that ties them.\n"
        "\n"
        "With --work DIR the files stay in DIR, with counts and checksums: the same "
        "command again goes on where it was killed, or where the disk was full, to "
        "the same bytes. --step does one step alone, so that an array of jobs can "
        "share the work: sign, gather and apply take the input files of --shard I/N, "
        "match the bands, solve all; every job names all input files in the same "
        "order, and the jobs of one step may run in any order or side by side. What "
        "is missing, damaged, or made with other input, options or seed is refused "
        "by name. DIR may be removed afterwards.\n"
        "\n"
        "--dry-run says from a sample what time, memory and disk the whole will take; "
        "memory and disk are upper bounds, up to 2.5 times what is used.",
    .examples =
        "kijil dedup d.jsonl.zst -o unique.jsonl.zst --rejects copies.jsonl  # "
        "both\n"
        "kijil dedup --bands 26 --rows 11 --keep newest a.jsonl b.jsonl  # as Dolma 3\n"
        "kijil dedup exact --normalize < docs.jsonl  # but for case and punctuation\n"
        "kijil dedup exact --scope line docs.jsonl  # menus, footers, once each\n"
        "kijil dedup substring --cut sentence docs.jsonl  # passages of 500 bytes\n"
        "kijil dedup --index seen 2024-10.jsonl.zst -o new.jsonl.zst  # month by "
        "month\n"
        "kijil dedup --work w part-*.jsonl.zst -o unique.jsonl.zst  # can be killed\n"
        "kijil dedup --work w --step match --shard 2/14 part-*.jsonl.zst  # one of 14 "
        "jobs\n"
        "kijil dedup exact --key url --keep best=edu_score docs.jsonl  # one per page",
    .opts = (const struct kj_opt *const[]){kj_dedup_opts, kj_dedup_work_opts,
                                           kj_common_opts, NULL},
    .run = run_dedup,
    .stage = &kj_stage_dedup,
    .watch = watch_sources,
};
