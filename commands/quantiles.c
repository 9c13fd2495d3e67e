/* quantiles.c - what a survey found in the order of scores, for people. */
#include "commands/commands.h"

#include "base/mem.h"
#include "base/stage.h"

#include <inttypes.h>
#include <math.h>

#define LINES_MAX 12 /* of bands; the ledger has all */

static void put_bound(struct kj_buf *b, double v)
{
    if (isnan(v))
        kj_buf_addz(b, "?");
    else
        kj_buf_printf(b, "%.6g", v);
}

static void put_sample(struct kj_buf *b, const struct kj_quantile *q)
{
    if (isnan(q->share_low))
        return;
    kj_buf_addz(b, "; from a sample: with 95 % confidence the exact cut is in ");
    put_bound(b, q->low);
    kj_buf_addz(b, "..");
    put_bound(b, q->high);
    kj_buf_printf(b, ", and %.4g..%.4g %% of the documents are above this one",
                  100 * q->share_low, 100 * q->share_high);
}

static void put_cut(struct kj_buf *b, const struct kj_quantile *q)
{
    kj_buf_printf(b, "%s: the best %.6g %% are those from %.9g up", q->score,
                  100 * q->share, q->cut);
    put_sample(b, q);
    kj_buf_printf(b, " (%" PRIu64 " of %" PRIu64 " documents looked at)\n", q->seen,
                  q->docs);
}

/* The bands of one score and language, from v[0] on: a line with some edges. */
static void put_bands(struct kj_buf *b, const struct kj_quantile *v, size_t n)
{
    kj_buf_printf(b, "%s%s%s: %" PRIu64 " of %" PRIu64 " documents looked at", v->score,
                  *v->language ? ", " : "", v->language, v->seen, v->docs);
    for (size_t i = 0; i < 5; i++) { /* the best, and four in even steps down */
        size_t at = (n - 1) * (4 - i) / 4;
        kj_buf_printf(b, "%s%d from ", i ? ", " : "; band ", v[at].band);
        put_bound(b, v[at].cut);
    }
    kj_buf_addc(b, '\n');
}

void kj_cmd_print_quantiles(const char *name, const struct kj_common *c,
                            const struct kj_stage *stage, const void *cfg)
{
    struct kj_quantiles q = {0};
    struct kj_buf b;
    size_t lines = 0, left = 0;
    if (c->quiet || !stage->quantiles)
        return;
    stage->quantiles(cfg, &q);
    kj_buf_init(&b, 1 << 16);
    for (size_t i = 0, n; i < q.n; i += n) {
        n = 1; /* bands of a score and a language stand together, 0 first */
        while (i + n < q.n && q.v[i].band >= 0 && q.v[i + n].band > 0)
            n++;
        if (++lines > LINES_MAX) {
            left++;
            continue;
        }
        kj_buf_printf(&b, "kijil %s: ", name);
        if (q.v[i].band < 0)
            put_cut(&b, &q.v[i]);
        else
            put_bands(&b, &q.v[i], n);
    }
    if (left)
        kj_buf_printf(&b, "kijil %s: ... and %zu more languages and scores\n", name,
                      left);
    fwrite(b.p, 1, b.n, stderr);
    kj_buf_release(&b);
}
