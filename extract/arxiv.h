/* arxiv.h - a source of raw documents: papers as arXiv keeps their sources.
 *
 * A file is either a collection (a tar of papers, each a gzip of a tar or of
 * one TeX file, as in arXiv_src_2101_001.tar) or one paper (a tar of its files,
 * plain or compressed, or one TeX file). Each paper becomes one document: raw =
 * its bytes, aux = a struct kj_paper_rec, and for names that are arXiv's
 * ("2101.00001", "hep-th9901001") id "arxiv:2101.00001" and url; source
 * "arxiv". extract/curated.h turns it into text.
 *
 * Batches end behind a paper; kj_pos.offset counts the papers of a file, so
 * reading can start again behind every batch, at the price of decompressing
 * what lies before. A damaged entry, or one larger than KJ_ARXIV_PAPER_MAX,
 * costs itself. */
#ifndef KJ_EXTRACT_ARXIV_H
#define KJ_EXTRACT_ARXIV_H

#include "extract/archive.h"
#include "extract/latex.h"

#define KJ_ARXIV_PAPER_MAX (128u << 20)
#define KJ_ARXIV_FILES     2000 /* of one paper that are looked at */

/* doc->aux of such a document. */
struct kj_paper_rec {
    struct kj_archive_rec rec; /* kind KJ_REC_PAPER */
    struct kj_str name;        /* of the entry, or of the file */
    bool packed; /* raw: for each file name, NUL, 8 bytes of size, bytes */
};

/* As kj_archive_source, which calls it for KJ_ARCHIVE_ARXIV. */
int kj_arxiv_source(struct kj_source *out, const char *const *files, size_t n,
                    struct kj_pos start, struct kj_archive_counts *counts,
                    struct kj_err *err);

/* The TeX files in a paper's bytes: a tar, also inside of gzip, or one file;
 * names and texts in the arena, at most max files. KJ_OK with *n, which is 0
 * when there is no TeX; KJ_BAD_RECORD for a damaged tar. */
int kj_arxiv_unpack(struct kj_arena *a, struct kj_str raw, bool packed,
                    struct kj_latex_file *files, size_t max, size_t *n);

#endif
