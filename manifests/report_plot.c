/* report_plot.c - the drawings of the report: small SVG texts. Sizes are in
 * units of a viewBox; styles come from report.css by class. */
#include "manifests/report_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BINS 48

/* ------------------------------------------------------------- axes, ticks */

/* A round step that gives about n ticks over a span. */
static double nice_step(double span, int n)
{
    double raw = span / n, mag = pow(10, floor(log10(raw))), f = raw / mag;
    return (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10) * mag;
}

static void put_tick(struct kj_buf *b, double x, double y, const char *anchor, double v)
{
    kj_buf_printf(b, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">",
                  x, y, anchor);
    if (fabs(v) >= 1e6)
        kj_buf_printf(b, "%.3gM", v / 1e6);
    else if (fabs(v) >= 1e4)
        kj_buf_printf(b, "%.3gk", v / 1e3);
    else
        kj_buf_printf(b, "%.4g", fabs(v) < 1e-12 ? 0.0 : v);
    kj_buf_addz(b, "</text>");
}

/* --------------------------------------------------------------- histogram */

struct axis {
    double lo, hi;
    bool log, whole; /* whole: one column per whole number */
    size_t n;
};

/* The value below which `share` of the documents lie. */
static double quantile(const struct kj_hist *h, double share)
{
    double all = 0, seen = 0;
    for (size_t i = 0; i < h->n; i++)
        all += h->bins[i].docs;
    for (size_t i = 0; i < h->n; i++) {
        seen += h->bins[i].docs;
        if (seen >= share * all)
            return h->bins[i].lo;
    }
    return h->n ? h->bins[h->n - 1].hi : 0;
}

/* What to show: all but the outermost half percents, and always the cut. A
 * logarithmic axis where most of the range would be one column otherwise. */
static struct axis choose_axis(const struct kj_hist *h)
{
    struct axis a = {quantile(h, 0.005), quantile(h, 0.995), false, true, BINS};
    double cut = h->threshold;
    if (!isnan(cut)) {
        double pad = 0.08 * (fmax(a.hi, cut) - fmin(a.lo, cut));
        a.lo = cut <= a.lo ? cut - pad : a.lo;
        a.hi = cut >= a.hi ? cut + pad : a.hi;
    }
    if (a.lo < 0 && h->n && h->bins[0].lo >= 0)
        a.lo = 0;
    for (size_t i = 0; i < h->n && a.whole; i++)
        a.whole = h->bins[i].lo == floor(h->bins[i].lo);
    a.whole = a.whole && (isnan(cut) || cut == floor(cut)) && a.hi - a.lo < 64;
    if (a.whole) {
        a.lo = floor(a.lo);
        a.hi = floor(a.hi) + 1;
        a.n = (size_t)(a.hi - a.lo);
        return a;
    }
    double mid = quantile(h, 0.5);
    if (a.lo >= 0 && mid > 0 && a.hi / mid > 12) {
        double first = quantile(h, 0.02);
        a.log = true;
        if (a.lo <= 0)
            a.lo = first > 0 ? first : a.hi / 1000;
        if (!isnan(cut) && cut > 0 && cut < a.lo)
            a.lo = cut * 0.8;
        a.lo = log(a.lo);
        a.hi = log(a.hi);
    }
    if (!(a.hi > a.lo))
        a.hi = a.lo + 1;
    /* The cut stands on an edge between columns. */
    double w = (a.hi - a.lo) / BINS, c = a.log && cut > 0 ? log(cut) : cut;
    if (!isnan(c) && !(a.log && cut <= 0) && c > a.lo && c < a.hi) {
        double lo = c - ceil((c - a.lo) / w) * w;
        a.lo = a.log || lo >= 0 || a.lo < 0 ? lo : a.lo;
        a.hi = a.lo + w * BINS;
    }
    return a;
}

static double place(const struct axis *a, double v)
{
    double t = a->log ? (v > 0 ? log(v) : a->lo) : v;
    return (t - a->lo) / (a->hi - a->lo) * (double)a->n;
}

/* Spread the ledger's buckets over the columns, by overlap. */
static void rebin(const struct kj_hist *h, const struct axis *a, struct kj_bin *out)
{
    memset(out, 0, a->n * sizeof *out);
    double top = (double)a->n - 1e-9;
    for (size_t i = 0; i < h->n; i++) {
        const struct kj_bin *s = &h->bins[i];
        double p = place(a, s->lo), q = place(a, a->whole ? s->lo : s->hi);
        p = p < 0 ? 0 : p > top ? top : p;
        q = q < p ? p : q > top ? top : q;
        for (size_t k = (size_t)p; k <= (size_t)q; k++) {
            double from = fmax(p, (double)k), to = fmin(q, (double)k + 1);
            double share = q > p ? (to - from) / (q - p) : 1;
            out[k].docs += share * s->docs;
            out[k].dropped += share * s->dropped;
        }
    }
}

#define HW 320.0
#define HH 96.0

enum { KEPT, DROPPED, OTHER }; /* OTHER: beyond the cut, but fell to another rule */

/* Columns of one kind; beyond the cut are those inside out[0]..out[1]. */
static void put_columns(struct kj_buf *b, const struct kj_bin *bins, size_t n,
                        double scale, int kind, const double out[2])
{
    static const char *const class[] = {"k", "d", "o"};
    double w = HW / (double)n, gap = n > 30 ? 0.4 : 1;
    kj_buf_printf(b, "<path class=\"%s\" d=\"", class[kind]);
    for (size_t i = 0; i < n; i++) {
        double mid = (double)i + 0.5;
        bool beyond = mid > out[0] && mid < out[1];
        double base = kind == DROPPED ? 0 : bins[i].dropped;
        double v = kind == DROPPED ? bins[i].dropped : bins[i].docs - bins[i].dropped;
        double y0 = fmin(base * scale, HH), y1 = fmin((base + v) * scale, HH);
        if (v <= 0 || y1 <= y0 || (kind != DROPPED && beyond != (kind == OTHER)))
            continue;
        kj_buf_printf(b, "M%.1f %.1fh%.1fv%.2fh%.1fz", (double)i * w + gap / 2, HH - y0,
                      w - gap, -fmax(y1 - y0, 0.6), -(w - gap));
    }
    kj_buf_addz(b, "\"/>");
}

/* The cut: a line with its name over the columns. */
static void put_cut(struct kj_buf *b, const struct kj_hist *h, double x)
{
    kj_buf_printf(b,
                  "<path class=\"cut\" d=\"M%.1f -3V%.0f\"/><text class=\"cut\""
                  " x=\"%.1f\" y=\"-5\" text-anchor=\"%s\">",
                  x, HH, x,
                  x < 30        ? "start"
                  : x > HW - 30 ? "end"
                                : "middle");
    kj_put_html(b, h->op);
    kj_buf_addc(b, ' ');
    kj_put_value(b, h->threshold);
    kj_buf_addz(b, "</text>");
}

/* One column that dwarfs the rest is cut off, with its number beside it. */
static double column_scale(const struct kj_bin *bins, size_t n, size_t *tall)
{
    double first = 0, second = 0;
    *tall = n;
    for (size_t i = 0; i < n; i++) {
        if (bins[i].docs > first) {
            second = first;
            first = bins[i].docs;
            *tall = i;
        } else if (bins[i].docs > second) {
            second = bins[i].docs;
        }
    }
    if (second > 0 && first > 5 * second)
        return HH / (1.5 * second);
    *tall = n;
    return first > 0 ? HH / (1.08 * first) : 0;
}

static void put_ticks(struct kj_buf *b, const struct axis *a)
{
    double w = HW / (double)a->n;
    if (a->log) {
        static const double m[] = {1, 2, 5};
        double decades = (a->hi - a->lo) / log(10), last = -100;
        for (int e = (int)floor(a->lo / log(10)) - 1; e < 40; e++)
            for (int k = 0; k < 3; k++) {
                double v = m[k] * pow(10, e), x = place(a, v) * w;
                if ((decades > 2.5 && k) || x < 0 || x > HW || x - last < 34)
                    continue;
                put_tick(b, x, HH + 13, "middle", v);
                last = x;
            }
        return;
    }
    double step = nice_step(a->hi - a->lo, 5);
    if (a->whole && step < 1)
        step = 1;
    for (double v = ceil(a->lo / step) * step; v <= a->hi + step * 1e-6; v += step) {
        double x = (place(a, v) + (a->whole ? 0.5 : 0)) * w;
        if (x <= HW + 0.5)
            put_tick(b, x, HH + 13,
                     x > HW - 12 ? "end"
                     : x < 12    ? "start"
                                 : "middle",
                     v);
    }
}

void kj_plot_hist(struct kj_buf *b, const struct kj_hist *h)
{
    struct kj_bin bins[BINS > 66 ? BINS : 66];
    struct axis a = choose_axis(h);
    size_t tall;
    rebin(h, &a, bins);
    double scale = column_scale(bins, a.n, &tall), w = HW / (double)a.n;
    kj_buf_printf(
        b, "<svg class=\"hist\" viewBox=\"-2 -14 %.0f %.0f\" role=\"img\"><title>",
        HW + 4, HH + 30);
    kj_put_html(b, h->label);
    kj_buf_addz(b, "</title>");
    bool has_cut = !isnan(h->threshold) && h->op && *h->op;
    double out[2] = {-1, -1}, cut = 0;
    if (has_cut) {
        /* In whole numbers, "> 20" and "<= 20" part 20 from 21. */
        bool above = strcmp(h->op, ">") == 0 || strcmp(h->op, "<=") == 0;
        cut = place(&a, h->threshold + (a.whole && above ? 1 : 0));
        cut = fmax(0, fmin((double)a.n, cut));
        out[0] = h->op[0] == '<' ? 0 : cut;
        out[1] = h->op[0] == '<' ? cut : (double)a.n;
        kj_buf_printf(b,
                      "<rect class=\"out\" x=\"%.1f\" y=\"0\" width=\"%.1f\""
                      " height=\"%.0f\"/>",
                      out[0] * w, (out[1] - out[0]) * w, HH);
    }
    for (int kind = KEPT; kind <= OTHER; kind++)
        put_columns(b, bins, a.n, scale, kind, out);
    if (has_cut)
        put_cut(b, h, cut * w);
    if (tall < a.n) {
        double x = ((double)tall + 0.5) * w;
        bool right = x < HW / 2;
        kj_buf_printf(b,
                      "<path class=\"torn\" d=\"M%.1f 5l%.1f -4\"/><text class=\"tick\""
                      " x=\"%.1f\" y=\"9\" text-anchor=\"%s\">",
                      x - w / 2 - 2, w + 4, right ? x + w / 2 + 4 : x - w / 2 - 4,
                      right ? "start" : "end");
        kj_put_count(b, (int64_t)llround(bins[tall].docs));
        kj_buf_addz(b, "</text>");
    }
    kj_buf_printf(b, "<path class=\"axis\" d=\"M0 %.1fH%.0f\"/>", HH + 0.5, HW);
    put_ticks(b, &a);
    kj_buf_addz(b, "</svg>");
}

/* ----------------------------------------------------------------- columns */

void kj_plot_columns(struct kj_buf *b, const struct kj_column *c, size_t n,
                     const char *label)
{
    double most = 0, w = n ? HW / (double)n : HW;
    size_t every = n > 14 ? (n + 9) / 10 : 1;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, c[i].docs);
    kj_buf_printf(
        b, "<svg class=\"hist\" viewBox=\"-2 -14 %.0f %.0f\" role=\"img\"><title>",
        HW + 4, HH + 30);
    kj_put_html(b, label);
    kj_buf_addz(b, "</title><path class=\"k\" d=\"");
    for (size_t i = 0; i < n; i++) {
        double h = most > 0 ? HH * c[i].docs / most : 0;
        if (c[i].docs > 0)
            kj_buf_printf(b, "M%.1f %.1fh%.1fv%.2fh%.1fz", (double)i * w + 0.5, HH,
                          w - 1, -fmax(h, 0.8), -(w - 1));
    }
    kj_buf_printf(b, "\"/><path class=\"axis\" d=\"M0 %.1fH%.0f\"/>", HH + 0.5, HW);
    for (size_t i = 0; i < n; i += every) {
        kj_buf_printf(
            b, "<text class=\"tick\" x=\"%.1f\" y=\"%.0f\" text-anchor=\"middle\">",
            ((double)i + 0.5) * w, HH + 13);
        kj_put_html(b, c[i].label);
        kj_buf_addz(b, "</text>");
        if (n <= 10 && c[i].docs > 0) {
            kj_buf_printf(
                b, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">",
                ((double)i + 0.5) * w, HH - HH * c[i].docs / most - 3);
            kj_put_count(b, (int64_t)c[i].docs);
            kj_buf_addz(b, "</text>");
        }
    }
    kj_buf_addz(b, "</svg>");
}

/* ------------------------------------------------------------------- curve */

#define CW           720.0
#define CH           220.0
#define CURVE_POINTS 500

/* Means of runs of points, so that a million steps draw as fast as a hundred. */
static size_t thin(const struct kj_point *p, size_t n, struct kj_point *out)
{
    size_t m = n < CURVE_POINTS ? n : CURVE_POINTS;
    for (size_t k = 0; k < m; k++) {
        size_t from = k * n / m, to = (k + 1) * n / m;
        out[k] = (struct kj_point){0, 0};
        for (size_t i = from; i < to; i++) {
            out[k].x += p[i].x / (double)(to - from);
            out[k].y += p[i].y / (double)(to - from);
        }
    }
    return m;
}

static void put_line(struct kj_buf *b, const struct kj_point *p, size_t n,
                     const double box[4], const char *class)
{
    kj_buf_printf(b, "<path class=\"%s\" d=\"", class);
    for (size_t i = 0; i < n; i++)
        kj_buf_printf(b, "%c%.1f %.1f", i ? 'L' : 'M',
                      CW * (p[i].x - box[0]) / (box[1] - box[0]),
                      CH - CH * (p[i].y - box[2]) / (box[3] - box[2]));
    kj_buf_addz(b, "\"/>");
}

void kj_plot_curve(struct kj_buf *b, const struct kj_point *all, size_t total,
                   bool noisy, const char *label, const char *x_label)
{
    struct kj_point p[CURVE_POINTS] = {{0, 0}}, s[CURVE_POINTS];
    size_t n = thin(all, total, p);
    if (!n)
        return;
    double box[4] = {p[0].x, p[n - 1].x, INFINITY, -INFINITY};
    if (!(box[1] > box[0]))
        box[1] = box[0] + 1;
    double keep = n > 20 ? 1 - 20.0 / (double)n : 0, mean = p[0].y, weight = 1;
    for (size_t i = 0; i < n; i++) {
        box[2] = fmin(box[2], p[i].y);
        box[3] = fmax(box[3], p[i].y);
        mean = i ? (keep * weight * mean + p[i].y) / (keep * weight + 1) : p[i].y;
        weight = i ? keep * weight + 1 : 1;
        s[i] = (struct kj_point){p[i].x, mean};
    }
    double pad = box[3] > box[2] ? 0.05 * (box[3] - box[2]) : 1;
    box[2] -= pad;
    box[3] += pad;
    kj_buf_printf(
        b, "<svg class=\"curve\" viewBox=\"-44 -8 %.0f %.0f\" role=\"img\"><title>",
        CW + 60, CH + 42);
    kj_put_html(b, label);
    kj_buf_addz(b, "</title>");
    double step = nice_step(box[3] - box[2], 5);
    for (double v = ceil(box[2] / step) * step; v <= box[3]; v += step) {
        double y = CH - CH * (v - box[2]) / (box[3] - box[2]);
        kj_buf_printf(b, "<path class=\"grid\" d=\"M0 %.1fH%.0f\"/>", y, CW);
        put_tick(b, -6, y + 3.5, "end", v);
    }
    step = nice_step(box[1] - box[0], 8);
    for (double v = ceil(box[0] / step) * step; v <= box[1]; v += step)
        put_tick(b, CW * (v - box[0]) / (box[1] - box[0]), CH + 15, "middle", v);
    if (noisy)
        put_line(b, p, n, box, "raw");
    put_line(b, noisy ? s : p, n, box, "smooth");
    kj_buf_printf(b, "<path class=\"axis\" d=\"M0 0V%.0fH%.0f\"/>", CH, CW);
    kj_buf_printf(b, "<text class=\"tick\" x=\"%.0f\" y=\"%.0f\" text-anchor=\"end\">",
                  CW, CH + 31);
    kj_put_html(b, x_label);
    kj_buf_addz(b, "</text></svg>");
}
