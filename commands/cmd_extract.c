/* cmd_extract.c - archives in, documents out. */
#include "commands/commands.h"

#include <stdlib.h>
#include <string.h>

#include "extract/archive.h"
#include "extract/stage.h"

struct inputs {
    const struct kj_strs *files;
    enum kj_archive_kind kind;
    struct kj_archive_counts counts;
};

static int reopen(void *self, struct kj_source *out, struct kj_err *err)
{
    struct inputs *in = self;
    return kj_archive_source(out, in->files->v, in->files->n, in->kind,
                             (struct kj_pos){0, 0}, &in->counts, err);
}

static void print_counts(const struct kj_archive_counts *c)
{
    fprintf(stderr, "%llu records:", (unsigned long long)c->records);
    uint64_t rest = c->records;
    for (size_t i = 0; i < c->n; i++) {
        fprintf(stderr, " %s %llu", c->types[i].type,
                (unsigned long long)c->types[i].n);
        rest -= c->types[i].n;
    }
    if (rest)
        fprintf(stderr, " others %llu", (unsigned long long)rest);
    fprintf(stderr, "\n");
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    const struct kj_stage *stage = &kj_stage_extract;
    struct kj_common common;
    struct kj_strs pos = {0};
    void *cfg = kj_xcalloc(1, stage->cfg_size);
    void *const cfgs[] = {cfg, NULL};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status < 0 && kj_cmd_done_already(cmd, &common))
        status = 0;
    struct inputs in = {.files = &pos, .kind = kj_extract_source(cfg)};
    if (status < 0 && common.dry_run)
        status = kj_cmd_dry_run(cmd, &common, stage, cfg,
                                (struct kj_corpus_inputs){reopen, &in}, &pos);
    if (status < 0) {
        common.inputs = pos.v;
        common.n_inputs = pos.n;
        status = kj_cmd_drive(cmd, &common, stage, cfg,
                              (struct kj_corpus_inputs){reopen, &in}, NULL);
        if (!common.quiet && (status == 0 || status == 3)) {
            print_counts(&in.counts);
            kj_cmd_print_damage(&in.counts);
        }
    }
    kj_opt_release(stage->opts, cfg);
    free(cfg);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_extract = {
    .name = "extract",
    .synopsis = "[FILE...]",
    .about = "archives to documents (JSONL)",
    .details =
        "Reads WARC 0.17 to 1.1, WET and ARC archives, plain or compressed (gzip, "
        "zstd, "
        "bzip2, xz, lz4, inside zip and tar), and bare HTML files. Each response, "
        "resource "
        "and conversion record becomes one document: its body is decoded (chunks, "
        "gzip, "
        "deflate, br, zstd), its charset found by byte order mark, HTTP header, meta "
        "element and detection, and the main text taken out of the page.\n\n"
        "--source wikipedia reads dumps of MediaWiki (pages-articles XML, plain or "
        "compressed): one document per article, wikitext made text with its headings, "
        "lists, tables and formulas. --source arxiv reads tars of LaTeX sources as "
        "arXiv "
        "packs them, or single papers: one document per paper, its files in their "
        "order.\n\n"
        "Damaged records are counted with file and offset and cost only themselves; "
        "the "
        "exit status is then 3, --rejects keeps them with the number of stored bytes "
        "that each cost, and the share of bytes recovered is told for each damaged "
        "file.",
    .examples =
        "kijil extract crawl/*.warc.gz -o docs.jsonl.zst  # a crawl to documents\n"
        "kijil extract --source wikipedia kowiki-latest-pages-articles.xml.bz2\n"
        "kijil extract --format markdown page.html        # one page, with its "
        "structure",
    .opts = (const struct kj_opt *const[]){kj_extract_opts, kj_common_opts, NULL},
    .run = run,
    .stage = &kj_stage_extract,
};
