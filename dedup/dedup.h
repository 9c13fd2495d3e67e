/* dedup.h - the stage that takes copies out of a corpus.
 *
 * method exact: documents whose text is equal (128-bit XXH3 of its bytes), or
 * equal in the normal form of normal.h with its numbers left as they are
 * (normalize), or whose URL is equal in the normal form given there (key url;
 * documents without a URL are left alone).
 * Rules "dedup.exact", "dedup.url".
 *
 * With scope paragraph or line these are what is compared (units.h), and copies
 * are cut out of their texts: signal "dedup.cut", the share of bytes that went;
 * a document of which nothing is left is out by the rule "dedup.paragraphs" or
 * "dedup.lines".
 *
 * method minhash: near duplicates. Shingles as in shingle.h, signatures as in
 * minhash.h, candidates as in lsh.h, each verified by the true Jaccard
 * similarity of the sets of 64-bit shingle hashes, or by containment (measure; the
 * candidates are those of the signatures, so of a short text in a long one few
 * are found: 1 - (1 - s^rows)^bands with s their Jaccard similarity). Rule "dedup.minhash", whose
 * value is the similarity to the keeper. Documents without a single word are
 * left alone.
 *
 * method bloom: lines and documents whose n-grams came before in the input
 * (bloom.h). Rule "dedup.bloom", signal "dedup.cut". The only method whose
 * outcome depends on the order of documents.
 *
 * method substring: passages that stand more than once (substring.h) are cut
 * out of their texts, but for the first copy: signal "dedup.cut", and the field
 *     "substring": {"removed_bytes": N, "spans": [{"at": BYTE, "bytes": N,
 *                   "keeper": ID, "offset": BYTE or WORD}, ...]}
 * with places in the text as it was. A document that keeps fewer than min_left
 * bytes, white space at its ends not counted, is out by the rule
 * "dedup.substring", with its whole text; what it had alone is lost with it.
 *
 * index (minhash and exact, whole documents): a folder with what earlier corpora
 * kept (index.h). Copies of it are out, with keepers that are not in this corpus;
 * in the end of the survey, unless it is a trial, what is kept is added. The
 * survey then reads the corpus once more.
 *
 * Who is kept, and why chains do no harm: cluster.h.
 *
 * Every document of a cluster of two or more, kept and dropped alike, gets the
 * field
 *     "cluster": {"id": HEX, "size": N, "keeper": ID, "similarity": S}
 * size counts the documents that the keeper stands for, itself too: a document
 * that comes with cluster.size N from an earlier deduplication counts N times,
 * so that sizes add up over several (they are the weights of FineWeb2's
 * rehydration; a document without the field has size 1). Documents with
 * comparisons left out by max_compare get the signal "dedup.unchecked", their
 * number.
 *
 * The survey reads the corpus twice: for keys, and, if there are candidates,
 * for their sets. In memory that is 8 bytes per document and band (1 for
 * exact), 4 per document to notice input that changes in between, and the
 * candidates' sets. When that will not fit kj_corpus.memory, everything goes
 * to files in kj_corpus.tmp_dir (external.h), with the same outcome bit for
 * bit; they are removed as soon as they are open, so nothing is left behind.
 * spill: auto decides while the keys come in (or starts again in files when
 * the guess was wrong), always and never are for tests and measurements.
 * Without tmp_dir, or when even the files' buffers do not fit, it is KJ_FATAL.
 * In kj_corpus.memory the program itself and the batches in flight are
 * counted. The permutations are those of
 * kj_corpus.seed; 1 gives datatrove's. Results do not depend on threads,
 * shards, or (but for bloom) the order of documents.
 */
#ifndef KJ_DEDUP_DEDUP_H
#define KJ_DEDUP_DEDUP_H

#include "base/opt.h"

struct kj_stage;
/* Option alarm: the share of a source's documents beyond which its removal is
 * to be told; for those who count them. */
double kj_dedup_alarm(const void *cfg);
extern const struct kj_opt kj_dedup_opts[]; /* the stage's table */
extern const struct kj_stage kj_stage_dedup;

#endif
