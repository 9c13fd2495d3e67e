/* shards_file.c - one shard in Megatron's, llm.c's or datatrove's form.
 *
 * llm.c's header holds the number of tokens, which is known at the end: it is
 * written as zeros, and put right in the finished file. Nothing reads that file
 * before the manifest is there, so a kill in between does no harm. llm.c has no
 * index; it gets the list of document ends that datatrove has, since without one
 * no token could be traced to its document.
 */
#include "tokenize/shards_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/output.h"
#include "base/shards.h"

static const char *const bin_suffix[] = {"bin", "bin", "ds"};
static const char *const idx_suffix[] = {"idx", "bin.index", "ds.index"};

char *kj_shard_file_path(const struct kj_shard_file *f, const char *name)
{
    return kj_xprintf("%s/%s", f->dir, name);
}

uint64_t kj_shard_file_most(const struct kj_shard_file *f)
{
    return f->format == KJ_SHARD_LLMC ? INT32_MAX : INT64_MAX / 8;
}

void kj_shard_file_name(struct kj_shard_file *f, size_t number)
{
    snprintf(f->bin_name, sizeof f->bin_name, "shard-%05zu.%s", number,
             bin_suffix[f->format]);
    snprintf(f->idx_name, sizeof f->idx_name, "shard-%05zu.%s", number,
             idx_suffix[f->format]);
    f->note_name[0] = '\0';
    if (f->format == KJ_SHARD_DS)
        snprintf(f->note_name, sizeof f->note_name, "%s.metadata", f->bin_name);
}

int kj_shard_file_begin(struct kj_shard_file *f, size_t number, struct kj_err *err)
{
    static const unsigned char head[KJ_LLMC_HEAD];
    kj_shard_file_name(f, number);
    f->tokens = 0;
    f->n = 0;
    char *path = kj_shard_file_path(f, f->bin_name);
    int rc = f->parts ? kj_output_open_part(&f->bin, path, 0, NULL, 0, err)
                      : kj_output_open(&f->bin, path, err);
    if (rc == KJ_OK && f->format == KJ_SHARD_LLMC)
        rc = kj_output_write(f->bin, (const char *)head, sizeof head, err);
    free(path);
    return rc;
}

int kj_shard_file_resume(struct kj_shard_file *f, size_t number, int64_t stored,
                         uint64_t tokens, const char *lengths, size_t n,
                         struct kj_err *err)
{
    kj_shard_file_name(f, number);
    f->tokens = tokens;
    f->n = f->cap = n;
    f->lengths = kj_xrealloc(f->lengths, (n + 1) * sizeof *f->lengths);
    memcpy(f->lengths, lengths, n * sizeof *f->lengths);
    char *path = kj_shard_file_path(f, f->bin_name);
    int rc = kj_output_open_part(&f->bin, path, stored, NULL, 0, err);
    free(path);
    return rc;
}

int kj_shard_file_add(struct kj_shard_file *f, const void *tokens, size_t n,
                      struct kj_err *err)
{
    if (f->n == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 4096;
        f->lengths = kj_xrealloc(f->lengths, f->cap * sizeof *f->lengths);
    }
    f->lengths[f->n++] = (int32_t)n;
    f->tokens += n;
    return kj_output_write(f->bin, tokens, n * f->width, err);
}

static int put64(struct kj_output *o, uint64_t v, struct kj_err *err)
{
    return kj_output_write(o, (const char *)&v, 8, err);
}

static int put_megatron(const struct kj_shard_file *f, struct kj_output *o,
                        struct kj_err *err)
{
    unsigned char dtype = f->width == 2 ? KJ_IDX_UINT16 : KJ_IDX_INT32;
    uint64_t at = 0;
    int rc = kj_output_write(o, "MMIDIDX\0\0", 9, err);
    if (rc == KJ_OK)
        rc = put64(o, 1, err);
    if (rc == KJ_OK)
        rc = kj_output_write(o, (const char *)&dtype, 1, err);
    if (rc == KJ_OK)
        rc = put64(o, f->n, err);
    if (rc == KJ_OK)
        rc = put64(o, f->n + 1, err);
    if (rc == KJ_OK)
        rc = kj_output_write(o, (const char *)f->lengths, f->n * 4, err);
    for (size_t i = 0; i < f->n && rc == KJ_OK; i++) {
        rc = put64(o, at, err);
        at += (uint64_t)f->lengths[i] * f->width;
    }
    for (size_t i = 0; i <= f->n && rc == KJ_OK; i++)
        rc = put64(o, i, err); /* one sequence is one document */
    return rc;
}

static int put_ends(const struct kj_shard_file *f, struct kj_output *o,
                    struct kj_err *err)
{
    uint64_t at = 0;
    int rc = KJ_OK;
    for (size_t i = 0; i < f->n && rc == KJ_OK; i++)
        rc = put64(o, at += (uint64_t)f->lengths[i], err);
    return rc;
}

static int write_index(const struct kj_shard_file *f, const char *path,
                       struct kj_err *err)
{
    struct kj_output *o;
    int rc = kj_output_open(&o, path, err);
    if (rc != KJ_OK)
        return rc;
    rc = f->format == KJ_SHARD_MEGATRON ? put_megatron(f, o, err) : put_ends(f, o, err);
    if (rc == KJ_OK)
        return kj_output_commit(o, err);
    kj_output_abort(o);
    return rc;
}

/* The header's place was kept; now the number of tokens is known. */
static int put_head(const struct kj_shard_file *f, const char *path, struct kj_err *err)
{
    unsigned char head[KJ_LLMC_HEAD];
    kj_llmc_head(head, f->width, f->tokens);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && pwrite(fd, head, sizeof head, 0) == (ssize_t)sizeof head &&
                fsync(fd) == 0;
    int rc = good ? KJ_OK : kj_err_errno(err, KJ_FAIL, "cannot write %s", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* datatrove's note: tokenizer and bytes of a token, tokens, and these for people. */
static int write_note(struct kj_shard_file *f, struct kj_err *err)
{
    static const char unit[] = " kMGTP";
    struct kj_buf b;
    double v = (double)f->tokens;
    size_t u = 0;
    for (; v >= 1000 && u < 5; u++)
        v /= 1000;
    kj_buf_init(&b, 1 << 16);
    kj_buf_printf(&b, "%s|%u\n%" PRIu64 "\n%.3g %.*sT", f->tokenizer, f->width,
                  f->tokens, v, u > 0, unit + u);
    char *path = kj_shard_file_path(f, f->note_name);
    int64_t bytes;
    int rc = kj_output_file(path, b.p, b.n, err);
    if (rc == KJ_OK)
        rc = kj_hash_file(path, f->note_hash, &bytes, err);
    free(path);
    kj_buf_release(&b);
    return rc;
}

int kj_shard_file_end(struct kj_shard_file *f, struct kj_err *err)
{
    char *bin = kj_shard_file_path(f, f->bin_name);
    char *idx = kj_shard_file_path(f, f->idx_name);
    struct kj_output *o = f->bin;
    f->bin = NULL;
    int rc = kj_output_commit(o, err);
    if (rc == KJ_OK && f->format == KJ_SHARD_LLMC)
        rc = put_head(f, bin, err);
    if (rc == KJ_OK)
        rc = write_index(f, idx, err);
    if (rc == KJ_OK)
        rc = kj_hash_file(bin, f->bin_hash, &f->bin_bytes, err);
    if (rc == KJ_OK)
        rc = kj_hash_file(idx, f->idx_hash, &f->idx_bytes, err);
    if (rc == KJ_OK && f->note_name[0])
        rc = write_note(f, err);
    free(bin);
    free(idx);
    return rc;
}

void kj_shard_file_release(struct kj_shard_file *f, bool leave)
{
    if (leave)
        kj_output_leave(f->bin);
    else
        kj_output_abort(f->bin);
    f->bin = NULL;
    free(f->lengths);
    f->lengths = NULL;
    f->n = f->cap = 0;
}

/* What a killed run left under temporary names (base/output.h). */
static void forget_temporary(const struct kj_shard_file *f)
{
    static const char *const heads[] = {"shard-", "docs.jsonl.zst.tmp-",
                                        "manifest.jsonl.tmp-"};
    DIR *d = opendir(f->dir);
    struct dirent *e;
    while (d && (e = readdir(d)) != NULL)
        for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
            if (strncmp(e->d_name, heads[i], strlen(heads[i])) == 0 &&
                strstr(e->d_name, ".tmp-")) {
                char *p = kj_shard_file_path(f, e->d_name);
                unlink(p);
                free(p);
                break;
            }
    if (d)
        closedir(d);
}

void kj_shard_file_forget(const struct kj_shard_file *f, size_t from, bool leave)
{
    static const char *const suffixes[] = {"bin",      "idx",        "ds",
                                           "bin.part", "ds.part",    "bin.index",
                                           "ds.index", "ds.metadata"};
    bool some = true;
    forget_temporary(f);
    for (size_t i = from; some; i++) {
        some = false;
        for (size_t k = 0; k < sizeof suffixes / sizeof *suffixes; k++) {
            char name[48];
            if (leave && i == from && strstr(suffixes[k], ".part")) {
                some = true;
                continue;
            }
            snprintf(name, sizeof name, "shard-%05zu.%s", i, suffixes[k]);
            char *p = kj_shard_file_path(f, name);
            some |= unlink(p) == 0;
            free(p);
        }
    }
}
