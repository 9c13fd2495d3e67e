/* tokenizer_stats.c - the tables and the JSON of `kijil tokenizer stats`. */
#include "commands/tokenizer_stats.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

/* ---- sums of groups ---- */

static void sum(struct kj_tok_group *to, const struct kj_tok_group *g)
{
    to->documents += g->documents;
    to->bytes += g->bytes;
    to->characters += g->characters;
    to->words += g->words;
    for (size_t i = 0; i < KJ_TOK_STATS_MAX; i++)
        to->tokens[i] += g->tokens[i];
}

/* Call row with each group, behind the groups of a language with several sources
 * with their sum, and of several languages at the end with the sum of all; "*" stands for any. */
static void each_row(const struct kj_tok_stats *s, struct kj_buf *out,
                     void (*row)(const struct kj_tok_stats *s,
                                 const struct kj_tok_group *g, struct kj_buf *out))
{
    static char any[] = "*";
    struct kj_tok_group all = {.language = any, .source = any}, of = {0};
    size_t sources = 0, languages = 0;
    for (size_t i = 0; i < s->n_groups; i++) {
        const struct kj_tok_group *g = &s->groups[i];
        bool first = i == 0 || strcmp(g->language, g[-1].language) != 0;
        bool last = i + 1 == s->n_groups || strcmp(g->language, g[1].language) != 0;
        if (first)
            of = (struct kj_tok_group){.language = g->language, .source = any};
        languages += first;
        sources = first ? 1 : sources + 1;
        row(s, g, out);
        sum(&of, g);
        sum(&all, g);
        if (last && sources > 1)
            row(s, &of, out);
    }
    if (languages != 1)
        row(s, &all, out);
}

/* ---- tables ---- */

static const char *shown(const char *name)
{
    return *name ? name : "-";
}

static void text_row(const struct kj_tok_stats *s, const struct kj_tok_group *g,
                     struct kj_buf *out)
{
    for (size_t i = 0; i < s->n; i++)
        kj_buf_printf(out,
                      "%-8s %-16s %10" PRIu64 " %12" PRIu64 " %10zu %12" PRIu64
                      " %10.4f %10.4f %10.4f\n",
                      shown(g->language), shown(g->source), g->documents, g->bytes,
                      i + 1, g->tokens[i], ratio(g->tokens[i], g->words),
                      ratio(g->bytes, g->tokens[i]),
                      ratio(g->characters, g->tokens[i]));
}

static void percent(struct kj_buf *out, uint64_t a, uint64_t b)
{
    char text[32];
    snprintf(text, sizeof text, "%.2f %%", 100 * ratio(a, b));
    kj_buf_printf(out, " %10s", b ? text : "-");
}

static void text(const struct kj_tok_stats *s, struct kj_buf *out)
{
    kj_buf_addz(out, "vocabulary     tokens     unused  syllables   KS X 1001 "
                     "     alone      whole  file\n");
    for (size_t i = 0; i < s->n; i++) {
        const struct kj_tok_vocab_stats *v = &s->v[i];
        kj_buf_printf(out, "%10zu %10u %10u", i + 1, v->size, v->size - v->used);
        if (v->hangul)
            kj_buf_printf(out, " %10u", v->syllables);
        else
            kj_buf_printf(out, " %10s", "-");
        if (v->hangul && s->ksx1001)
            kj_buf_printf(out, "  %10u", v->ksx1001);
        else
            kj_buf_printf(out, "  %10s", "-");
        percent(out, v->text_one, v->text);
        percent(out, v->text_whole, v->text);
        kj_buf_printf(out, "  %s\n", kj_tok_name(s->tok[i]));
    }
    kj_buf_addz(out, "\nlanguage source            documents        bytes vocabulary "
                     "      tokens   tok/word   byte/tok   char/tok\n");
    each_row(s, out, text_row);
}

/* ---- JSON ---- */

static void json_row(const struct kj_tok_stats *s, const struct kj_tok_group *g,
                     struct kj_buf *out)
{
    if (out->p[out->n - 1] == '}')
        kj_buf_addc(out, ',');
    kj_buf_addz(out, "\n  {\"language\":");
    kj_json_put_str(out, g->language, strlen(g->language));
    kj_buf_addz(out, ",\"source\":");
    kj_json_put_str(out, g->source, strlen(g->source));
    kj_buf_printf(out,
                  ",\"documents\":%" PRIu64 ",\"bytes\":%" PRIu64
                  ",\"characters\":%" PRIu64 ",\"words\":%" PRIu64
                  ",\"vocabularies\":[",
                  g->documents, g->bytes, g->characters, g->words);
    for (size_t i = 0; i < s->n; i++)
        kj_buf_printf(out,
                      "%s{\"tokens\":%" PRIu64 ",\"tokens_per_word\":%.6f,"
                      "\"bytes_per_token\":%.6f,\"characters_per_token\":%.6f}",
                      i ? "," : "", g->tokens[i], ratio(g->tokens[i], g->words),
                      ratio(g->bytes, g->tokens[i]),
                      ratio(g->characters, g->tokens[i]));
    kj_buf_addz(out, "]}");
}

static void json_hangul(const struct kj_tok_stats *s,
                        const struct kj_tok_vocab_stats *v, struct kj_buf *out)
{
    kj_buf_printf(out, "{\"syllables\":%u,\"of\":%u", v->syllables, KJ_HANGUL_N);
    if (s->ksx1001)
        kj_buf_printf(out, ",\"ksx1001\":%u,\"ksx1001_of\":%u", v->ksx1001,
                      KJ_KSX1001_N);
    kj_buf_printf(out,
                  ",\"in_text\":%" PRIu64 ",\"in_text_alone\":%" PRIu64
                  ",\"in_text_whole\":%" PRIu64 "}",
                  v->text, v->text_one, v->text_whole);
}

static void json(const struct kj_tok_stats *s, struct kj_buf *out)
{
    kj_buf_addz(out, "{\"vocabularies\":[");
    for (size_t i = 0; i < s->n; i++) {
        const struct kj_tok_vocab_stats *v = &s->v[i];
        const char *name = kj_tok_name(s->tok[i]), *hash = kj_tok_hash(s->tok[i]);
        kj_buf_addz(out, i ? ",\n  {\"name\":" : "\n  {\"name\":");
        kj_json_put_str(out, name, strlen(name));
        kj_buf_addz(out, ",\"hash\":");
        kj_json_put_str(out, hash, strlen(hash));
        kj_buf_printf(out, ",\"tokens\":%u,\"unused\":%u,\"hangul\":", v->size,
                      v->size - v->used);
        if (v->hangul)
            json_hangul(s, v, out);
        else
            kj_buf_addz(out, "null");
        kj_buf_addc(out, '}');
    }
    kj_buf_addz(out, "],\n \"groups\":[");
    each_row(s, out, json_row);
    kj_buf_addz(out, "]}\n");
}

int kj_tokenizer_stats_print(const struct kj_tok_stats *s, bool as_json,
                             struct kj_buf *out)
{
    if (as_json)
        json(s, out);
    else
        text(s, out);
    return out->n && out->p[out->n - 1] == '\n' ? KJ_OK : KJ_FAIL;
}
