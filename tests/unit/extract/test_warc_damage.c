/* Archives damaged in every way, byte by byte: whatever is done to one record,
 * the reader ends, its neighbours come whole, and the fault is told where it is.
 *
 * A small archive of each kind is made here; then it is cut at every offset,
 * every byte is changed, bytes are taken out and put in, lengths are made wrong
 * and line ends are spoilt. */
#define _GNU_SOURCE /* memfd_create */
#include "extract/warc.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "base/err.h"
#include "base/input.h"
#include "tests/unit/test.h"

enum { RECORDS = 5, FILE_MAX = 1 << 16 };

enum kind { WARC, WARC_LF, WARC_GZ, WARC_ONE_GZ, ARC, ARC_GZ, KINDS };
static const char *const kind_name[] = {
    "WARC", "WARC with LF", "WARC.gz", "WARC in one member", "ARC", "ARC.gz"};

struct archive {
    enum kind kind;
    char p[FILE_MAX];
    size_t n;
    size_t at[RECORDS + 1]; /* where each record starts in the file */
    char block[RECORDS][400];
    size_t len[RECORDS];
};

static char path[64];
static int fd;
static size_t cases;

/* ---- making ---- */

static size_t gzip(const char *p, size_t n, char *out, size_t cap)
{
    z_stream z;
    memset(&z, 0, sizeof z);
    deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (Bytef *)(uintptr_t)p;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    deflate(&z, Z_FINISH);
    deflateEnd(&z);
    return cap - z.avail_out;
}

/* Text without line ends, so that it looks like no header. */
static size_t make_block(int i, char *to)
{
    size_t n = 20 + (size_t)i * 37;
    for (size_t k = 0; k < n; k++)
        to[k] = (char)('a' + (k * 5 + (size_t)i * 11 + k / 7) % 26);
    return n;
}

static size_t make_record(enum kind kind, int i, const char *block, size_t n, char *to)
{
    static const char *const version[] = {"WARC/1.0", "WARC/1.1", "WARC/0.17",
                                          "WARC/0.18", "WARC/1.0"};
    const char *nl = kind == WARC_LF ? "\n" : "\r\n";
    int k;
    if (kind == ARC || kind == ARC_GZ)
        k = sprintf(to, "%s%d.example/ 1.2.3.4 2020010203040%d text/html %zu\n",
                    i ? "http://a" : "filedesc://a", i, i, n);
    else
        k = sprintf(to,
                    "%s%sWARC-Type: %s%sWARC-Record-ID: <urn:x:%d>%s"
                    "WARC-Date: 2020-01-02T03:04:05Z%sContent-Length: %zu%s%s",
                    version[i], nl, i == 3 ? "conversion" : "response", nl, i, nl, nl,
                    n, nl, nl);
    memcpy(to + k, block, n);
    k += (int)n;
    if (kind == ARC || kind == ARC_GZ)
        k += sprintf(to + k, "\n");
    else
        k += sprintf(to + k, "%s%s", nl, nl);
    return (size_t)k;
}

static void make(enum kind kind, struct archive *a)
{
    char rec[2000], all[RECORDS * 2000];
    size_t n_all = 0;
    memset(a, 0, sizeof *a);
    a->kind = kind;
    for (int i = 0; i < RECORDS; i++) {
        a->len[i] = make_block(i, a->block[i]);
        size_t n = make_record(kind, i, a->block[i], a->len[i], rec);
        a->at[i] = a->n;
        if (kind == WARC_GZ || kind == ARC_GZ) {
            a->n += gzip(rec, n, a->p + a->n, FILE_MAX - a->n);
        } else {
            memcpy(a->p + a->n, rec, n);
            a->n += n;
        }
        memcpy(all + n_all, rec, n);
        n_all += n;
    }
    if (kind == WARC_ONE_GZ)
        a->n = gzip(all, n_all, a->p, FILE_MAX);
    a->at[RECORDS] = a->n;
}

/* ---- reading ---- */

struct result {
    bool whole[RECORDS]; /* came with all of its bytes */
    size_t records, faults;
    int64_t where; /* of the first fault; -1 none */
    int64_t lost;
};

static void note(const struct archive *a, const struct kj_warc_rec *r,
                 struct result *out)
{
    for (int i = 0; i < RECORDS; i++)
        if (r->block.n == a->len[i] && memcmp(r->block.p, a->block[i], a->len[i]) == 0)
            out->whole[i] = true;
}

static void read_back(const struct archive *a, const char *p, size_t n,
                      struct result *out)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_input *in;
    memset(out, 0, sizeof *out);
    out->where = -1;
    cases++;
    /* a file in memory: there are many */
    if (ftruncate(fd, 0) || pwrite(fd, p, n, 0) != (ssize_t)n) {
        CHECK(false);
        return;
    }
    if (kj_input_open(&in, path, &err) < 0) {
        CHECK(false);
        return;
    }
    struct kj_warc *w = kj_warc_new(in);
    for (size_t events = 0;; events++) {
        struct kj_warc_rec r;
        struct kj_err e = KJ_ERR_INIT;
        int rc = kj_warc_next(w, &r, &e);
        if (!CHECK(events < 200) || (rc != KJ_OK && rc != KJ_BAD_RECORD)) {
            CHECK(rc == KJ_EOF);
            break;
        }
        if (rc == KJ_OK) {
            out->records++;
            note(a, &r, out);
            CHECK(r.offset >= 0 && (size_t)r.offset < n);
            CHECK(r.length < 0 || (size_t)(r.offset + r.length) <= n);
            continue;
        }
        int64_t at = kj_warc_fault_offset(w);
        CHECK(at >= 0 && (size_t)at <= n);
        CHECK(kj_warc_rule(w) != NULL);
        CHECK(kj_warc_fault_lost(w) >= 0);
        out->lost += kj_warc_fault_lost(w);
        if (!out->faults++)
            out->where = at;
    }
    CHECK((size_t)kj_warc_consumed(w) == n);
    kj_warc_free(w);
}

/* All records but those from number a to number b came. */
static bool others_came(const struct result *r, int a, int b)
{
    for (int i = 0; i < RECORDS; i++)
        if ((i < a || i > b) && !r->whole[i])
            return false;
    return true;
}

/* Number of the record that byte `at` of the file lies in. */
static int record_at(const struct archive *a, size_t at)
{
    int i = 0;
    while (i + 1 < RECORDS && a->at[i + 1] <= at)
        i++;
    return i;
}

static bool by_member(const struct archive *a)
{
    return a->kind == WARC_GZ || a->kind == ARC_GZ;
}

static void complain(const struct archive *a, const char *what, size_t at,
                     const struct result *r)
{
    printf("     %s, %s at %zu of %zu: came", kind_name[a->kind], what, at, a->n);
    for (int i = 0; i < RECORDS; i++)
        printf(" %d", r->whole[i]);
    printf("; %zu faults, the first at %lld\n", r->faults, (long long)r->where);
}

/* ---- damaging ---- */

static void test_sound(const struct archive *a)
{
    struct result r;
    read_back(a, a->p, a->n, &r);
    CHECK_INT(r.records, RECORDS);
    CHECK_INT(r.faults, 0);
    CHECK(others_came(&r, RECORDS, RECORDS));
}

static void test_cut(const struct archive *a)
{
    struct result r;
    for (size_t at = 0; at < a->n; at++) {
        read_back(a, a->p, at, &r);
        if (a->kind == WARC_ONE_GZ)
            continue; /* how far it goes is deflate's affair */
        int i = record_at(a, at);
        if (!CHECK(others_came(&r, i, RECORDS)))
            complain(a, "cut", at, &r);
        /* The fault is in the record that was cut: but for its last line ends, and
         * for nothing of it being there. */
        if (at == a->at[i])
            continue;
        bool told = r.faults > 0 && r.where == (int64_t)a->at[i];
        if (!CHECK(told || r.whole[i]))
            complain(a, "cut", at, &r);
    }
}

static void test_change(const struct archive *a)
{
    static const unsigned char with[] = {0x01, 0x20, 0x80, 0xFF};
    char *p = malloc(a->n);
    struct result r;
    for (size_t at = 0; at < a->n; at++) {
        memcpy(p, a->p, a->n);
        p[at] = (char)(p[at] ^ with[at % 4]);
        read_back(a, p, a->n, &r);
        if (a->kind == WARC_ONE_GZ)
            continue;
        int i = record_at(a, at);
        if (!CHECK(others_came(&r, i, i)))
            complain(a, "change", at, &r);
        if (by_member(a) && !CHECK(r.whole[i] || r.where == (int64_t)a->at[i]))
            complain(a, "change", at, &r);
    }
    free(p);
}

/* Take bytes out, or put them in. */
static void test_shift(const struct archive *a)
{
    static const struct {
        size_t out;
        const char *in;
        size_t n;
    } how[] = {{1, "", 0},         {7, "", 0},
               {0, "x", 1},        {0, "\r\n", 2},
               {0, "\0\0\0\0", 4}, {0, "\x1f\x8b\x08\0\0\0\0\0\0\3 no gzip", 18},
               {0, "WARC/", 5}};
    char *p = malloc(FILE_MAX + 64);
    struct result r;
    if (a->kind == WARC_ONE_GZ) {
        free(p);
        return;
    }
    for (size_t at = 0; at <= a->n; at++) {
        for (size_t k = 0; k < sizeof how / sizeof *how; k++) {
            size_t out = at + how[k].out <= a->n ? how[k].out : a->n - at;
            memcpy(p, a->p, at);
            memcpy(p + at, how[k].in, how[k].n);
            memcpy(p + at + how[k].n, a->p + at + out, a->n - at - out);
            read_back(a, p, a->n - out + how[k].n, &r);
            /* what is put between two records may be of either */
            int i = record_at(a, at), j = record_at(a, at + out - (out > 0));
            i -= i > 0 && at == a->at[i];
            if (!CHECK(others_came(&r, i, j)))
                complain(a, how[k].out ? "gap" : "insertion", at, &r);
        }
    }
    free(p);
}

/* Whole pages of garbage between records. */
static void test_garbage(const struct archive *a)
{
    char *p = malloc(FILE_MAX + 5000);
    struct result r;
    if (a->kind == WARC_ONE_GZ) {
        free(p);
        return;
    }
    for (int i = 0; i <= RECORDS; i++) {
        for (int how = 0; how < 3; how++) {
            size_t at = a->at[i], n = how == 2 ? 2 : 4099;
            memcpy(p, a->p, at);
            for (size_t k = 0; k < n; k++)
                p[at + k] = (char)(how == 0   ? (k + 1) * 2654435761u >> 11
                                   : how == 1 ? 0
                                              : '\n');
            memcpy(p + at + n, a->p + at, a->n - at);
            read_back(a, p, a->n + n, &r);
            if (!CHECK(others_came(&r, RECORDS, RECORDS)))
                complain(a, "garbage", at, &r);
            /* zeros between members are padding, empty lines are nothing */
            if (how == 0 && CHECK(r.faults > 0)) {
                CHECK(r.where >= (int64_t)(i ? a->at[i - 1] : 0));
                CHECK(r.where <= (int64_t)at);
                if (!CHECK(r.lost >= (int64_t)n - 64 && r.lost <= (int64_t)n + 64))
                    printf("     %s: %lld bytes lost\n", kind_name[a->kind],
                           (long long)r.lost);
            }
        }
    }
    free(p);
}

/* Every record's length wrong by so much, in the header. */
static void test_lengths(enum kind kind)
{
    static const long by[] = {-300, -20, -4, -2, -1, 1, 2, 3, 4, 5, 20, 300, 100000};
    struct archive a;
    struct result r;
    make(kind, &a);
    for (int i = 0; i < RECORDS; i++) {
        for (size_t k = 0; k < sizeof by / sizeof *by; k++) {
            char rec[2000], want[40], is[40], *p = malloc(FILE_MAX);
            long len = (long)a.len[i] + by[k];
            size_t n = make_record(kind, i, a.block[i], a.len[i], rec);
            bool arc = kind == ARC || kind == ARC_GZ;
            snprintf(is, sizeof is, arc ? " %zu\n" : "Content-Length: %zu", a.len[i]);
            snprintf(want, sizeof want, arc ? " %ld\n" : "Content-Length: %ld", len);
            rec[n] = 0;
            char *at = strstr(rec, is);
            memmove(at + strlen(want), at + strlen(is),
                    n - (size_t)(at - rec) - strlen(is));
            memcpy(at, want, strlen(want));
            n += strlen(want) - strlen(is);
            memcpy(p, a.p, a.at[i]);
            size_t m = a.at[i];
            if (by_member(&a)) {
                m += gzip(rec, n, p + m, FILE_MAX - m);
            } else {
                memcpy(p + m, rec, n);
                m += n;
            }
            memcpy(p + m, a.p + a.at[i + 1], a.n - a.at[i + 1]);
            m += a.n - a.at[i + 1];
            read_back(&a, p, m, &r);
            free(p);
            if (!CHECK(others_came(&r, i, i))) {
                printf("     length %ld\n", len);
                complain(&a, "wrong length", a.at[i], &r);
            }
        }
    }
}

int main(void)
{
    static struct archive a;
    fd = memfd_create("archive", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (enum kind k = 0; k < KINDS; k++) {
        make(k, &a);
        test_sound(&a);
        test_cut(&a);
        test_change(&a);
        test_shift(&a);
        test_garbage(&a);
        if (k != WARC_ONE_GZ)
            test_lengths(k);
    }
    close(fd);
    printf("%zu damaged archives\n", cases);
    return test_end();
}
