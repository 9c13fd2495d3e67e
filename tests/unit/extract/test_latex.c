/* LaTeX to text: each construct alone, papers of many files, and input that is
 * made to be slow. */
#include "extract/latex.h"

#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/utf8.h"
#include "tests/unit/test.h"

static struct kj_latex *latex;
static struct kj_buf out;
static struct kj_latex_paper paper;

static int render(const struct kj_latex_file *f, size_t n)
{
    kj_buf_reset(&out);
    return kj_latex_render(latex, f, n, &out, &paper);
}

static int render_one(const char *preamble, const char *body)
{
    struct kj_buf b;
    kj_buf_init(&b, 1 << 20);
    kj_buf_printf(
        &b,
        "\\documentclass{article}\n%s\n\\begin{document}\n%s\n\\end{document}\n"
        "never",
        preamble, body);
    struct kj_latex_file f = {KJ_STR("main.tex"), {b.p, b.n}};
    int rc = render(&f, 1);
    kj_buf_release(&b);
    return rc;
}

static const struct {
    const char *tex, *text;
} cases[] = {
    /* text */
    {"One\ntwo % gone\nthree 50\\%.\n\n\nNext~par --- a--b ``q'' 'r'.",
     "One two three 50%.\n\nNext par — a–b “q” 'r'."},
    {"a\n% a whole line\nb% glued\n   c\n\nd%\n\ne", "a bc\n\nd\n\ne"},
    {"\\'e\\`{a}\\^o\\\"{u}\\~n\\c{c}\\v{s}\\H{o}\\'{\\i}\\=a {\\ss} \\o re \\AA "
     "ngstr\\\"om "
     "\\L\\'od\\'z",
     "éàôüñçšőíā ß øre Ångström Łódź"},
    {"\\emph{a \\textbf{b}} {\\it c} \\textcolor{red}{d} \\underline{e} \\foo{f} "
     "\\foo[opt]{g}",
     "a b c d e f g"},
    {"\\who{A}{B}[c] {d}e", "A B[c] de"},
    {"\\href{http://x}{text} \\url{http://y_z} \\verb|a_b%| x\\footnote{A note.} y",
     "text http://y_z `a_b%` x (A note.) y"},
    {"\\vspace{2cm}a\\hspace*{1em}b\\label{x}c \\noindent d \\parindent=0pt e \\vskip "
     "2pt f",
     "abc d e f"},
    {"한글 논문은 \\textbf{굵게} 쓴다.", "한글 논문은 굵게 쓴다."},
    {"a \\iffalse b \\ifx c \\fi d \\fi e \\begin{comment}f\\end{comment}g", "a e g"},
    /* sections */
    {"x\n\\section{A "
     "\\emph{b}}\\label{s}\ny\n\\subsection*{C}\nz\n\\subsubsection[s]{D}w\n"
     "\\paragraph{E.} v",
     "x\n\n## A b\n\ny\n\n### C\n\nz\n\n#### D\n\nw\n\n##### E.\n\nv"},
    {"\\chapter{A}\\section{B}c", "## A\n\n### B\n\nc"},
    {"\\begin{abstract}\nWe.\n\\end{abstract}\n\\section{I}x",
     "## Abstract\n\nWe.\n\n## I\n\nx"},
    /* formulas */
    {"so $a_{i} \\leq\n b$ and \\(c\\) and\n\\[ d \\]\nand $$e$$ f",
     "so $a_{i} \\leq b$ and $c$ and\n\n$$d$$\n\nand\n\n$$e$$\n\nf"},
    {"x\n\\begin{align}\na &= b \\label{q} \\\\\nc &= d \\nonumber\n\\end{align}\ny",
     "x\n\n\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}\n\ny"},
    {"\\begin{equation*}\\begin{array}{l}x\\end{array}\\end{equation*}",
     "\\begin{equation*}\n\\begin{array}{l}x\\end{array}\n\\end{equation*}"},
    {"cost \\$5 and $x\\$y$", "cost $5 and $x\\$y$"},
    /* citations, references */
    {"As \\citet{b} and~\\cite{a,b}\\citep[see][p.~2]{c} in Section~\\ref{x}, by "
     "(\\ref{y}).",
     "As [1] and [2, 1][3] in Section, by ()."},
    {"a\n\\begin{thebibliography}{9}\\bibitem{x} Gone.\\end{thebibliography}\n"
     "\\bibliographystyle{p}\\bibliography{r}b",
     "a b"},
    /* lists, theorems */
    {"\\begin{itemize}\n\\item a\n\n\\item b\n\\begin{enumerate}\n\\item c\n\\item d\n"
     "\\end{enumerate}\n\\end{itemize}\nafter",
     "- a\n- b\n  1. c\n  2. d\n\nafter"},
    {"\\begin{description}\\item[K] v\\end{description}", "- K: v"},
    {"\\begin{theorem}[Main] T. \\end{theorem}\\begin{proof}P.\\end{proof}",
     "Theorem (Main). T.\n\nProof. P."},
    {"\\begin{quote}q\\end{quote}\\begin{center}c\\end{center}", "q\n\nc"},
    /* tables, figures, code */
    {"\\begin{table}[t]\\centering\n\\caption[s]{Of \\emph{all} $x$.}\n"
     "\\begin{tabular}{l|r}\\hline\nA & B \\\\ \\hline\n1 & {a & b} \\\\[2pt]\n"
     "\\multicolumn{2}{c}{both}\\\\\\bottomrule\n\\end{tabular}\\end{table}",
     "Table: Of all $x$.\n\n| A | B |\n| 1 | a b |\n| both |"},
    {"a\n\\begin{figure}\\includegraphics[width=1cm]{f.pdf}\\caption{A cat.}\\label{f}"
     "\\end{figure}\nb\\begin{tikzpicture}\\draw x;\\end{tikzpicture} c",
     "a\n\nFigure: A cat.\n\nb c"},
    {"\\begin{verbatim}\n% kept \\emph{x}\n  y\n\\end{verbatim}z",
     "```\n% kept \\emph{x}\n  y\n```\n\nz"},
    {"\\begin{lstlisting}[language=C]\nint a;\n\\end{lstlisting}", "```\nint a;\n```"},
    /* what is broken */
    {"{a} b} {c \\emph{d", "a b c d"},
    {"\\begin{tabular}{l} a & b", "l a b"},
    {"a $never closed", "a never closed"},
    {"\\end{x} \\item a \\end{itemize}", "- a"},
};

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(render_one("", cases[i].tex), KJ_OK);
        if (!CHECK_STR(out.p, out.n, cases[i].text))
            printf("     of   [%s]\n", cases[i].tex);
    }
}

static const struct {
    const char *preamble, *tex, *text;
} macros[] = {
    {"\\newcommand{\\R}{\\mathbb{R}}", "$\\R^n$ \\R", "$\\mathbb{R}^n$ R"},
    {"\\newcommand{\\ip}[2]{\\langle #1, #2 \\rangle}", "$\\ip{a}{b_{c}}$",
     "$\\langle a, b_{c} \\rangle$"},
    {"\\newcommand{\\n}[2][2]{|#2|_#1}", "$\\n{x} \\n[1]{y}$", "$|x|_2 |y|_1$"},
    {"\\def\\name#1{the #1 method} \\newcommand\\us{Kijil}", "\\us: \\name{fast}.",
     "Kijil: the fast method."},
    {"\\def\\be{\\begin{equation}}\\def\\ee{\\end{equation}}", "\\be x \\ee",
     "\\begin{equation}\nx\n\\end{equation}"},
    {"\\DeclareMathOperator*{\\argmax}{arg\\,max} \\let\\eps=\\varepsilon",
     "$\\argmax \\eps$", "$\\operatorname{arg\\,max} \\varepsilon$"},
    {"\\newcommand{\\a}{\\b}\\newcommand{\\b}{\\ensuremath{\\alpha}}",
     "x \\a y $\\a z$", "x $\\alpha$ y $\\alpha z$"},
    {"\\newcommand{\\x}{\\alpha}", "$\\x y$ $\\x{}y$", "$\\alpha y$ $\\alpha{}y$"},
    {"\\newtheorem{sat}{Satz}[section]", "\\begin{sat}x\\end{sat}", "Satz. x"},
    {"\\renewcommand{\\section}[1]{no} \\newcommand{\\y}{\\y\\y}", "\\section{A}b \\y",
     "## A\n\nb"},
    {"\\def\\odd#1;{x}", "a", "a"},
    {"\\title{On \\emph{x}\\\\ and \\'e}\\author{A}", "\\maketitle text",
     "# On x and é\n\ntext"},
};

/* What a label stands in has the number that LaTeX gives it. */
static void test_labels(void)
{
    static const char body[] =
        "\\section{A}\\label{a}\\subsection{B}\\label{b}\\section*{N}\\label{n}"
        "\\begin{equation}\\label{e1}x\\end{equation}"
        "\\begin{align}a\\label{e2}\\\\ b\\nonumber\\\\ c\\label{e3}\\\\ \\end{align}"
        "\\begin{equation}y\\label{e4}\\end{equation}"
        "\\begin{equation*}z\\end{equation*}"
        "\\begin{figure}\\caption{F\\label{f1}}\\end{figure}"
        "\\begin{figure*}\\caption{F}\\label{f2}\\end{figure*}"
        "\\begin{table}\\label{t1}\\caption{T}\\end{table}"
        "\\begin{lemma}\\label{l1}L\\end{lemma}\\label{b2}"
        "\\begin{mine}\\label{l2}M\\end{mine}"
        "\\appendix\\section{C}\\subsection{D}\\label{d}\n\nEND ";
    static const char *const t[][2] = {
        {"\\ref{a}", "1"},
        {"Section~\\ref{b}, and", "Section 1.1, and"},
        {"\\ref{n} \\ref{b2}", "1.1 1.1"},
        {"\\eqref{e1} \\eqref{e2} \\ref{e3} \\eqref{e4}", "(1) (2) 3 (4)"},
        {"Figs.~\\ref{f1}--\\ref{f2}", "Figs. 1–2"},
        {"\\cref{t1} and \\Cref{f2, f1} or \\autoref{e1}",
         "table 1 and Figure 2, 1 or Equation (1)"},
        {"Lemma \\ref{l1}, \\cref{l2}", "Lemma 1, theorem 2"},
        {"see \\ref{d}.", "see A.1."},
        {"see \\ref{none}, \\cref{none}.", "see,."},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char tex[2000];
        snprintf(tex, sizeof tex, "%s%s", body, t[i][0]);
        CHECK_INT(render_one("\\newtheorem{mine}{Claim}", tex), KJ_OK);
        const char *z = kj_buf_z(&out), *end = strstr(z, "END ");
        end = end ? end + 4 : z;
        CHECK_STR(end, strlen(end), t[i][1]);
    }
}

/* Flags of the paper's own choose the branch; of other conditionals both stay. */
static void test_flags(void)
{
    static const char *const t[][3] = {
        {"\\newif\\ifdraft", "\\ifdraft a\\else b\\fi c", "b c"},
        {"\\newif \\ifdraft\n\\drafttrue", "\\ifdraft a\\else b\\fi c", "a c"},
        {"\\newif\\ifx@y\\x@ytrue", "\\ifx@y a \\x@yfalse\\fi\\ifx@y b\\fi c", "a c"},
        {"\\newif\\ifd\\dtrue",
         "\\ifd a \\ifodd b\\else c\\fi d\\else e \\ifodd f\\else g\\fi h\\fi i",
         "a b c d i"},
        {"\\newif\\ifd", "\\ifd a \\ifodd b\\else c\\fi d\\else e\\fi f", "e f"},
        {"\\newif\\ifd", "\\iffalse a\\else b\\fi c \\ifd d", "b c"},
        {"\\newif\\ifd\\dtrue", "\\ifd a \\ifbool{x}{b}{c} d\\fi e", "a x b c d e"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        CHECK_INT(render_one(t[i][0], t[i][1]), KJ_OK);
        CHECK_STR(out.p, out.n, t[i][2]);
    }
}

static void test_macros(void)
{
    for (size_t i = 0; i < sizeof macros / sizeof *macros; i++) {
        int rc = render_one(macros[i].preamble, macros[i].tex);
        if (strstr(macros[i].preamble,
                   "\\y\\y")) /* endless: any text, or out of fuel */
            continue;
        CHECK_INT(rc, KJ_OK);
        if (!CHECK_STR(out.p, out.n, macros[i].text))
            printf("     of   [%s] [%s]\n", macros[i].preamble, macros[i].tex);
    }
    render_one("\\title{A \\& B}", "x");
    CHECK_STR(paper.title.p, paper.title.n, "A & B");
}

#define FILE_(name, text)                                                              \
    {                                                                                  \
        {name, sizeof(name) - 1},                                                      \
        {                                                                              \
            text, sizeof(text) - 1                                                     \
        }                                                                              \
    }

/* The fault that the public dataset shows: sections out of order, or as bare
 * \input lines. */
static void test_files(void)
{
    static const struct kj_latex_file f[] = {
        FILE_("z/appendix.tex", "\\section{Appendix}\nLast.\n"),
        FILE_("sections/method.tex",
              "\\section{Method}\nUses \\input{sections/detail} it.\n"
              "\\endinput\nnot this"),
        FILE_("sections/detail.tex", "a detail\n"),
        FILE_("intro.tex", "\\section{Introduction}\nFirst. \\input{main}\n"),
        FILE_("part.tex", "\\documentclass[main]{subfiles}\n\\begin{document}\n"
                          "\\section{Part}\nAlone.\n\\end{document}\nnot this"),
        FILE_("main.tex",
              "\\documentclass{article}\n\\begin{document}\n\\input{intro}\n"
              "% \\input{z/appendix}\n\\include{sections/method}\n\\subfile{part}\n"
              "\\input missing.tex\n\\import{./z/}{appendix.tex}\n\\end{document}\n"),
    };
    CHECK_INT(render(f, 6), KJ_OK);
    CHECK_STR(paper.main.p, paper.main.n, "main.tex");
    CHECK_INT(paper.inlined, 5);
    CHECK_INT(paper.missing, 2); /* the loop, and the one that is not there */
    CHECK_STR(
        out.p, out.n,
        "## Introduction\n\nFirst.\n\n## Method\n\nUses a detail it.\n\n## Part\n\n"
        "Alone.\n\n## Appendix\n\nLast.");
    static const struct kj_latex_file none[] = {FILE_("a.txt", "nothing to see")};
    CHECK_INT(render(none, 1), KJ_DROP);
    CHECK_INT(render(none, 0), KJ_DROP);
    static const struct kj_latex_file old[] = {FILE_(
        "p.tex",
        "\\documentstyle{article}\\begin{document}Old \\em style.\\end{document}")};
    CHECK_INT(render(old, 1), KJ_OK);
    CHECK_STR(out.p, out.n, "Old style.");
}

static double time_of(const char *unit, size_t size)
{
    size_t m = strlen(unit);
    char *p = malloc(size);
    for (size_t i = 0; i < size; i++)
        p[i] = unit[i % m];
    memcpy(p, "\\begin{document}", 16);
    struct kj_latex_file f = {KJ_STR("main.tex"), {p, size}};
    double t = (double)clock() / CLOCKS_PER_SEC;
    int rc = render(&f, 1);
    t = (double)clock() / CLOCKS_PER_SEC - t;
    CHECK(rc == KJ_OK || rc == KJ_BAD_RECORD);
    free(p);
    return t;
}

/* Bytes of a hostile paper; a build with a sanitizer is some ten times slower. */
#ifdef KJ_DEBUG
#define HOSTILE ((size_t)10000)
#else
#define HOSTILE ((size_t)100000)
#endif

/* Twice the bytes may not take more than about twice the time. */
static void test_hostile(void)
{
    static const char *const units[] = {
        "{",
        "\\section{",
        "\\footnote{",
        "$",
        "$x",
        "\\(",
        "\\begin{align}",
        "\\begin{tabular}{l}",
        "\\begin{itemize}\\item ",
        "\\begin{verbatim}",
        "\\end{x}",
        "\\cite{a",
        "\\newcommand{\\x}{\\x\\x}\\x ",
        "\\def\\x#1{#1#1}\\x{\\x{\\x{",
        "\\input{main}",
        "\\iffalse ",
        "%",
        "\\'",
        "[",
        "\\item[",
        "\\verb|",
        "\\begin{x}\\begin{y}",
        "\\\\[",
        "\\title{\\title",
        "& \\begin{tabular}",
    };
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        double one = time_of(units[i], HOSTILE), two = time_of(units[i], 2 * HOSTILE);
        if (!CHECK(two < 0.3 || two < 3.5 * one) || !CHECK(two < 2))
            printf("     [%s]: %.3f s, then %.3f s\n", units[i], one, two);
    }
}

static void test_caps(void)
{
    /* A part that is named a million times meets the cap on bytes. */
    size_t n = 1 << 20;
    char *p = malloc(2 * n);
    memset(p, 'a', n);
    for (size_t i = 0; i < n; i++)
        p[n + i] = "\\input{b} "[i % 10];
    memcpy(p + n, "\\begin{document}", 16);
    struct kj_latex_file f[] = {{KJ_STR("main.tex"), {p + n, n}},
                                {KJ_STR("b.tex"), {p, n}}};
    CHECK_INT(render(f, 2), KJ_BAD_RECORD);
    CHECK_STR(paper.rule, strlen(paper.rule), "extract.latex_bytes");
    free(p);
    /* Doubling macros run out of fuel, not out of memory. */
    CHECK(render_one("\\newcommand{\\a}{\\b\\b}\\newcommand{\\b}{\\c\\c}"
                     "\\newcommand{\\c}{\\d\\d}\\newcommand{\\d}{\\e\\e}"
                     "\\newcommand{\\e}{\\a\\a}",
                     "\\a $\\a$") <= KJ_OK);
}

int main(void)
{
    latex = kj_latex_new();
    kj_buf_init(&out, 64u << 20);
    test_cases();
    test_labels();
    test_flags();
    test_macros();
    test_files();
    test_caps();
    test_hostile();
    kj_latex_free(latex);
    kj_buf_release(&out);
    return test_end();
}
