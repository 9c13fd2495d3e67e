/* shards_index.c - the indexes and headers of shard files.
 *
 * Nothing of a file is used before it was compared with what is known
 * otherwise. Megatron's arrays start at byte 34 and are not aligned, so all are
 * read with memcpy; all numbers are little-endian, as is every machine that
 * this program supports.
 */
#include "base/shards.h"

#include <string.h>

#include "base/err.h"

#define IDX_HEAD 34

static int32_t get32(const unsigned char *p)
{
    int32_t v;
    memcpy(&v, p, 4);
    return v;
}

static int64_t get64(const unsigned char *p)
{
    int64_t v;
    memcpy(&v, p, 8);
    return v;
}

static int idx_check(struct kj_idx *x, uint64_t bin_bytes, struct kj_err *err)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < x->sequences; i++) {
        int32_t len = get32(x->lengths + 4 * i);
        if (len < 0)
            return kj_err_set(err, KJ_FAIL, "sequence %ju: negative length",
                              (uintmax_t)i);
        if (get64(x->pointers + 8 * i) != (int64_t)at)
            return kj_err_set(err, KJ_FAIL, "sequence %ju: its pointer is %jd, not %ju",
                              (uintmax_t)i, (intmax_t)get64(x->pointers + 8 * i),
                              (uintmax_t)at);
        at += (uint64_t)len * x->width;
        if (at > bin_bytes)
            return kj_err_set(err, KJ_FAIL, "sequence %ju: ends behind the .bin",
                              (uintmax_t)i);
    }
    if (at != bin_bytes)
        return kj_err_set(err, KJ_FAIL, "sequences hold %ju bytes, the .bin %ju",
                          (uintmax_t)at, (uintmax_t)bin_bytes);
    x->tokens = at / x->width;
    int64_t before = 0;
    for (uint64_t d = 0; d <= x->documents; d++) {
        int64_t b = get64(x->bounds + 8 * d);
        if (b < before || (d == 0 && b != 0) || (uint64_t)b > x->sequences)
            return kj_err_set(err, KJ_FAIL, "document %ju: begins at sequence %jd",
                              (uintmax_t)d, (intmax_t)b);
        before = b;
    }
    if ((uint64_t)before != x->sequences)
        return kj_err_set(err, KJ_FAIL, "the last document ends at sequence %jd of %ju",
                          (intmax_t)before, (uintmax_t)x->sequences);
    return KJ_OK;
}

int kj_idx_parse(struct kj_idx *x, const void *bytes, size_t n, uint64_t bin_bytes,
                 struct kj_err *err)
{
    const unsigned char *p = bytes;
    memset(x, 0, sizeof *x);
    if (n < IDX_HEAD || memcmp(p, "MMIDIDX\0\0", 9) != 0)
        return kj_err_set(err, KJ_FAIL, "not a Megatron index");
    if (get64(p + 9) != 1)
        return kj_err_set(err, KJ_FAIL, "index version %jd, not 1",
                          (intmax_t)get64(p + 9));
    x->dtype = p[17];
    if (x->dtype != KJ_IDX_INT32 && x->dtype != KJ_IDX_UINT16)
        return kj_err_set(err, KJ_FAIL, "dtype %d is neither uint16 (8) nor int32 (4)",
                          x->dtype);
    x->width = x->dtype == KJ_IDX_UINT16 ? 2 : 4;
    uint64_t s = (uint64_t)get64(p + 18), d = (uint64_t)get64(p + 26);
    if (d == 0 || s > n / 12 || d > n / 8 || IDX_HEAD + 12 * s + 8 * d != n)
        return kj_err_set(
            err, KJ_FAIL,
            "%ju sequences and %ju document indices do not make %zu bytes",
            (uintmax_t)s, (uintmax_t)d, n);
    x->sequences = s;
    x->documents = d - 1;
    x->lengths = p + IDX_HEAD;
    x->pointers = x->lengths + 4 * s;
    x->bounds = x->pointers + 8 * s;
    return idx_check(x, bin_bytes, err);
}

uint64_t kj_idx_doc_start(const struct kj_idx *x, uint64_t d)
{
    if (x->ends)
        return d == 0 || !x->documents ? 0
               : d >= x->documents     ? x->tokens
                                       : (uint64_t)get64(x->ends + 8 * (d - 1));
    uint64_t seq = d < x->documents ? (uint64_t)get64(x->bounds + 8 * d) : x->sequences;
    if (seq >= x->sequences)
        return x->tokens;
    return (uint64_t)get64(x->pointers + 8 * seq) / x->width;
}

int kj_ends_parse(struct kj_idx *x, const void *bytes, size_t n, unsigned width,
                  uint64_t tokens, struct kj_err *err)
{
    uint64_t before = 0;
    memset(x, 0, sizeof *x);
    if (n % 8)
        return kj_err_set(err, KJ_FAIL, "%zu bytes are no list of document ends", n);
    x->dtype = width == 2 ? KJ_IDX_UINT16 : KJ_IDX_INT32;
    x->width = width;
    x->ends = bytes;
    x->documents = x->sequences = n / 8;
    for (uint64_t d = 0; d < x->documents; d++) {
        uint64_t end = (uint64_t)get64(x->ends + 8 * d);
        if (end < before || end > tokens)
            return kj_err_set(err, KJ_FAIL, "document %ju: ends at token %ju",
                              (uintmax_t)d, (uintmax_t)end);
        before = end;
    }
    if (before != tokens)
        return kj_err_set(err, KJ_FAIL,
                          "the last document ends at token %ju, the file at %ju",
                          (uintmax_t)before, (uintmax_t)tokens);
    x->tokens = tokens;
    return KJ_OK;
}

void kj_llmc_head(unsigned char out[KJ_LLMC_HEAD], unsigned width, uint64_t tokens)
{
    const int32_t v[3] = {width == 2 ? 20240520 : 20240801, width == 2 ? 1 : 7,
                          (int32_t)tokens};
    memset(out, 0, KJ_LLMC_HEAD);
    memcpy(out, v, sizeof v);
}

int kj_llmc_parse(const void *bytes, size_t n, unsigned *width, uint64_t *tokens,
                  struct kj_err *err)
{
    const unsigned char *p = bytes;
    unsigned char want[KJ_LLMC_HEAD];
    if (n < KJ_LLMC_HEAD)
        return kj_err_set(err, KJ_FAIL, "too short for llm.c's header");
    *width = get32(p) == 20240801 ? 4 : 2;
    *tokens = (uint64_t)(n - KJ_LLMC_HEAD) / *width;
    kj_llmc_head(want, *width, *tokens);
    if (*tokens > INT32_MAX || KJ_LLMC_HEAD + *tokens * *width != n ||
        memcmp(p, want, KJ_LLMC_HEAD) != 0)
        return kj_err_set(
            err, KJ_FAIL,
            "not llm.c's header for %zu bytes (magic %jd, version %jd, %jd tokens)", n,
            (intmax_t)get32(p), (intmax_t)get32(p + 4), (intmax_t)get32(p + 8));
    return KJ_OK;
}
