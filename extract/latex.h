/* latex.h - the LaTeX source of a paper to text, without running TeX.
 *
 * The main file is found by its \documentclass and \begin{document}; files that
 * it names by \input, \include, \subfile and \import stand where they are
 * named, each once at a time, missing ones leave nothing. Comments and the
 * preamble go. Macros of the paper (\newcommand, \def, \let, operators; with
 * arguments too) are replaced, as far as they are plain substitutions.
 *
 * The text begins with "# " and the title; chapters and sections are "##" and
 * below; the abstract is a section. Formulas stay as TeX: "$...$", "$$...$$",
 * and \begin{align}...\end{align} for environments, without labels. Lists
 * become "- " and "1. ", tables rows "| a | b |", captions paragraphs "Figure:
 * ..." and "Table: ...", footnotes stand in parentheses where they are called,
 * citations become [1], [2, 3] in the order of their first use, verbatim text is
 * fenced. References to labels become numbers, counted as LaTeX would ("Section
 * 2.1", "(3)"), or go where the label is not set. Pictures, drawings and the
 * bibliography go.
 *
 * Work is bounded: every byte looked at costs fuel, of which a paper gets some
 * for each of its bytes. Nesting ends at KJ_LATEX_DEPTH. */
#ifndef KJ_EXTRACT_LATEX_H
#define KJ_EXTRACT_LATEX_H

#include <stddef.h>

#include "base/mem.h"

#define KJ_LATEX_MAX   (16u << 20) /* bytes of a paper, files inlined */
#define KJ_LATEX_DEPTH 24

struct kj_latex; /* scratch of one thread */

struct kj_latex *kj_latex_new(void);
void kj_latex_free(struct kj_latex *l);

struct kj_latex_file {
    struct kj_str name; /* as in the package, "sections/intro.tex" */
    struct kj_str text; /* UTF-8 */
};

struct kj_latex_paper {
    struct kj_str main;  /* name of the main file */
    struct kj_str title; /* plain text; valid until the next call */
    size_t inlined;      /* files that stand in others */
    size_t missing;      /* that were named and are not there, or loop */
    const char *rule;    /* when it fails: what was wrong */
};

/* Append the text of the paper to out. KJ_OK; KJ_DROP: there is no LaTeX in the
 * files; KJ_BAD_RECORD at a limit. */
int kj_latex_render(struct kj_latex *l, const struct kj_latex_file *files, size_t n,
                    struct kj_buf *out, struct kj_latex_paper *paper);

#endif
