/* stages.c - the stages of a run, told to a person and as JSON. */
#include "commands/stages.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/opt.h"

/* Tokens of a stage's source by its weight. */
static double tokens_of(const struct kj_run *r, const struct kj_run_stage *s, size_t k)
{
    double sum = 0, n = (double)(s->end - s->begin);
    for (size_t i = 0; i < s->n_sources; i++)
        sum += s->sources[i].weight;
    return n * (double)(r->data.batch * r->data.seq_len) * s->sources[k].weight / sum;
}

/* Tokens of its set, 0 when not known. */
static uint64_t available(const struct kj_datas *d, const struct kj_run_source *s)
{
    return s->set < d->n ? d->v[s->set].tokens : 0;
}

static const char *shape_name(const struct kj_run_stage *s, char *buf, size_t n)
{
    const struct kj_opt *o = kj_stage_opts;
    while (strcmp(o->name, "shape") != 0)
        o++;
    const char *w = o->arg;
    for (int i = s->shape; i > 0; i--)
        w = strchr(w, '|') + 1;
    snprintf(buf, n, "%.*s", (int)strcspn(w, "|"), w);
    return buf;
}

static void amount(double v, char *buf, size_t n)
{
    static const char *const p[] = {"", " K", " M", " B", " T"};
    size_t i = 0;
    for (; v >= 1000 && i < 4; i++)
        v /= 1000;
    snprintf(buf, n, "%.4g%s", v, p[i]);
}

void kj_stages_print(const struct kj_run *r, const struct kj_datas *d, const char *lead)
{
    for (size_t i = 0; i < r->n_stages; i++) {
        const struct kj_run_stage *s = &r->stages[i];
        char shape[16], n[32], name[48];
        snprintf(name, sizeof name, "stage %s", s->name);
        amount((double)((s->end - s->begin) * r->data.batch * r->data.seq_len), n,
               sizeof n);
        printf("%s%-22s %s tokens, steps %" PRId64 " to %" PRId64
               "; rate %s, %.3g to %.3g of the peak\n",
               lead, name, n, s->begin + 1, s->end, shape_name(s, shape, sizeof shape),
               kj_schedule_factor(r, s->begin), kj_schedule_factor(r, s->end - 1));
        for (size_t k = 0; k < s->n_sources; k++) {
            const struct kj_run_source *c = &s->sources[k];
            double t = tokens_of(r, s, k);
            amount(t, n, sizeof n);
            printf("%s%-22s %s tokens from %s", lead, "", n,
                   r->sets[c->set] ? r->sets[c->set] : "--data");
            if (available(d, c))
                printf(", %.3g epochs of it", t / (double)available(d, c));
            printf("\n");
        }
    }
}

void kj_stages_json(const struct kj_run *r, const struct kj_datas *d,
                    struct kj_buf *out)
{
    int64_t step = r->data.batch * r->data.seq_len;
    kj_buf_addz(out, "[");
    for (size_t i = 0; i < r->n_stages; i++) {
        const struct kj_run_stage *s = &r->stages[i];
        char shape[16];
        kj_buf_printf(out,
                      "%s{\"name\":\"%s\",\"begin\":%" PRId64 ",\"end\":%" PRId64
                      ",\"tokens\":%" PRId64 ",\"shape\":\"%s\",\"first_factor\":",
                      i ? "," : "", s->name, s->begin, s->end,
                      (s->end - s->begin) * step, shape_name(s, shape, sizeof shape));
        kj_json_put_real(out, kj_schedule_factor(r, s->begin));
        kj_buf_addz(out, ",\"last_factor\":");
        kj_json_put_real(out, kj_schedule_factor(r, s->end - 1));
        for (size_t k = 0; k < s->n_sources; k++) {
            const struct kj_run_source *c = &s->sources[k];
            const char *path = r->sets[c->set] ? r->sets[c->set] : "";
            kj_buf_addz(out, k ? ",{\"path\":" : ",\"data\":[{\"path\":");
            kj_json_put_str(out, path, strlen(path));
            kj_buf_addz(out, ",\"weight\":");
            kj_json_put_real(out, c->weight);
            kj_buf_addz(out, ",\"tokens\":");
            kj_json_put_real(out, tokens_of(r, s, k));
            kj_buf_printf(out, ",\"available\":%" PRIu64 "}", available(d, c));
        }
        kj_buf_addz(out, "]}");
    }
    kj_buf_addz(out, "]");
}
