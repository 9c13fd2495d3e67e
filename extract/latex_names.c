/* latex_names.c - commands and environments that are known by name. */
#include "extract/latex_internal.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static bool among(struct kj_str s, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s.n && names[i][0] == *s.p && kj_tex_is(s, names[i]))
            return true;
    return false;
}

const char *kj_tex_symbol(struct kj_str name)
{
    static const char *const symbols[][2] = {
        {"%", "%"},
        {"&", "&"},
        {"#", "#"},
        {"$", "$"},
        {"_", "_"},
        {"{", "{"},
        {"}", "}"},
        {"ss", "ß"},
        {"ae", "æ"},
        {"AE", "Æ"},
        {"oe", "œ"},
        {"OE", "Œ"},
        {"o", "ø"},
        {"O", "Ø"},
        {"l", "ł"},
        {"L", "Ł"},
        {"aa", "å"},
        {"AA", "Å"},
        {"i", "ı"},
        {"j", "ȷ"},
        {"dh", "ð"},
        {"th", "þ"},
        {"TH", "Þ"},
        {"dj", "đ"},
        {"S", "§"},
        {"P", "¶"},
        {"dag", "†"},
        {"ddag", "‡"},
        {"copyright", "©"},
        {"pounds", "£"},
        {"euro", "€"},
        {"texteuro", "€"},
        {"ldots", "…"},
        {"dots", "…"},
        {"textellipsis", "…"},
        {"LaTeX", "LaTeX"},
        {"LaTeXe", "LaTeX2e"},
        {"TeX", "TeX"},
        {"BibTeX", "BibTeX"},
        {"textbackslash", "\\"},
        {"textasciitilde", "~"},
        {"textasciicircum", "^"},
        {"textbar", "|"},
        {"textless", "<"},
        {"textgreater", ">"},
        {"textunderscore", "_"},
        {"textdegree", "°"},
        {"degree", "°"},
        {"textendash", "–"},
        {"textemdash", "—"},
        {"textquoteleft", "‘"},
        {"textquoteright", "’"},
        {"textquotedblleft", "“"},
        {"textquotedblright", "”"},
        {"lq", "‘"},
        {"rq", "’"},
        {"guillemotleft", "«"},
        {"guillemotright", "»"},
        {"textbullet", "•"},
        {"textregistered", "®"},
        {"texttrademark", "™"},
        {"textdollar", "$"},
        {"textmu", "μ"},
        {"textpm", "±"},
        {"texttimes", "×"},
        {"slash", "/"},
        {"ie", "i.e."},
        {"eg", "e.g."},
        {"etal", "et al."},
        {"sim", "~"},
        {"nobreakdash", ""},
        {"textonehalf", "½"},
        {"textsection", "§"},
        {"lbrack", "["},
        {"rbrack", "]"},
        {"textvisiblespace", " "},
        {"textperthousand", "‰"},
    };
    for (size_t i = 0; i < COUNT(symbols); i++)
        if (name.n && symbols[i][0][0] == *name.p && kj_tex_is(name, symbols[i][0]))
            return symbols[i][1];
    return NULL;
}

uint32_t kj_tex_accent(struct kj_str name)
{
    static const struct {
        char c;
        uint32_t mark;
    } accents[] = {{'`', 0x300}, {'\'', 0x301}, {'^', 0x302}, {'~', 0x303},
                   {'=', 0x304}, {'u', 0x306},  {'.', 0x307}, {'"', 0x308},
                   {'r', 0x30A}, {'H', 0x30B},  {'v', 0x30C}, {'d', 0x323},
                   {'c', 0x327}, {'k', 0x328},  {'b', 0x331}};
    for (size_t i = 0; name.n == 1 && i < COUNT(accents); i++)
        if (accents[i].c == *name.p)
            return accents[i].mark;
    return 0;
}

int kj_tex_gone(struct kj_str name)
{
    static const struct {
        const char *name;
        int args;
    } gone[] = {
        {"label", 1},
        {"ref", 1},
        {"eqref", 1},
        {"cref", 1},
        {"Cref", 1},
        {"autoref", 1},
        {"pageref", 1},
        {"nameref", 1},
        {"vref", 1},
        {"subref", 1},
        {"nocite", 1},
        {"includegraphics", 1},
        {"epsfig", 1},
        {"epsfbox", 1},
        {"psfig", 1},
        {"plotone", 1},
        {"plottwo", 2},
        {"bibliography", 1},
        {"bibliographystyle", 1},
        {"printbibliography", 0},
        {"usepackage", 1},
        {"RequirePackage", 1},
        {"documentclass", 1},
        {"documentstyle", 1},
        {"vspace", 1},
        {"hspace", 1},
        {"setlength", 2},
        {"addtolength", 2},
        {"setcounter", 2},
        {"addtocounter", 2},
        {"newcounter", 1},
        {"stepcounter", 1},
        {"refstepcounter", 1},
        {"pagestyle", 1},
        {"thispagestyle", 1},
        {"pagenumbering", 1},
        {"color", 1},
        {"textcolor", 1},
        {"colorbox", 1},
        {"fontsize", 2},
        {"resizebox", 2},
        {"scalebox", 1},
        {"rotatebox", 1},
        {"raisebox", 1},
        {"parbox", 1},
        {"makebox", 0},
        {"rule", 2},
        {"definecolor", 3},
        {"hypersetup", 1},
        {"theoremstyle", 1},
        {"captionsetup", 1},
        {"email", 1},
        {"affiliation", 1},
        {"affil", 1},
        {"address", 1},
        {"institute", 1},
        {"institution", 1},
        {"date", 1},
        {"author", 1},
        {"authors", 1},
        {"thanks", 1},
        {"authorrunning", 1},
        {"titlerunning", 1},
        {"icmltitle", 0},
        {"graphicspath", 1},
        {"index", 1},
        {"tableofcontents", 0},
        {"maketitle", 0},
        {"newpage", 0},
        {"clearpage", 0},
        {"selectlanguage", 1},
        {"foreignlanguage", 1},
        {"bibitem", 1},
        {"hyphenation", 1},
        {"markboth", 2},
        {"markright", 1},
        {"addcontentsline", 3},
        {"phantom", 1},
        {"hphantom", 1},
        {"vphantom", 1},
        {"pacs", 1},
        {"preprint", 1},
        {"cline", 1},
        {"cmidrule", 1},
        {"rowcolor", 1},
        {"cellcolor", 1},
        {"multicolumn", 2},
        {"multirow", 2},
        {"hypertarget", 1},
        {"hyperref", 0},
        {"linespread", 1},
        {"numberwithin", 2},
        {"allowdisplaybreaks", 0},
        {"keywords", 1},
        {"input", 1},
        {"include", 1},
        {"subfile", 1},
        {"ORCID", 1},
        {"orcid", 1},
        {"orcidlink", 1},
        {"fancyhead", 1},
        {"fancyfoot", 1},
        {"lhead", 1},
        {"rhead", 1},
        {"usetikzlibrary", 1},
        {"tikzset", 1},
        {"pgfplotsset", 1},
        {"lstset", 1},
        {"sisetup", 1},
        {"geometry", 1},
        {"newlength", 1},
        {"newsavebox", 1},
        {"crefname", 3},
        {"Crefname", 3},
        {"DeclareGraphicsExtensions", 1},
        {"allauthors", 0},
        {"bookmarksetup", 1},
        {"makeatletter", 0},
        {"ccsdesc", 1},
        {"setcopyright", 1},
        {"acmConference", 3},
        {"titleformat", 5},
        {"titlespacing", 4},
        {"enlargethispage", 1},
    };
    for (size_t i = 0; i < COUNT(gone); i++)
        if (name.n && gone[i].name[0] == *name.p && kj_tex_is(name, gone[i].name))
            return gone[i].args;
    return -1;
}

int kj_tex_section(struct kj_str name)
{
    static const char *const names[] = {"chapter",       "section",   "subsection",
                                        "subsubsection", "paragraph", "subparagraph"};
    if (kj_tex_is(name, "part"))
        return 0;
    for (size_t i = 0; i < COUNT(names); i++)
        if (kj_tex_is(name, names[i]))
            return (int)i;
    return -1;
}

bool kj_tex_core(struct kj_str s)
{
    static const char *const names[] = {"begin",
                                        "end",
                                        "item",
                                        "title",
                                        "caption",
                                        "footnote",
                                        "label",
                                        "ref",
                                        "cite",
                                        "citep",
                                        "citet",
                                        "emph",
                                        "textbf",
                                        "textit",
                                        "input",
                                        "include",
                                        "section",
                                        "chapter",
                                        "subsection",
                                        "subsubsection",
                                        "paragraph",
                                        "url",
                                        "href",
                                        "maketitle",
                                        "abstract",
                                        "verb",
                                        "documentclass",
                                        "eqref",
                                        "appendix",
                                        "part",
                                        "tableofcontents",
                                        "bibitem",
                                        "author"};
    return among(s, names, COUNT(names)) || (s.n > 3 && memcmp(s.p, "the", 3) == 0);
}

/* The name without its star. */
static struct kj_str bare(struct kj_str s)
{
    if (s.n && s.p[s.n - 1] == '*')
        s.n--;
    return s;
}

bool kj_tex_is_math(struct kj_str env)
{
    static const char *const names[] = {
        "equation", "align",   "gather",  "multline", "eqnarray",     "displaymath",
        "math",     "alignat", "flalign", "dmath",    "IEEEeqnarray", "subeqnarray"};
    return among(bare(env), names, COUNT(names));
}

bool kj_tex_is_picture(struct kj_str env)
{
    static const char *const names[] = {
        "tikzpicture",   "pgfpicture", "picture",
        "pspicture",     "tikzcd",     "thebibliography",
        "filecontents",  "CCSXML",     "overpic",
        "asy",           "references", "comment",
        "axis",          "xy",         "feynman",
        "acronym",       "keywords",   "IEEEkeywords",
        "IEEEbiography", "authors"};
    return among(bare(env), names, COUNT(names));
}

bool kj_tex_is_verbatim(struct kj_str env)
{
    static const char *const names[] = {"verbatim", "Verbatim", "lstlisting", "minted",
                                        "alltt",    "lstcode",  "BVerbatim"};
    return among(bare(env), names, COUNT(names));
}

int kj_tex_env_args(struct kj_str env)
{
    static const struct {
        const char *name;
        int args;
    } envs[] = {{"minipage", 1},       {"multicols", 1},   {"wrapfigure", 2},
                {"wraptable", 2},      {"adjustwidth", 2}, {"tabular", 1},
                {"tabularx", 2},       {"longtable", 1},   {"tabulary", 2},
                {"array", 1},          {"subfigure", 1},   {"subtable", 1},
                {"adjustbox", 1},      {"CJK", 2},         {"spacing", 1},
                {"list", 2},           {"deluxetable", 1}, {"minted", 1},
                {"threeparttable", 0}, {"alignat", 1},     {"IEEEeqnarray", 1}};
    if (kj_tex_is(env, "tabular*"))
        return 2;
    env = bare(env);
    for (size_t i = 0; i < COUNT(envs); i++)
        if (kj_tex_is(env, envs[i].name))
            return envs[i].args;
    return 0;
}

const char *kj_tex_theorem(struct kj_str env)
{
    static const char *const names[][2] = {{"theorem", "Theorem"},
                                           {"thm", "Theorem"},
                                           {"lemma", "Lemma"},
                                           {"lem", "Lemma"},
                                           {"proposition", "Proposition"},
                                           {"prop", "Proposition"},
                                           {"corollary", "Corollary"},
                                           {"cor", "Corollary"},
                                           {"definition", "Definition"},
                                           {"defn", "Definition"},
                                           {"remark", "Remark"},
                                           {"example", "Example"},
                                           {"conjecture", "Conjecture"},
                                           {"claim", "Claim"},
                                           {"proof", "Proof"},
                                           {"assumption", "Assumption"}};
    env = bare(env);
    for (size_t i = 0; i < COUNT(names); i++)
        if (kj_tex_is(env, names[i][0]))
            return names[i][1];
    return NULL;
}
