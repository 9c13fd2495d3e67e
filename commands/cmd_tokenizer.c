/* cmd_tokenizer.c - `kijil tokenizer train|encode|decode|count|stats`. */
#include "commands/commands.h"
#include "commands/tokenizer_stats.h"
#include "tokenize/shards.h"
#include "tokenize/train.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/jsonl.h"
#include "base/mem.h"
#include "base/output.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    bool jsonl, lines, add_special, skip_special;
    struct kj_strs against;
    bool json;
};
#define OFF(f) offsetof(struct options, f)
static const struct kj_opt options_table[] = {
    {"jsonl", 0, KJ_OPT_FLAG, OFF(jsonl), NULL,
     "input is JSONL: {text} lines, for decode {ids} lines; else plain text by lines",
     NULL, 0, 0},
    {"lines", 0, KJ_OPT_FLAG, OFF(lines), NULL,
     "input is plain text, even if its first line looks like a document", NULL, 0, 0},
    {"add_special", 0, KJ_OPT_FLAG, OFF(add_special), NULL,
     "encode, count: add the special tokens of the file's template", NULL, 0, 0},
    {"skip_special", 0, KJ_OPT_FLAG, OFF(skip_special), NULL,
     "decode: leave special tokens out", NULL, 0, 0},
    {"against", 0, KJ_OPT_LIST, OFF(against), "FILE",
     "stats: more vocabularies to compare with that of -t", NULL, 0, 0},
    {"json", 0, KJ_OPT_FLAG, OFF(json), NULL,
     "stats: one JSON object instead of tables", NULL, 0, 0},
    {0},
};
#undef OFF

struct job {
    struct options o;
    struct kj_tokenize cfg;
    struct kj_tok_train train;
    struct kj_common common;
    struct kj_strs files;
    bool ends;     /* lines keep their ends */
    bool textless; /* lines hold ids */
    struct kj_output *out;
    /* count */
    uint64_t documents, bytes, characters, words, tokens;
};

/* Plain text that turns out to be documents: names, quotes and braces would be
 * taken for text without a word about it, so it stops and asks. */
struct plain {
    struct kj_source inner;
    bool checked;
};

static bool is_document(struct kj_str line)
{
    struct kj_json *json = kj_json_new();
    const struct kj_jval *v, *text = NULL;
    struct kj_err ignored = KJ_ERR_INIT;
    if (line.n && line.p[0] == '{' &&
        kj_json_parse(json, line.p, line.n, &v, &ignored) == KJ_OK)
        text = kj_jget(v, "text");
    bool is = text && text->kind == KJ_J_STR;
    kj_json_free(json);
    return is;
}

static int plain_read(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct plain *p = self;
    int rc = p->inner.read(p->inner.self, b, err);
    if (rc == KJ_OK && b->n && !p->checked && is_document(b->docs[0].text))
        return kj_err_set(err, KJ_USAGE,
                          "the input is documents, not plain text: --jsonl takes their "
                          "text, --lines takes the lines as they are");
    p->checked = true;
    return rc;
}

static int plain_decode(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct plain *p = self;
    return p->inner.decode(p->inner.self, b, err);
}

static void plain_close(void *self)
{
    struct plain *p = self;
    p->inner.close(p->inner.self);
    free(p);
}

static int open_source(void *self, struct kj_source *out, struct kj_err *err)
{
    const struct job *j = self;
    const char *const *v = j->files.v;
    if (j->o.jsonl) {
        int rc = kj_jsonl_source(out, v, j->files.n, err);
        if (rc == KJ_OK && j->textless)
            kj_jsonl_textless(out);
        return rc;
    }
    if (j->o.lines)
        return kj_tok_text_source(out, v, j->files.n, j->ends, err);
    struct plain *p = kj_xcalloc(1, sizeof *p);
    int rc = kj_tok_text_source(&p->inner, v, j->files.n, j->ends, err);
    if (rc) {
        free(p);
        return rc;
    }
    *out = (struct kj_source){
        .self = p, .read = plain_read, .decode = plain_decode, .close = plain_close};
    return KJ_OK;
}

static int write_out(void *self, struct kj_batch *b, struct kj_err *err)
{
    struct job *j = self;
    return b->out.n ? kj_output_write(j->out, b->out.p, b->out.n, err) : KJ_OK;
}

static int full(struct kj_err *err)
{
    return kj_err_set(err, KJ_FAIL, "the output of one batch is too large");
}

static int commit_output(void *self, struct kj_err *err)
{
    struct job *j = self;
    return kj_output_commit(j->out, err);
}

static void abort_output(void *self)
{
    struct job *j = self;
    kj_output_abort(j->out);
}

/* Drive the stage into a sink that formats b->out, and commit the output. */
static int drive(const struct kj_cmd *cmd, struct job *j, const struct kj_stage *stage,
                 void *cfg, struct kj_sink sink)
{
    struct kj_err err = KJ_ERR_INIT;
    if (kj_output_open(&j->out, j->common.output, &err))
        return kj_cmd_fail(cmd, &err);
    j->common.inputs = j->files.v;
    j->common.n_inputs = j->files.n;
    struct kj_cmd_sink own = {
        .sink = sink, .self = j, .commit = commit_output, .abort = abort_output};
    return kj_cmd_drive(cmd, &j->common, stage, cfg,
                        (struct kj_corpus_inputs){open_source, j}, &own);
}

/* ---- encode ---- */

static int encode_batch(void *self, struct kj_batch *b, struct kj_err *err)
{
    const struct job *j = self;
    int rc = KJ_OK;
    kj_buf_reset(&b->out);
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        const struct kj_tok_doc *t = d->aux;
        const char *comma = j->o.jsonl ? "," : " ";
        if (j->o.jsonl && !kj_doc_kept(d))
            continue;
        if (j->o.jsonl) {
            kj_buf_addz(&b->out, "{\"id\":");
            kj_json_put_str(&b->out, d->id.p, d->id.n);
            kj_buf_addz(&b->out, ",\"ids\":[");
        }
        /* In plain text a damaged line leaves an empty one: lines stay in step. */
        for (size_t k = 0; kj_doc_kept(d) && k < t->n; k++) {
            if (k)
                kj_buf_addz(&b->out, comma);
            kj_json_put_int(&b->out, t->ids[k]);
        }
        rc = kj_buf_addz(&b->out, j->o.jsonl ? "]}\n" : "\n");
    }
    return rc == KJ_OK ? rc : full(err);
}

static int encode(const struct kj_cmd *cmd, struct job *j)
{
    return drive(cmd, j, &kj_stage_tokenize, &j->cfg,
                 (struct kj_sink){j, encode_batch, write_out});
}

/* ---- decode ---- */

/* The next number of "1 2 3" or "[1, 2, 3]" text. */
static int next_id(const char *p, size_t n, size_t *at, uint32_t *id)
{
    uint64_t v = 0;
    size_t i = *at;
    while (i < n && strchr(" \t,[]\r", p[i]) && p[i])
        i++;
    *at = i;
    if (i == n)
        return KJ_EOF;
    while (i < n && p[i] >= '0' && p[i] <= '9' && v <= UINT32_MAX)
        v = 10 * v + (uint64_t)(p[i++] - '0');
    if (i == *at || v > UINT32_MAX)
        return KJ_BAD_RECORD;
    *at = i;
    *id = (uint32_t)v;
    return KJ_OK;
}

static int decode_ids(const struct kj_tokenize *c, bool skip, struct kj_str s,
                      struct kj_buf *text, struct kj_err *err)
{
    size_t at = 0, n = 0;
    uint32_t *ids = kj_xmalloc((s.n + 1) * sizeof *ids); /* no more than bytes */
    int rc;
    while ((rc = next_id(s.p, s.n, &at, &ids[n])) == KJ_OK)
        n++;
    rc = rc == KJ_EOF
             ? kj_tok_decode(c->tok, ids, n, skip, text, err)
             : kj_err_set(err, KJ_BAD_RECORD, "no list of ids at byte %zu", at);
    free(ids);
    return rc;
}

static int decode_run(const void *cfg, void *state, struct kj_batch *b,
                      struct kj_err *err)
{
    const struct job *j = cfg;
    (void)state;
    (void)err;
    struct kj_buf text;
    kj_buf_init(&text, KJ_DOC_LINE_MAX * 4u);
    for (size_t i = 0; i < b->n; i++) {
        struct kj_doc *d = &b->docs[i];
        struct kj_err own = KJ_ERR_INIT;
        struct kj_doc none = {0};
        if (!kj_doc_kept(d))
            continue;
        struct kj_str ids = j->o.jsonl ? kj_doc_get(d, "ids") : d->text;
        if (j->o.jsonl && !ids.p)
            kj_err_set(&own, KJ_BAD_RECORD, "no field ids");
        kj_buf_reset(&text);
        if (own.rc == KJ_OK)
            decode_ids(&j->cfg, j->o.skip_special, ids, &text, &own);
        if (own.rc != KJ_OK) {
            kj_doc_damage(d, "tokenizer.ids",
                          kj_arena_dup(&b->arena, own.msg, strlen(own.msg)));
            continue;
        }
        kj_doc_content_id(&none, &b->arena);
        d->text = (struct kj_str){kj_arena_dup(&b->arena, text.p, text.n), text.n};
        d->textless = false;
        if (kj_str_eq(d->id, none.id)) /* the line named none */
            kj_doc_content_id(d, &b->arena);
    }
    kj_buf_release(&text);
    return KJ_OK;
}

static const struct kj_stage decode_stage = {
    .name = "decode", .about = "token ids to text", .run = decode_run};

static int decode_batch(void *self, struct kj_batch *b, struct kj_err *err)
{
    const struct job *j = self;
    int rc = KJ_OK;
    kj_buf_reset(&b->out);
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!j->o.jsonl) {
            if (kj_doc_kept(d))
                kj_buf_add(&b->out, d->text.p, d->text.n);
            rc = kj_buf_addc(&b->out, '\n');
        } else if (kj_doc_kept(d)) {
            kj_buf_addz(&b->out, "{\"id\":");
            kj_json_put_str(&b->out, d->id.p, d->id.n);
            kj_buf_addz(&b->out, ",\"text\":");
            kj_json_put_str(&b->out, d->text.p, d->text.n);
            rc = kj_buf_addz(&b->out, "}\n");
        }
    }
    return rc == KJ_OK ? rc : full(err);
}

static int decode(const struct kj_cmd *cmd, struct job *j)
{
    j->textless = true;
    return drive(cmd, j, &decode_stage, j,
                 (struct kj_sink){j, decode_batch, write_out});
}

/* ---- count ---- */

struct counts {
    uint64_t documents, bytes, characters, words, tokens;
};

static int count_batch(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)self;
    struct counts *c = kj_arena_zalloc(&b->arena, sizeof *c);
    if (!c)
        return full(err);
    b->aux = c;
    for (size_t i = 0; i < b->n; i++) {
        const struct kj_doc *d = &b->docs[i];
        if (!kj_doc_kept(d))
            continue;
        c->documents++;
        c->bytes += d->text.n;
        c->characters += kj_utf8_count(d->text.p, d->text.n);
        c->words += kj_tok_count_words(d->text.p, d->text.n);
        c->tokens += (uint64_t)d->token_count;
    }
    return KJ_OK;
}

static int count_add(void *self, struct kj_batch *b, struct kj_err *err)
{
    (void)err;
    struct job *j = self;
    const struct counts *c = b->aux;
    j->documents += c->documents;
    j->bytes += c->bytes;
    j->characters += c->characters;
    j->words += c->words;
    j->tokens += c->tokens;
    return KJ_OK;
}

/* Write what was counted, behind a run that ended with status. */
static int put_result(const struct kj_cmd *cmd, struct job *j, const struct kj_buf *b,
                      int status)
{
    struct kj_err err = KJ_ERR_INIT;
    int rc = kj_output_open(&j->out, j->common.output, &err);
    if (rc == KJ_OK) {
        rc = kj_output_write(j->out, b->p, b->n, &err);
        if (rc == KJ_OK)
            rc = kj_output_commit(j->out, &err);
        else
            kj_output_abort(j->out);
    }
    return rc < 0 ? kj_cmd_fail(cmd, &err) : status;
}

static double ratio(uint64_t a, uint64_t b)
{
    return b ? (double)a / (double)b : 0;
}

static int count(const struct kj_cmd *cmd, struct job *j)
{
    struct kj_buf b;
    struct kj_cmd_sink sink = {.sink = {j, count_batch, count_add}};
    j->ends = true;
    j->common.inputs = j->files.v;
    j->common.n_inputs = j->files.n;
    int status = kj_cmd_drive(cmd, &j->common, &kj_stage_tokenize, &j->cfg,
                              (struct kj_corpus_inputs){open_source, j}, &sink);
    if (status != 0 && status != 3)
        return status;
    kj_buf_init(&b, 4096);
    kj_buf_printf(&b,
                  "%s\t%" PRIu64 "\nbytes\t%" PRIu64 "\ncharacters\t%" PRIu64
                  "\nwords\t%" PRIu64 "\ntokens\t%" PRIu64 "\nbytes_per_token\t%.4f\n"
                  "characters_per_token\t%.4f\ntokens_per_word\t%.4f\n",
                  j->o.jsonl ? "documents" : "lines", j->documents, j->bytes,
                  j->characters, j->words, j->tokens, ratio(j->bytes, j->tokens),
                  ratio(j->characters, j->tokens), ratio(j->tokens, j->words));
    status = put_result(cmd, j, &b, status);
    kj_buf_release(&b);
    return status;
}

/* ---- stats ---- */

static int stats_load(struct job *j, struct kj_tok_stats *s, struct kj_err *err)
{
    int rc = KJ_OK;
    s->tok[s->n++] = j->cfg.tok;
    if (j->o.against.n >= KJ_TOK_STATS_MAX)
        return kj_err_set(err, KJ_USAGE, "at most %d vocabularies at a time",
                          KJ_TOK_STATS_MAX);
    for (size_t i = 0; i < j->o.against.n && rc == KJ_OK; i++)
        if ((rc = kj_tok_load(&s->tok[s->n], j->o.against.v[i], err)) == KJ_OK)
            s->n++;
    return rc == KJ_OK ? kj_stage_tok_stats.open(s, err) : rc;
}

static int stats(const struct kj_cmd *cmd, struct job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tok_stats s = {.no_special = j->cfg.no_special};
    struct kj_cmd_sink sink = {.sink = {.self = &s, .write = kj_tok_stats_gather}};
    struct kj_buf b;
    j->ends = true;
    j->common.inputs = j->files.v;
    j->common.n_inputs = j->files.n;
    int status = stats_load(j, &s, &err) == KJ_OK
                     ? kj_cmd_drive(cmd, &j->common, &kj_stage_tok_stats, &s,
                                    (struct kj_corpus_inputs){open_source, j}, &sink)
                     : kj_cmd_fail(cmd, &err);
    if (status == 0 || status == 3) {
        kj_buf_init(&b, (size_t)1 << 28);
        kj_tok_stats_finish(&s);
        status = kj_tokenizer_stats_print(&s, j->o.json, &b) == KJ_OK
                     ? put_result(cmd, j, &b, status)
                     : (full(&err), kj_cmd_fail(cmd, &err));
        kj_buf_release(&b);
    }
    kj_tok_stats_release(&s);
    for (size_t i = 1; i < s.n; i++)
        kj_tok_free(s.tok[i]);
    return status;
}

/* ---- train ---- */

static int train(const struct kj_cmd *cmd, struct job *j)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_tok_train_result r;
    struct kj_source source;
    struct kj_buf b;
    double wall = kj_now();
    const struct kj_refusal no[] = {{"ledger", j->common.ledger != NULL},
                                    {"rejects", j->common.rejects != NULL}};
    if (kj_cmd_refuse(cmd, "train", no, sizeof no / sizeof *no) >= 0)
        return 2;
    if (kj_cmd_done_already(cmd, &j->common))
        return 0;
    kj_cmd_signals();
    j->ends = true;
    j->train.memory = j->common.memory;
    j->train.threads = (unsigned)j->common.jobs;
    j->train.shard = j->common.shard_i;
    j->train.shards = j->common.shard_n;
    j->train.limit = j->common.limit;
    j->train.seed = (uint64_t)j->common.seed;
    j->train.stop = &kj_interrupted;
    kj_buf_init(&b, KJ_TOK_FILE_MAX);
    int rc = open_source(j, &source, &err);
    if (rc == KJ_OK)
        rc = kj_tok_train_source(&j->train, &source, &b, &r, &err);
    if (rc == KJ_OK)
        rc = kj_output_open(&j->out, j->common.output, &err);
    if (rc == KJ_OK) {
        rc = kj_output_write(j->out, b.p, b.n, &err);
        if (rc == KJ_OK)
            rc = kj_output_commit(j->out, &err);
        else
            kj_output_abort(j->out);
    }
    kj_buf_release(&b);
    if (rc < 0)
        return atomic_load(&kj_interrupted) ? 130 : kj_cmd_fail(cmd, &err);
    if (!j->common.quiet) {
        fprintf(stderr,
                "kijil " KJ_VERSION " tokenizer train: %" PRIu64
                " %s, %.1f MB, %" PRIu64 " words, %" PRIu64
                " different ones\nvocabulary of %" PRIu64 ", %" PRIu64 " merges; ",
                r.documents, j->o.jsonl ? "documents" : "lines", (double)r.bytes / 1e6,
                r.words, r.distinct, r.vocab_size, r.merges);
        kj_cmd_usage_line(kj_now() - wall, kj_seconds(CLOCK_PROCESS_CPUTIME_ID));
        if (r.forgotten)
            fprintf(stderr, "%" PRIu64 " rare words were forgotten to stay in memory\n",
                    r.forgotten);
        if (r.damaged)
            fprintf(stderr, "%" PRIu64 " damaged inputs were stepped over\n",
                    r.damaged);
    }
    return r.damaged ? 3 : 0;
}

/* ---- the command ---- */

static const struct {
    const char *name;
    int (*run)(const struct kj_cmd *cmd, struct job *j);
    bool model; /* needs -t */
} verbs[] = {
    {"train", train, false}, {"encode", encode, true}, {"decode", decode, true},
    {"count", count, true},  {"stats", stats, true},
};

static int dry_run(const struct job *j)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    kj_opt_dump(options_table, &j->o, &b);
    kj_opt_dump(kj_tokenize_core_opts, &j->cfg, &b);
    kj_opt_dump(kj_tok_train_opts, &j->train, &b);
    kj_opt_dump(kj_common_opts, &j->common, &b);
    fwrite(b.p, 1, b.n, stdout);
    kj_buf_release(&b);
    return fflush(stdout) ? 1 : 0;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct kj_err err = KJ_ERR_INIT;
    struct job j = {0};
    struct kj_strs pos = {0};
    void *const cfgs[] = {&j.o, &j.cfg, &j.train, NULL};
    size_t verb = 0, n = sizeof verbs / sizeof *verbs;
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &j.common, &pos);
    while (status < 0 && verb < n &&
           !(pos.n && strcmp(pos.v[0], verbs[verb].name) == 0))
        verb++;
    if (status < 0 && verb == n) {
        kj_err_set(&err, KJ_USAGE, "say train, encode, decode, count or stats");
        status = kj_cmd_fail(cmd, &err);
    }
    for (size_t i = 1; status < 0 && i < pos.n; i++)
        kj_strs_add(&j.files, pos.v[i]);
    if (status < 0 && j.common.dry_run)
        status = dry_run(&j);
    if (status < 0 && verbs[verb].model) {
        j.cfg.keep_empty = true;
        j.cfg.use_template = j.o.add_special;
        j.cfg.pattern = j.train.pattern;
        j.cfg.special = j.train.special;
        int rc = j.cfg.tokenizer
                     ? kj_tokenize_load(&j.cfg, &err)
                     : kj_err_set(&err, KJ_USAGE,
                                  "-t tokenizer.json is needed; kijil tokenizer train "
                                  "makes one");
        if (rc != KJ_OK)
            status = kj_cmd_fail(cmd, &err);
    }
    if (status < 0)
        status = verbs[verb].run(cmd, &j);
    kj_tok_free(j.cfg.tok);
    kj_opt_release(options_table, &j.o);
    kj_opt_release(kj_tok_train_opts, &j.train);
    kj_strs_release(&j.files);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_tokenizer = {
    .name = "tokenizer",
    .synopsis = "train|encode|decode|count|stats -t tokenizer.json [--jsonl] [FILE...]",
    .about = "byte-level BPE: train one, apply it, read tokenizer.json",
    .details =
        "train counts words of the text and writes a tokenizer.json (-o) that Hugging "
        "Face's libraries load; the merges are those that their trainer finds. encode "
        "prints the ids of each line of text, decode turns them back; with --jsonl "
        "encode turns {text} lines into {ids} lines, and decode the other way. count "
        "prints tokens, bytes, bytes per token and tokens per word.\n\n"
        "stats compares vocabularies (-t, and others with --against) on the same "
        "documents: tokens per word (in Korean per eojeol), bytes and characters per "
        "token for each language and source; how many tokens the text never used; and "
        "for byte-level BPE how many of the 11,172 Hangul syllables and of the 2,350 "
        "of KS X 1001 encode as one token, the share of the text's syllables that are "
        "such (alone), and the share that lies inside one token there (whole).\n\n"
        "Input is plain text by lines. If its first line is a JSON object with a text, "
        "the command stops and asks for --jsonl or --lines.\n\n"
        "-t reads byte-level BPE files (GPT-2, Llama 3, Qwen and their kin), BPE files "
        "made from SentencePiece's (Llama 2, Mistral, Gemma), the WordPiece and "
        "Unigram "
        "files of encoders, and gpt2, r50k_base, p50k_base, "
        "cl100k_base and o200k_base as .tiktoken files, and gives the ids that Hugging "
        "Face's tokenizers and tiktoken give. For .tiktoken files of other names "
        "--pattern says how text is cut; --special NAME=ID adds special tokens. What "
        "it cannot do exactly it refuses by "
        "name.",
    .examples = "kijil tokenizer train --jsonl docs.jsonl.zst --vocab-size 32000 -o "
                "tokenizer.json  # train\n"
                "echo '안녕하세요' | kijil tokenizer encode -t tokenizer.json  # ids "
                "of a line\n"
                "kijil tokenizer count -t tokenizer.json --jsonl docs.jsonl  # bytes "
                "per token\n"
                "kijil tokenizer stats -t tokenizer.json --against llama3.json --jsonl "
                "docs.jsonl  # fertility of two vocabularies\n",
    .opts = (const struct kj_opt *const[]){options_table, kj_tokenize_core_opts,
                                           kj_tok_train_opts, kj_common_opts, NULL},
    .run = run,
};
