/* train_json.c - a trained vocabulary as tokenizer.json.
 *
 * Keys stand in the order in which Hugging Face writes them. The
 * post-processor is ByteLevel alone: a model that is trained on these shards
 * never sees a begin-of-text token, so none is added behind the user's back.
 */
#include "tokenize/train_internal.h"

#include <string.h>

#include "base/err.h"
#include "base/json.h"

static void added(const struct tok_vocab *v, struct kj_buf *o)
{
    bool any = false;
    kj_buf_addz(o, "  \"added_tokens\": [");
    for (size_t i = 0; i < v->n; i++) {
        if (!v->v[i].special)
            continue;
        kj_buf_printf(o, "%s\n    {\"id\": %zu, \"content\": ", any ? "," : "", i);
        kj_json_put_str(o, v->v[i].content.p, v->v[i].content.n);
        kj_buf_addz(o,
                    ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                    "\"normalized\": false, \"special\": true}");
        any = true;
    }
    kj_buf_addz(o, "\n  ],\n");
}

static void token(const struct tok_made *t, struct kj_buf *text, struct kj_buf *o)
{
    kj_buf_reset(text);
    if (t->special)
        kj_buf_add(text, t->content.p, t->content.n);
    else
        tok_map(text, t->content.p, t->content.n);
    kj_json_put_str(o, text->p, text->n);
}

static void model(const struct tok_vocab *v, struct kj_buf *o)
{
    struct kj_buf text;
    kj_buf_init(&text, 4 * KJ_TOK_WORD_MAX);
    kj_buf_addz(o,
                "  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n"
                "    \"unk_token\": null,\n    \"continuing_subword_prefix\": null,\n"
                "    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
                "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n"
                "    \"vocab\": {");
    for (size_t i = 0; i < v->n; i++) {
        kj_buf_addz(o, i ? ",\n      " : "\n      ");
        token(&v->v[i], &text, o);
        kj_buf_printf(o, ": %zu", i);
    }
    kj_buf_addz(o, "\n    },\n    \"merges\": [");
    for (size_t i = 0; i < v->n_merges; i++) {
        kj_buf_addz(o, i ? ",\n      [" : "\n      [");
        token(&v->v[v->merges[i].a], &text, o);
        kj_buf_addz(o, ", ");
        token(&v->v[v->merges[i].b], &text, o);
        kj_buf_addc(o, ']');
    }
    kj_buf_addz(o, "\n    ]\n  }\n}\n");
    kj_buf_release(&text);
}

int tok_train_json(const struct tok_vocab *v, const char *const *patterns, size_t n,
                   struct kj_buf *out)
{
    kj_buf_addz(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n"
                     "  \"padding\": null,\n");
    added(v, out);
    kj_buf_addz(out, "  \"normalizer\": null,\n  \"pre_tokenizer\": {\n"
                     "    \"type\": \"Sequence\",\n    \"pretokenizers\": [\n");
    for (size_t i = 0; i < n; i++) {
        kj_buf_addz(out, "      {\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        kj_json_put_str(out, patterns[i], strlen(patterns[i]));
        kj_buf_addz(out,
                    "},\n        \"behavior\": \"Isolated\", \"invert\": false},\n");
    }
    kj_buf_addz(
        out,
        "      {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
        "\"trim_offsets\": true, \"use_regex\": false}\n    ]\n  },\n"
        "  \"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
        "\"trim_offsets\": false, \"use_regex\": true},\n"
        "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
        "\"trim_offsets\": true, \"use_regex\": true},\n");
    model(v, out);
    /* The file ends whole, or a cap was hit on the way. */
    return out->n && out->p[out->n - 1] == '\n' ? KJ_OK : KJ_BAD_RECORD;
}
