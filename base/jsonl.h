/* jsonl.h - documents from and to JSONL: the ordinary source and sink. */
#ifndef KJ_BASE_JSONL_H
#define KJ_BASE_JSONL_H

#include "base/flow.h"

struct kj_output;

/* A source over files in the given order ("-" is standard input; n == 0 means
 * standard input alone). Invalid lines become damaged documents with rule
 * "input.invalid_json" and their file and offset, documents that have no field text
 * such with "input.no_text"; a file that cannot be opened is KJ_FAIL at once, one
 * that begins as another kind of file does (an archive, Parquet, a JSON array) is
 * KJ_FAIL when it is read. The list is borrowed. */
int kj_jsonl_source(struct kj_source *out, const char *const *files, size_t n,
                    struct kj_err *err);

/* The same from where a batch of an earlier source over the same files ended: its
 * next and next_at. KJ_FAIL when that file cannot seek (a pipe). */
int kj_jsonl_source_at(struct kj_source *out, const char *const *files, size_t n,
                       struct kj_pos start, int64_t at, struct kj_err *err);

/* Documents of this source may be without text, for who looks at addresses alone. */
void kj_jsonl_textless(struct kj_source *s);

/* A sink that writes kept documents to o (borrowed). */
struct kj_sink kj_jsonl_sink(struct kj_output *o);

/* A watch that writes documents that are out to o, with drop{}. */
struct kj_watch kj_jsonl_rejects(struct kj_output *o);

#endif
