/* archive.h - a source of raw documents: the records of WARC and ARC files, or
 * bare HTML files; and the door to the sources of arxiv.h and wikidump.h.
 *
 * Each response, resource, conversion and ARC record becomes one document with
 * raw = the record's block, id, url, date, file_path, warc{} filled, and aux
 * pointing to a struct kj_archive_rec; extract/stage.h turns it into text.
 * Other record types are counted and are no documents. Damage is a document of
 * its own, marked with kj_doc_damage and a rule of warc.h, whose warc{} says
 * where, and whose verdict's value how many stored bytes it cost. Files are named
 * by their base name, so that results do not depend on the folder they lie in.
 *
 * Batches are cut by size behind a record, and depend only on what was read
 * since the start or the last restartable place: starting at a batch's `next`
 * gives the same batches as going on.
 */
#ifndef KJ_EXTRACT_ARCHIVE_H
#define KJ_EXTRACT_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/flow.h"

enum kj_archive_kind {
    KJ_ARCHIVE_AUTO,      /* WIKIPEDIA or ARXIV if the first file is such; else per
                             file, by content: WARC, or a page */
    KJ_ARCHIVE_WARC,      /* WARC and ARC */
    KJ_ARCHIVE_WET,       /* WARC, conversion records only */
    KJ_ARCHIVE_HTML,      /* one page per file */
    KJ_ARCHIVE_WIKIPEDIA, /* extract/wikidump.h */
    KJ_ARCHIVE_ARXIV      /* extract/arxiv.h */
};

/* What doc->aux points to. */
struct kj_archive_rec {
    enum {
        KJ_REC_HTTP,
        KJ_REC_RESOURCE,
        KJ_REC_TEXT,
        KJ_REC_PAGE,
        KJ_REC_WIKI, /* the first member of a struct kj_wiki_rec */
        KJ_REC_PAPER /* a paper's files, packed or one */
    } kind;
    struct kj_str content_type; /* of the record, not of the HTTP message */
};

/* Records by type, as the archives name them. Caller-owned; written by the
 * reader only, read it when the flow is done. */
struct kj_archive_counts {
    struct {
        char type[32];
        uint64_t n;
    } types[32];
    size_t n;
    uint64_t records; /* sum, types beyond the table included */
    uint64_t faults;
    uint64_t bytes, lost; /* stored bytes read; of them those that damage cost */
    /* The first files with damage. */
    struct kj_archive_hurt {
        char file[128];
        uint64_t faults, bytes, lost;
    } hurt[16];
    size_t n_hurt; /* in all, those beyond the table included */
};

/* Open a source over files in the given order ("-" is standard input), from a
 * stored offset of one of them on (0, 0: all). files and counts are borrowed;
 * counts may be NULL. A file that cannot be opened is KJ_FAIL at once. */
int kj_archive_source(struct kj_source *out, const char *const *files, size_t n,
                      enum kj_archive_kind kind, struct kj_pos start,
                      struct kj_archive_counts *counts, struct kj_err *err);

/* ---- for the other sources of extract/ ---- */

/* Count one record; c may be NULL. */
void kj_archive_count(struct kj_archive_counts *c, const char *type);
/* Can all files be opened? The bytes of those from number `from` on. */
int kj_archive_sizes(const char *const *files, size_t n, size_t from, int64_t *total,
                     struct kj_err *err);

#endif
