/* report.h - what a ledger shows: a summary for the terminal, and one HTML
 * page that needs nothing but itself (styles and drawings inline, no script,
 * light and dark).
 *
 * Both show the newest run together with the runs whose output it read; if
 * that run was one shard of several, all shards together.
 *
 * The page holds text from the crawl: every byte of it is escaped, and what is
 * not UTF-8 becomes U+FFFD.
 */
#ifndef KJ_MANIFESTS_REPORT_H
#define KJ_MANIFESTS_REPORT_H

#include "base/err.h"
#include "base/mem.h"

struct kj_ledger;

/* The summary as text; `width` columns (0: 80). */
int kj_report_text(struct kj_ledger *l, int width, struct kj_buf *out,
                   struct kj_err *err);

/* The page. Its size is bounded: about 1 MB, whatever the run's size. */
int kj_report_html(struct kj_ledger *l, const char *version, struct kj_buf *out,
                   struct kj_err *err);

/* A page of a training run and of scores alone, to be written while it trains: a
 * browser loads it again after `refresh` seconds (0: not). */
int kj_report_training(struct kj_ledger *l, const char *series, const char *version,
                       int refresh, struct kj_buf *out, struct kj_err *err);

#endif
