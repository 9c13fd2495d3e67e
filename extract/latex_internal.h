/* latex_internal.h - what the files of latex share. */
#ifndef KJ_EXTRACT_LATEX_INTERNAL_H
#define KJ_EXTRACT_LATEX_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/err.h"
#include "extract/latex.h"

#define KJ_TEX_MACROS 4096 /* a power of two; at most half of it is used */
#define KJ_TEX_CITES  4096
#define KJ_TEX_ENVS   64
#define KJ_TEX_LABELS 8192 /* at most half of it is used */

/* What a label stands in, and its number there. */
enum kj_tex_kind {
    KJ_TEX_SECTION,
    KJ_TEX_EQUATION,
    KJ_TEX_FIGURE,
    KJ_TEX_TABLE,
    KJ_TEX_ALGORITHM,
    KJ_TEX_THEOREM,
    KJ_TEX_KINDS
};
struct kj_tex_label {
    uint64_t key; /* of its name, hashed; 0: none */
    enum kj_tex_kind kind;
    char num[20]; /* "2.1" */
};

struct kj_tex_macro {
    struct kj_str name, body, option; /* option: default of the first argument */
    int args;
    bool has_option;
};

struct kj_latex {
    struct kj_buf flat, body, title, scratch;
    struct kj_arena arena; /* what macros and names point to */
    struct kj_tex_macro *macros;
    size_t n_macros;
    struct kj_str theorem[KJ_TEX_ENVS][2]; /* environment, its printed name */
    size_t n_theorems;
    struct kj_str *cites;
    size_t n_cites;
    struct kj_tex_label *labels; /* by hash */
    size_t n_labels;
    int64_t fuel;
    struct kj_latex_paper *paper;

    /* the renderer's */
    struct kj_buf *out;
    size_t start; /* of out */
    int gap;      /* before the next bytes: 0, 1 blank, 2 line, 3 paragraph */
    bool flat_mode, dropped; /* no line ends; something was just left out */
    bool chapters, ended;
    struct {
        uint64_t name; /* hashed: it may stand in a text that is gone by then */
        int kind;
        unsigned count;
    } env[KJ_TEX_ENVS];
    size_t n_env;
    int lists;
    int rc;
};

static inline bool kj_tex_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '@';
}
static inline bool kj_tex_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
/* kj_str_is, quick to say no. */
static inline bool kj_tex_is(struct kj_str s, const char *z)
{
    return s.n && *s.p == *z && kj_str_is(s, z);
}
/* Take fuel for n bytes; false when there is none left. */
static inline bool kj_tex_burn(struct kj_latex *l, size_t n)
{
    l->fuel -= (int64_t)n;
    return l->fuel > 0;
}

/* A place in TeX. */
struct kj_tex {
    const char *p, *end;
};

/* The control word or symbol behind the backslash at t->p; t->p moves behind
 * it, not over blanks. */
struct kj_str kj_tex_command(struct kj_tex *t);
/* The argument at t->p, blanks before it skipped: a group without its braces,
 * a command, or one character. {NULL,0} at the end. */
struct kj_str kj_tex_arg(struct kj_latex *l, struct kj_tex *t);
/* [option], without its brackets; {NULL,0} when there is none. */
struct kj_str kj_tex_option(struct kj_latex *l, struct kj_tex *t);
struct kj_str kj_tex_trim(struct kj_str s);

/* latex_files.c: the main file with its parts, no comments, into l->flat. */
int kj_tex_flatten(struct kj_latex *l, const struct kj_latex_file *files, size_t n);
/* latex_macro.c: definitions out of l->flat; the rest into l->body. */
int kj_tex_collect(struct kj_latex *l);
const struct kj_tex_macro *kj_tex_macro_find(struct kj_latex *l, struct kj_str name);
/* The macro's text with its arguments, taken from t, into out. */
int kj_tex_expand(struct kj_latex *l, const struct kj_tex_macro *m, struct kj_tex *t,
                  struct kj_buf *out);
/* latex_refs.c: number the labels of the body. */
void kj_tex_number(struct kj_latex *l, struct kj_str body);
const struct kj_tex_label *kj_tex_label_find(const struct kj_latex *l,
                                             struct kj_str name);
const char *kj_tex_label_kind(const struct kj_tex_label *x); /* "section" */
/* latex_math.c: copy a formula, macros replaced, labels gone. */
void kj_tex_math(struct kj_latex *l, struct kj_str s, bool lines, int depth,
                 struct kj_buf *out);

/* ---- latex.c: what writes; blanks wait until something follows ---- */
enum kj_tex_gaps { KJ_GAP_NONE, KJ_GAP_BLANK, KJ_GAP_LINE, KJ_GAP_PARA };
void kj_tex_put(struct kj_latex *l, const char *p, size_t n);
void kj_tex_putz(struct kj_latex *l, const char *z);
void kj_tex_gap(struct kj_latex *l, int g); /* at least that much room */
/* Walk an argument in one line. */
void kj_tex_inline(struct kj_latex *l, struct kj_str s, int depth);
void kj_tex_formula(struct kj_latex *l, struct kj_str s, const char *mark, bool lines);

/* ---- latex_env.c ---- */
void kj_tex_heading(struct kj_latex *l, int level, struct kj_str title, int depth);
void kj_tex_begin(struct kj_latex *l, struct kj_tex *t, int depth);
void kj_tex_end(struct kj_latex *l, struct kj_tex *t);
void kj_tex_item(struct kj_latex *l, struct kj_tex *t, int depth);
void kj_tex_caption(struct kj_latex *l, struct kj_tex *t, int depth);

/* latex_names.c */
const char *kj_tex_symbol(struct kj_str name); /* \ss, \ldots; NULL none */
uint32_t kj_tex_accent(struct kj_str name);    /* combining mark; 0 none */
int kj_tex_gone(struct kj_str name);           /* arguments that go; -1 unknown */
int kj_tex_section(struct kj_str name);        /* 0 chapter, 1 section, ...; -1 */
bool kj_tex_core(struct kj_str name);          /* may not be redefined */
bool kj_tex_is_math(struct kj_str env);        /* equation, align, ... */
bool kj_tex_is_picture(struct kj_str env);     /* content goes */
bool kj_tex_is_verbatim(struct kj_str env);
int kj_tex_env_args(struct kj_str env);        /* arguments behind \begin */
const char *kj_tex_theorem(struct kj_str env); /* "Theorem"; NULL none */

#endif
