/* url.c - the stage urls: block lists, words, take-downs, consent. */
#include "filter/url.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/hash.h"
#include "base/input.h"
#include "base/json.h"
#include "base/mem.h"

#define URL_BYTES_MAX 8192 /* of an address; the rest is not looked at */
#define WORD_MAX      64   /* longest word of a list */
#define LINE_BYTES    (1u << 16)

/* A set of strings, by hash; 0 is an empty slot. */
struct set {
    uint64_t *v;
    size_t n, size;
    size_t longest; /* bytes */
    uint64_t lengths;
};

enum { DOMAIN, ADDRESS, BANNED, SOFT, SUBWORD, TAKEDOWN, ROBOTS, NOAI, TDM, N_RULES };

struct cfg {
    struct kj_strs blocklist, banned, soft, sub, takedown, respect;
    /* completed by open */
    struct set set[TAKEDOWN + 1];
    bool on[N_RULES];
    struct kj_rule rules[N_RULES]; /* those that are on */
    size_t n_rules;
    const struct kj_rule *row[N_RULES];
};

#define F(x) offsetof(struct cfg, x)
const struct kj_opt kj_urls_opts[] = {
    {"blocklist", 0, KJ_OPT_LIST, F(blocklist), "DIR",
     "block lists in the layout of UT1: DIR/domains, DIR/urls, or DIR/CATEGORY/...", 0,
     0, 0},
    {"banned_words", 0, KJ_OPT_LIST, F(banned), "FILE",
     "words of which one in the address is enough", 0, 0, 0},
    {"soft_words", 0, KJ_OPT_LIST, F(soft), "FILE",
     "words of which two different ones are enough", 0, 0, 0},
    {"banned_subwords", 0, KJ_OPT_LIST, F(sub), "FILE",
     "strings that may stand nowhere in the address", 0, 0, 0},
    {"takedown", 0, KJ_OPT_LIST, F(takedown), "FILE",
     "URLs and document ids to be left out", 0, 0, 0},
    {"respect", 0, KJ_OPT_LIST, F(respect), "robots,tdm,noai",
     "leave out pages that say so in robots meta, X-Robots-Tag or TDMRep", 0, 0, 0},
    {0},
};
#undef F

static const struct kj_rule table[N_RULES] = {
    [DOMAIN] = {"url.domain", ">=", 1, "",
                "1 when the host, or a domain above it, is "
                "on a block list"},
    [ADDRESS] = {"url.address", ">=", 1, "",
                 "1 when the address, or one above it, is on "
                 "a block list"},
    [BANNED] = {"url.banned_words", ">=", 1, "words", "different banned words in it"},
    [SOFT] = {"url.soft_words", ">=", 2, "words", "different soft words in it"},
    [SUBWORD] = {"url.banned_subwords", ">=", 1, "",
                 "1 when a banned string stands in its letters and digits"},
    [TAKEDOWN] = {"url.takedown", ">=", 1, "", "1 when its address or id is listed"},
    [ROBOTS] = {"url.robots", ">=", 1, "", "1 when the page asks not to be indexed"},
    [NOAI] = {"url.noai", ">=", 1, "", "1 when the page says noai"},
    [TDM] = {"url.tdm", ">=", 1, "", "1 when text and data mining is reserved"},
};

/* ---------------------------------------------------------------------- sets */

static uint64_t key_of(const char *p, size_t n)
{
    uint64_t h = kj_hash64(p, n, 0);
    return h ? h : 1;
}

static bool holds(const struct set *s, const char *p, size_t n)
{
    if (!s->size || n > s->longest)
        return false;
    uint64_t h = key_of(p, n);
    for (uint64_t i = h;; i++) {
        uint64_t v = s->v[i & (s->size - 1)];
        if (v == h || !v)
            return v == h;
    }
}

static void put(struct set *s, uint64_t h)
{
    uint64_t i = h;
    while (s->v[i & (s->size - 1)] && s->v[i & (s->size - 1)] != h)
        i++;
    s->n += !s->v[i & (s->size - 1)];
    s->v[i & (s->size - 1)] = h;
}

static void add(struct set *s, const char *p, size_t n)
{
    if (!n)
        return;
    if (2 * (s->n + 1) > s->size) {
        struct set old = *s;
        s->size = old.size ? 2 * old.size : 1024;
        s->v = kj_xcalloc(s->size, sizeof *s->v);
        s->n = 0;
        for (size_t i = 0; i < old.size; i++)
            if (old.v[i])
                put(s, old.v[i]);
        free(old.v);
    }
    put(s, key_of(p, n));
    s->longest = n > s->longest ? n : s->longest;
    s->lengths |= 1ull << (n & 63);
}

/* ----------------------------------------------------------------- addresses */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Without scheme, user, "www.", port, fragment and slashes at the end; the host
 * in lower case. Returns the length; *host: that of the host. */
static size_t plain_url(const char *p, size_t n, char out[URL_BYTES_MAX], size_t *host)
{
    n = n < URL_BYTES_MAX ? n : URL_BYTES_MAX;
    for (size_t i = 0; i + 2 < n && p[i] != '/' && p[i] != '?'; i++)
        if (p[i] == ':' && p[i + 1] == '/' && p[i + 2] == '/') {
            p += i + 3;
            n -= i + 3;
            break;
        }
    size_t stop = 0, k = 0, from = 0;
    while (stop < n && p[stop] != '/' && p[stop] != '?' && p[stop] != '#')
        stop++;
    for (size_t i = 0; i < stop; i++)
        if (p[i] == '@')
            from = i + 1;
    if (stop - from > 4 && (p[from] | 32) == 'w' && (p[from + 1] | 32) == 'w' &&
        (p[from + 2] | 32) == 'w' && p[from + 3] == '.')
        from += 4;
    for (size_t i = from; i < stop && p[i] != ':'; i++)
        out[k++] = lower(p[i]);
    while (k && out[k - 1] == '.')
        k--;
    *host = k;
    for (size_t i = stop; i < n && p[i] != '#'; i++)
        out[k++] = p[i];
    while (k > *host && out[k - 1] == '/')
        k--;
    return k;
}

/* ---------------------------------------------------------------------- lists */

static void add_line(struct cfg *c, int rule, const char *p, size_t n)
{
    char out[URL_BYTES_MAX];
    size_t host, k = 0;
    while (n && (p[0] == ' ' || p[0] == '\t')) {
        p++;
        n--;
    }
    while (n && (p[n - 1] == ' ' || p[n - 1] == '\t' || p[n - 1] == '\r'))
        n--;
    if (!n || p[0] == '#')
        return;
    if (rule == BANNED || rule == SOFT || rule == SUBWORD) {
        for (size_t i = 0; i < n && k < WORD_MAX; i++) {
            char ch = lower(p[i]);
            if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9'))
                out[k++] = ch;
        }
        add(&c->set[rule], out, k);
        return;
    }
    if (rule == TAKEDOWN)
        add(&c->set[rule], p, n < URL_BYTES_MAX ? n : URL_BYTES_MAX); /* an id */
    k = plain_url(p, n, out, &host);
    add(&c->set[rule], out, rule == DOMAIN ? host : k);
}

static int read_list(struct cfg *c, int rule, const char *path, struct kj_err *err)
{
    struct kj_input *in;
    const char *p;
    size_t n;
    int64_t member, at;
    int rc = kj_input_open(&in, path, err);
    if (rc)
        return rc;
    struct kj_lines *l = kj_lines_new(in, LINE_BYTES);
    while ((rc = kj_lines_next(l, &p, &n, &member, &at, err)) == KJ_OK)
        add_line(c, rule, p, n);
    kj_lines_free(l);
    kj_input_close(in);
    c->on[rule] = true;
    return rc == KJ_EOF ? KJ_OK : rc;
}

static int read_lists(struct cfg *c, int rule, const struct kj_strs *files,
                      struct kj_err *err)
{
    int rc = KJ_OK;
    for (size_t i = 0; i < files->n && rc == KJ_OK; i++)
        rc = read_list(c, rule, files->v[i], err);
    return rc;
}

/* The lists of one folder, and of the folders in it; *found counts files. */
static int read_folder(struct cfg *c, const char *dir, int depth, size_t *found,
                       struct kj_err *err)
{
    static const char *const names[] = {"domains", "urls"};
    static const char *const ends[] = {"", ".gz", ".zst", ".xz", ".bz2"};
    struct kj_buf b;
    struct stat st;
    int rc = KJ_OK;
    kj_buf_init(&b, 1 << 16);
    for (int k = 0; k < 2; k++)
        for (size_t e = 0; e < sizeof ends / sizeof *ends && rc == KJ_OK; e++) {
            kj_buf_reset(&b);
            kj_buf_printf(&b, "%s/%s%s", dir, names[k], ends[e]);
            if (stat(kj_buf_z(&b), &st) != 0 || !S_ISREG(st.st_mode))
                continue;
            rc = read_list(c, k ? ADDRESS : DOMAIN, kj_buf_z(&b), err);
            ++*found;
        }
    DIR *d = depth && rc == KJ_OK ? opendir(dir) : NULL;
    for (struct dirent *f; d && rc == KJ_OK && (f = readdir(d));) {
        kj_buf_reset(&b);
        kj_buf_printf(&b, "%s/%s", dir, f->d_name);
        if (f->d_name[0] != '.' && stat(kj_buf_z(&b), &st) == 0 && S_ISDIR(st.st_mode))
            rc = read_folder(c, kj_buf_z(&b), depth - 1, found, err);
    }
    if (d)
        closedir(d);
    kj_buf_release(&b);
    return rc;
}

static int read_respect(struct cfg *c, struct kj_err *err)
{
    static const char *const names[] = {"robots", "noai", "tdm"};
    for (size_t i = 0; i < c->respect.n; i++) {
        int k = 0;
        while (k < 3 && strcmp(c->respect.v[i], names[k]) != 0)
            k++;
        if (k == 3)
            return kj_err_set(
                err, KJ_USAGE,
                "--respect takes robots, tdm and noai (like robots,noai), "
                "not '%s'",
                c->respect.v[i]);
        c->on[ROBOTS + k] = true;
    }
    return KJ_OK;
}

static int urls_open(void *cfg, struct kj_err *err)
{
    struct cfg *c = cfg;
    int rc = read_respect(c, err);
    for (size_t i = 0; i < c->blocklist.n && rc == KJ_OK; i++) {
        size_t found = 0;
        rc = read_folder(c, c->blocklist.v[i], 2, &found, err);
        if (rc == KJ_OK && !found)
            rc = kj_err_set(err, KJ_USAGE,
                            "--blocklist: there are no files domains or urls in '%s' "
                            "or folders in it",
                            c->blocklist.v[i]);
    }
    rc = rc ? rc : read_lists(c, BANNED, &c->banned, err);
    rc = rc ? rc : read_lists(c, SOFT, &c->soft, err);
    rc = rc ? rc : read_lists(c, SUBWORD, &c->sub, err);
    rc = rc ? rc : read_lists(c, TAKEDOWN, &c->takedown, err);
    for (int i = 0; i < N_RULES && rc == KJ_OK; i++)
        if (c->on[i]) {
            c->rules[c->n_rules] = table[i];
            c->row[i] = &c->rules[c->n_rules++];
        }
    if (rc == KJ_OK && !c->n_rules)
        rc = kj_err_set(err, KJ_USAGE,
                        "no list: give --blocklist, --takedown, "
                        "--respect or a list of words");
    return rc;
}

static void urls_close(void *cfg)
{
    struct cfg *c = cfg;
    for (int i = 0; i <= TAKEDOWN; i++) {
        free(c->set[i].v);
        c->set[i] = (struct set){0};
    }
}

static size_t urls_rules(const void *cfg, const struct kj_rule **out)
{
    const struct cfg *c = cfg;
    *out = c->rules;
    return c->n_rules;
}

/* --------------------------------------------------------------------- verdict */

static bool domain_listed(const struct set *s, const char *p, size_t host)
{
    for (size_t i = 0; i < host; i++)
        if ((i == 0 || p[i - 1] == '.') && holds(s, p + i, host - i))
            return true;
    return false;
}

static bool address_listed(const struct set *s, const char *p, size_t n, size_t host)
{
    if (holds(s, p, n))
        return true;
    for (size_t i = host; i < n; i++)
        if ((p[i] == '/' || p[i] == '?' || p[i] == '&') && holds(s, p, i))
            return true;
    return false;
}

/* Different words of the set among the address's. */
static size_t words_in(const struct set *s, const char *p, size_t n)
{
    char w[WORD_MAX];
    uint64_t seen[16];
    size_t k = 0, found = 0;
    for (size_t i = 0; i <= n; i++) {
        char c = i < n ? lower(p[i]) : 0;
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) {
            if (k < WORD_MAX)
                w[k] = c;
            k++;
            continue;
        }
        if (k && k <= WORD_MAX && found < 16 && holds(s, w, k)) {
            uint64_t h = key_of(w, k);
            bool old = false;
            for (size_t m = 0; m < found; m++)
                old |= seen[m] == h;
            if (!old)
                seen[found++] = h;
        }
        k = 0;
    }
    return found;
}

static bool subword_in(const struct set *s, const char *p, size_t n)
{
    char q[URL_BYTES_MAX];
    size_t k = 0;
    for (size_t i = 0; i < n && k < sizeof q; i++) {
        char c = lower(p[i]);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            q[k++] = c;
    }
    for (size_t len = 1; len <= s->longest; len++)
        for (size_t i = 0; s->lengths >> (len & 63) & 1 && i + len <= k; i++)
            if (holds(s, q + i, len))
                return true;
    return false;
}

/* Is one of two words among those of z? ASCII, case aside. */
static bool says(struct kj_str z, const char *one, const char *two)
{
    for (size_t i = 0; i < z.n;) {
        size_t k = i;
        while (k < z.n && !strchr(" ,;:\t", z.p[k]))
            k++;
        for (int w = 0; w < 2; w++) {
            const char *word = w ? two : one;
            size_t m = 0;
            while (m < k - i && word[m] && lower(z.p[i + m]) == word[m])
                m++;
            if (k > i && m == k - i && !word[m])
                return true;
        }
        i = k + 1;
    }
    return false;
}

static void consent(struct kj_doc *d, struct kj_json *j, double v[N_RULES])
{
    struct kj_str raw = kj_doc_get(d, "metadata");
    const struct kj_jval *m;
    if (!raw.n || kj_json_parse(j, raw.p, raw.n, &m, NULL) != KJ_OK ||
        m->kind != KJ_J_OBJECT)
        return;
    struct kj_str robots = kj_jstr(kj_jget(m, "robots"));
    const struct kj_jval *tdm = kj_jget(m, "tdm_reservation");
    v[ROBOTS] = says(robots, "noindex", "none");
    v[NOAI] = says(robots, "noai", "noai");
    v[TDM] = says(kj_jstr(tdm), "1", "1") || kj_jint(tdm, 0) == 1;
}

static void check_doc(const struct cfg *c, struct kj_doc *d, struct kj_batch *b)
{
    char u[URL_BYTES_MAX];
    double v[N_RULES] = {0};
    size_t host, n = plain_url(d->url.p, d->url.n, u, &host);
    size_t raw = d->url.n < URL_BYTES_MAX ? d->url.n : URL_BYTES_MAX;
    const struct kj_rule *first = NULL;
    double value = NAN;
    v[DOMAIN] = domain_listed(&c->set[DOMAIN], u, host);
    v[ADDRESS] = address_listed(&c->set[ADDRESS], u, n, host);
    v[BANNED] = (double)words_in(&c->set[BANNED], d->url.p, raw);
    v[SOFT] = (double)words_in(&c->set[SOFT], d->url.p, raw);
    v[SUBWORD] = subword_in(&c->set[SUBWORD], d->url.p, raw);
    v[TAKEDOWN] = (n && holds(&c->set[TAKEDOWN], u, n)) ||
                  holds(&c->set[TAKEDOWN], d->id.p, d->id.n);
    if (c->on[ROBOTS] || c->on[NOAI] || c->on[TDM])
        consent(d, b->json, v);
    for (int i = 0; i < N_RULES; i++) {
        if (!c->on[i])
            continue;
        kj_doc_signal_by(d, &b->arena, c->row[i], v[i]);
        if (!first && v[i] >= c->row[i]->threshold) {
            first = c->row[i];
            value = v[i];
        }
    }
    if (first)
        kj_doc_drop(d, first->name, value, first->threshold);
}

static int urls_run(const void *cfg, void *state, struct kj_batch *b,
                    struct kj_err *err)
{
    (void)state;
    (void)err;
    for (size_t i = 0; i < b->n; i++)
        if (kj_doc_kept(&b->docs[i]))
            check_doc(cfg, &b->docs[i], b);
    return KJ_OK;
}

static bool urls_textless(const void *cfg)
{
    (void)cfg; /* lists of addresses, as of a crawl's index, are fine */
    return true;
}

const struct kj_stage kj_stage_urls = {
    .name = "urls",
    .about = "drop documents by their address, take-down lists and consent",
    .opts = kj_urls_opts,
    .cfg_size = sizeof(struct cfg),
    .open = urls_open,
    .run = urls_run,
    .close = urls_close,
    .rules = urls_rules,
    .textless = urls_textless,
};
