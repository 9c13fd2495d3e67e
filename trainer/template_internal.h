/* template_internal.h - the tree of a template, between its parser and what
 * evaluates it. */
#ifndef KJ_TRAINER_TEMPLATE_INTERNAL_H
#define KJ_TRAINER_TEMPLATE_INTERNAL_H

#include "trainer/template.h"

enum kj_tkind {
    KJ_T_TEXT, /* of the template itself */
    KJ_T_VALUE,
    KJ_T_NAME,
    KJ_T_LIST, /* chain at a */
    KJ_T_DICT, /* chain at a, keys and values in turn */
    KJ_T_INDEX,
    KJ_T_ADD,
    KJ_T_SUB,
    KJ_T_JOIN, /* ~ */
    KJ_T_MINUS,
    KJ_T_EQ,
    KJ_T_NE,
    KJ_T_IF,  /* a if c else b */
    KJ_T_CALL /* function fn of a, with arguments b and c */
};

enum kj_tcall {
    KJ_TF_STRIP,
    KJ_TF_LSTRIP,
    KJ_TF_RSTRIP,
    KJ_TF_TRIM,
    KJ_TF_LOWER,
    KJ_TF_REPLACE,
    KJ_TF_STRING,
    KJ_TF_INT,
    KJ_TF_LENGTH,
    KJ_TF_NONE
};

struct kj_tnode {
    enum kj_tkind kind;
    enum kj_tcall fn;
    bool filter;        /* fn was written |name */
    struct kj_jval val; /* VALUE; the string of TEXT and NAME */
    struct kj_tnode *a, *b, *c, *next;
};

struct kj_template {
    struct kj_arena arena;
    struct kj_tnode *parts; /* chain of texts and expressions */
    size_t n_parts;
    bool plain;
};

#endif
