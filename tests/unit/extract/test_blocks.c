/* test_blocks.c - a page as a row of blocks, and what is said of each. */
#include "base/err.h"
#include "extract/blocks.h"
#include "extract/judge.h"
#include "extract/phrases.h"
#include "tests/unit/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct kj_tree tree;
static struct kj_content content;
static struct kj_blocks blocks;

static bool find(const char *p)
{
    struct kj_html_limits lim = KJ_HTML_LIMITS;
    struct kj_err err = KJ_ERR_INIT;
    if (!CHECK_INT(kj_tree_parse(&tree, p, strlen(p), &lim, &err), KJ_OK))
        return false;
    kj_content_begin(&content, &tree);
    kj_blocks_begin(&blocks, &content, &tree);
    kj_content_find(&content, &tree);
    return kj_blocks_find(&blocks, &content, &tree);
}

#define CARD(name)                                                                     \
    "<li class=card><h3 class=name>" name "</h3><p class=desc>What " name              \
    " is good for, said in a few words.</p><span class=price>12</span></li>"

static const char listing[] =
    "<html><head><title>Green kettles</title><meta name=description content='All our "
    "kettles in one place'><script type='application/ld+json'>{\"description\": "
    "\"enamel \\\"outside\\\" only\", \"name\":\"x\"}</script></head><body>"
    "<div class=top><p>Welcome to the shop of many things and some more</p></div>"
    "<h1>Green kettles</h1><p>Intro of the list</p>"
    "<ul class=grid>" CARD("Anna") CARD("Bert")
        CARD("Carl") "</ul>"
                     "<h2>Customer reviews</h2><p>Never had a better "
                     "one.</p><p>Anna</p></body></html>";

/* The block that starts with these words. */
static size_t block_of(const char *words)
{
    for (size_t i = 0; i < blocks.n; i++) {
        struct kj_str s = tree.nodes[blocks.b[i].first].text;
        if (s.n >= strlen(words) && memcmp(s.p, words, strlen(words)) == 0)
            return i;
    }
    return blocks.n;
}

static void test_kinds(void)
{
    if (!CHECK(find(listing)))
        return;
    size_t a = block_of("Anna"), b = block_of("Bert"), w = block_of("What Anna");
    CHECK(a < blocks.n && b < blocks.n && w == a + 1);
    CHECK_INT(blocks.b[a].like, blocks.b[b].like);
    CHECK(blocks.b[a].like != blocks.b[w].like);
    CHECK(blocks.b[a].like < blocks.kinds && blocks.kinds <= blocks.n);
    /* The box around a card's name is the card; the next the list or more. */
    CHECK_INT(blocks.b[a].lo[0], a);
    CHECK_INT(blocks.b[a].hi[0], b);
    CHECK(blocks.b[a].lo[1] <= a && blocks.b[a].hi[1] > b + 2);
    for (int up = 1; up < KJ_BLOCK_BOXES; up++)
        CHECK(blocks.b[a].hi[up] >= blocks.b[a].hi[up - 1]);
}

static void test_heads(void)
{
    if (!CHECK(find(listing)))
        return;
    size_t h1 = block_of("Green"), intro = block_of("Intro"), r = block_of("Customer");
    CHECK_INT(blocks.h1, h1);
    CHECK_INT(blocks.b[intro].head, h1);
    CHECK_INT(blocks.b[intro].next, block_of("Anna"));
    CHECK_INT(blocks.b[0].head, blocks.n); /* nothing above */
    CHECK_INT(blocks.b[blocks.n - 1].head, r);
    CHECK_INT(blocks.b[blocks.n - 1].next, blocks.n);
    CHECK_INT(blocks.b[r].phrase, KJ_PHRASE_REVIEWS);
    CHECK_INT(blocks.b[blocks.n - 1].twins, 2);
    CHECK_INT(blocks.b[blocks.n - 1].twin, 1);
    CHECK_INT(blocks.b[block_of("Anna")].twin, 0);
}

static uint64_t hash(const char *z)
{
    uint64_t h = 0xCBF29CE484222325u;
    for (; *z; z++)
        h = (h ^ (unsigned char)*z) * 0x100000001B3u;
    return h;
}

static void test_words(void)
{
    if (!CHECK(find(listing)))
        return;
    CHECK_INT(kj_words_find(&blocks.words, hash("green")), 1);
    CHECK_INT(kj_words_find(&blocks.words, hash("kettles")), 1 | 2);
    CHECK_INT(kj_words_find(&blocks.words, hash("enamel")), 4);
    CHECK_INT(kj_words_find(&blocks.words, hash("outside")), 4);
    CHECK_INT(kj_words_find(&blocks.words, hash("anna")), 0);
}

static void test_numbers(void)
{
    size_t n = 0;
    if (!CHECK(find(listing)))
        return;
    for (const struct kj_block_group *g = kj_block_groups; g->name; g++)
        n += g->n;
    CHECK_INT(n, KJ_BLOCK_FEATURES + KJ_PAGE_FEATURES);
    for (size_t i = 0; i < blocks.n; i++) {
        float x[KJ_BLOCK_FEATURES];
        CHECK_INT(kj_block_features(&blocks, &content, &tree, i, x), KJ_BLOCK_FEATURES);
        for (size_t k = 0; k < KJ_BLOCK_FEATURES; k++)
            CHECK(isfinite(x[k]) && x[k] >= -0.01F && x[k] <= 20);
    }
}

/* Answers that are folded, by a name and by place; and the buttons that ask. */
static void test_folds(void)
{
    static const char page[] =
        "<title>x</title><button aria-expanded=false>Menu</button><button>Buy "
        "it</button>"
        "<div class=faq><p>One two three four five</p>"
        "<h3><button aria-expanded=false aria-controls=a1>Does it float?</button></h3>"
        "<div id=a1><p>It floats well.</p></div>"
        "<div><button aria-expanded=true>Does it burn?</button></div>"
        "<div><p>It burns badly.</p></div></div>"
        "<button><h4>Is it heavy?</h4></button><p>It is not.</p>"
        "<p>Two</p><p>Three</p><p>Four</p><p style='display:none'>Unseen</p>"
        "<div role=dialog><p>Cookies?</p></div><p aria-hidden=true>Five</p>";
    static const struct {
        const char *text;
        unsigned folds;
    } want[] = {
        {"Menu", KJ_FOLD_SHUT_KEY},
        {"One two", 0},
        {"Does it float", KJ_FOLD_SHUT_KEY},
        {"It floats", KJ_FOLD_SHUT},
        {"Does it burn", KJ_FOLD_OPEN_KEY},
        {"It burns", KJ_FOLD_OPEN},
        {"Is it heavy", 0},
        {"It is not", 0},
        {"Unseen", KJ_FOLD_STYLE},
        {"Cookies", KJ_FOLD_DIALOG},
        {"Five", KJ_FOLD_ARIA},
    };
    if (!CHECK(find(page)))
        return;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        size_t at = block_of(want[i].text);
        if (CHECK(at < blocks.n))
            CHECK_INT(blocks.around[blocks.b[at].first].folds, want[i].folds);
    }
    CHECK_INT(block_of("Buy"), blocks.n); /* only a button */
}

static size_t runs_said(size_t at, unsigned said)
{
    size_t n = 0;
    for (uint32_t i = blocks.b[at].run; i < blocks.b[at].run + blocks.b[at].n_runs; i++)
        n += (blocks.said.table[blocks.said.at[i]].said & said) != 0;
    return n;
}

/* Runs of words: of other blocks, and of the structured data. */
static void test_runs(void)
{
    static const char page[] =
        "<script type='application/ld+json'>{\"description\" : \"Blue, \\\"round\\\" "
        "and "
        "<b>very</b> light\", \"reviewBody\":\"I like it so much\"}</script>"
        "<p>The river <i>runs</i> over "
        "stones</p><p>b</p><p>c</p><p>d</p><p>e</p><p>f</p>"
        "<p>Where THE RIVER RUNS OVER!</p><p>blue round and very light</p>"
        "<p>i like it so much</p><p>g</p>";
    if (!CHECK(find(page)))
        return;
    const struct kj_block *a = &blocks.b[block_of("The river")];
    const struct kj_block *b = &blocks.b[block_of("Where")];
    CHECK_INT(a->n_runs, 2);
    CHECK_INT(b->n_runs, 2);
    CHECK_INT(blocks.said.at[a->run], blocks.said.at[b->run + 1]);
    CHECK_INT(blocks.said.table[blocks.said.at[a->run]].texts, 2);
    CHECK_INT(blocks.said.table[blocks.said.at[b->run]].texts, 1);
    CHECK_INT(runs_said(block_of("blue"), KJ_SAID_DESC), 2);
    CHECK_INT(runs_said(block_of("blue"), KJ_SAID_REVIEW), 0);
    CHECK_INT(runs_said(block_of("i like"), KJ_SAID_REVIEW), 2);
    CHECK_INT(runs_said(block_of("The river"), 15), 0);
    CHECK_INT(blocks.b[block_of("g")].n_runs, 0);
}

static void test_names(void)
{
    struct kj_attrs a;
    struct kj_hint_memo *memo = kj_xcalloc(1, sizeof *memo);
    memset(&a, 0, sizeof a);
    a.cls = (struct kj_str){"productPrice nav", 16};
    uint64_t h = kj_hints(memo, &a);
    CHECK(h >> (KJ_NAME_FIRST + KJ_NAME_PRICE) & 1);
    CHECK(h >> (KJ_NAME_FIRST + KJ_NAME_PRODUCT) & 1);
    CHECK(!(h >> (KJ_NAME_FIRST + KJ_NAME_REVIEW) & 1));
    CHECK(h & KJ_HINT_CHROME);
    CHECK_INT(kj_hints(memo, &a), h);
    CHECK_INT(kj_name_of("reviewer", 8), 0);
    CHECK(kj_name_of("reviews", 7) &&
          kj_name_of("reviews", 7) == kj_name_of("stars", 5));
    CHECK(KJ_NAME_FIRST + KJ_N_NAMES <= 64);
    free(memo);
}

static void test_phrases(void)
{
    static const struct {
        const char *text;
        enum kj_phrase is;
    } p[] = {
        {"Related  Posts", KJ_PHRASE_RELATED},
        {"12 Comments", KJ_PHRASE_TALK},
        {"상품평", KJ_PHRASE_REVIEWS},
        {"Product description", KJ_PHRASE_ABOUT},
        {"You may also need", KJ_PHRASE_ALSO},
        {"Quick links", KJ_PHRASE_SITE},
        {"Share this:", KJ_PHRASE_CHROME},
        {"It rained.", KJ_PHRASE_NONE},
        {"3 ", KJ_PHRASE_NONE},
        {"", KJ_PHRASE_NONE},
    };
    for (size_t i = 0; i < sizeof p / sizeof *p; i++)
        CHECK_INT(kj_phrase_of(p[i].text, strlen(p[i].text)), p[i].is);
}

/* The same page is judged the same, whatever was judged before it. */
static void test_judge(void)
{
    struct kj_judge j;
    memset(&j, 0, sizeof j);
    if (!CHECK(find(listing)))
        return;
    float first[64];
    CHECK(blocks.n <= 64);
    for (int pass = 0; pass < 2; pass++) {
        kj_judge_blocks(&j, &blocks, &content, &tree);
        CHECK(j.sure >= 0 && j.sure <= 1);
        if (pass)
            CHECK(memcmp(first, j.verdict, blocks.n * sizeof *first) == 0);
        memcpy(first, j.verdict, blocks.n * sizeof *first);
    }
    kj_judge_release(&j);
}

int main(void)
{
    kj_tree_init(&tree);
    test_kinds();
    test_heads();
    test_words();
    test_numbers();
    test_folds();
    test_runs();
    test_names();
    test_phrases();
    test_judge();
    CHECK(!find("<p>too little"));
    kj_tree_release(&tree);
    kj_content_release(&content);
    kj_blocks_release(&blocks);
    return test_end();
}
