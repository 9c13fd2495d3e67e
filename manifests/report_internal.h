/* report_internal.h - shared by the files of the report. */
#ifndef KJ_MANIFESTS_REPORT_INTERNAL_H
#define KJ_MANIFESTS_REPORT_INTERNAL_H

#include <stdbool.h>

#include "manifests/ledger_internal.h"
#include "manifests/report.h"

extern const char kj_report_css[];

/* One query after another, with the first error kept. */
struct kj_rep {
    struct kj_ledger *l;
    struct kj_buf *out;
    struct kj_err *err;
    int rc;
    bool no_runs;       /* only training or evaluations are recorded, or shown */
    const char *series; /* of training: this one only; NULL: all */
    int refresh;        /* seconds; 0: never */
    bool balanced;      /* the books balance */
    char why[512];      /* else: what is wrong */
};

/* Temporary tables for one report: `scope` (the runs shown), `steps` (their
 * stages, shards added up, in order), `shares` (documents by source and
 * language). */
int kj_rep_open(struct kj_rep *r, struct kj_ledger *l, struct kj_buf *out,
                struct kj_err *err);
void kj_rep_close(struct kj_rep *r);
/* A statement to be stepped with kj_rep_next, which finalizes it at its end. */
sqlite3_stmt *kj_rep_query(struct kj_rep *r, const char *sql);
bool kj_rep_next(struct kj_rep *r, sqlite3_stmt *st);
int64_t kj_rep_int(struct kj_rep *r, const char *sql);
double kj_rep_real(struct kj_rep *r, const char *sql); /* NAN for NULL */

/* Column helpers: never NULL; "" for NULL. */
const char *kj_rep_text(sqlite3_stmt *st, int col);
double kj_rep_num(sqlite3_stmt *st, int col); /* NAN for NULL */

/* Numbers for people. */
void kj_put_count(struct kj_buf *b, int64_t n); /* 1,234,567 */
void kj_put_bytes(struct kj_buf *b, double n);  /* 1.2 GB */
void kj_put_percent(struct kj_buf *b, double part, double whole);
void kj_put_value(struct kj_buf *b, double v); /* at most four digits */

/* A bar of `width` columns, in eighths of a column, padded with blanks (negative
 * width: not padded). */
void kj_put_bar(struct kj_buf *b, double share, int width);

/* Text for a terminal: no control characters, `width` columns, padded. */
void kj_put_cell(struct kj_buf *b, const char *z, int width);

/* ---- HTML ---- */
void kj_put_html(struct kj_buf *b, const char *z);                 /* escaped */
void kj_put_html_n(struct kj_buf *b, const char *z, size_t chars); /* cut short */

/* For the section files: text into the page being written, `r` in scope. */
#define P(...) kj_buf_printf(r->out, __VA_ARGS__)
#define Z(z)   kj_buf_addz(r->out, z)
/* A bar of two parts, shares of its width: solid, then hatched. */
void kj_rep_bar(struct kj_rep *r, const char *class, double solid, double hatched);
void kj_rep_cell(struct kj_rep *r, int64_t n); /* <td>s, right-aligned */
void kj_rep_cell_bytes(struct kj_rep *r, double n);
void kj_rep_cell_percent(struct kj_rep *r, double part, double whole);

/* ---- sections, each nothing where the ledger has nothing to say ---- */
void kj_rep_reasons(struct kj_rep *r); /* report_rules.c */
void kj_rep_rules(struct kj_rep *r);   /* report_rules.c */
void kj_rep_kept(struct kj_rep *r);    /* report_rules.c: examples of what stays */
void kj_rep_cuts(struct kj_rep *r);    /* report_bands.c: "the best 10 %" */
void kj_rep_bands(struct kj_rep *r);   /* report_bands.c */
void kj_rep_bands_text(struct kj_rep *r, int width);
void kj_rep_clusters(struct kj_rep *r); /* report_clusters.c */
/* source, documents that came to a deduplication, removed by it, 1 where that is
 * alarming; the alarming ones first, then those that lose most. */
extern const char kj_rep_removals[];
/* The alarm: share of documents; as the option that was given. */
double kj_rep_alarm(struct kj_rep *r);
void kj_rep_copies(struct kj_rep *r);   /* report_copies.c: behind the clusters */
void kj_rep_training(struct kj_rep *r); /* report_training.c */
void kj_rep_scores(struct kj_rep *r);   /* report_scores.c: of models */
void kj_rep_scores_text(struct kj_rep *r);
void kj_rep_refine(struct kj_rep *r); /* report_refine.c */
void kj_rep_refine_text(struct kj_rep *r);

/* ---- drawings (report_plot.c), each an <svg> ---- */
struct kj_bin {
    double lo, hi, docs, dropped;
};
struct kj_hist {
    struct kj_bin *bins; /* ordered; owned by the caller */
    size_t n;
    double threshold; /* NAN: none */
    const char *op;
    const char *label; /* for screen readers */
};
void kj_plot_hist(struct kj_buf *b, const struct kj_hist *h);
/* A curve: y over x; a noisy one with a smoothed one on top. */
struct kj_point {
    double x, y;
};
void kj_plot_curve(struct kj_buf *b, const struct kj_point *all, size_t total,
                   bool noisy, const char *label, const char *x_label);
/* Columns with labels below. */
struct kj_column {
    char label[24];
    double docs;
};
void kj_plot_columns(struct kj_buf *b, const struct kj_column *c, size_t n,
                     const char *label);

#endif
