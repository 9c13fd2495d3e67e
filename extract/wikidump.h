/* wikidump.h - a source of raw documents: the pages of a MediaWiki dump
 * (export-0.10 and 0.11 XML, as in pages-articles-multistream.xml.bz2).
 *
 * Each page of namespace 0 that is no redirect becomes one document: raw = the
 * text of its last revision as it stands in the XML (escaped), aux = a struct
 * kj_wiki_rec; id "wikipedia-ko:PAGE:REVISION", url from the base that the dump
 * names, date of the revision, language of the dump, source "wikipedia-ko"
 * (the dump's database, or its language). extract/curated.h turns it into
 * text. Redirects and pages of other namespaces are counted, and are no
 * documents. A page that is cut, or larger than KJ_WIKIDUMP_PAGE_MAX, is a
 * damaged document.
 *
 * Memory is one page. XML is cut by its "</page>", which the text of a page
 * cannot hold: the dumps escape every "<". Batches end behind a page, and
 * depend only on what was read since their start; kj_pos.offset counts
 * decompressed bytes, so reading can start again behind every batch, at the
 * price of decompressing what lies before. */
#ifndef KJ_EXTRACT_WIKIDUMP_H
#define KJ_EXTRACT_WIKIDUMP_H

#include "extract/archive.h"

#define KJ_WIKIDUMP_PAGE_MAX (32u << 20)

/* doc->aux of such a document. */
struct kj_wiki_rec {
    struct kj_archive_rec rec; /* kind KJ_REC_WIKI */
    struct kj_str title;       /* plain text */
};

/* As kj_archive_source, which calls it for KJ_ARCHIVE_WIKIPEDIA. */
int kj_wikidump_source(struct kj_source *out, const char *const *files, size_t n,
                       struct kj_pos start, struct kj_archive_counts *counts,
                       struct kj_err *err);

/* Append [p,n) with the five entities of XML and numeric references resolved;
 * control characters but tab and line feed go. KJ_BAD_RECORD at the cap. */
int kj_wikidump_unescape(const char *p, size_t n, struct kj_buf *out);

#endif
