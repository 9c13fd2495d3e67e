/* warc_write.c - see warc_write.h. */
#include "extract/warc_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"

static void record_id(const struct kj_warc_out *r, char id[48])
{
    struct kj_hash128 h = kj_hash128(r->payload.p, r->payload.n);
    h.hi ^= kj_hash64(r->type, strlen(r->type), 1);
    if (r->uri)
        h.lo ^= kj_hash64(r->uri, strlen(r->uri), 2);
    h.hi ^= kj_hash64(r->date, strlen(r->date), 3);
    /* RFC 9562: version 8, variant 10. */
    h.hi = (h.hi & ~UINT64_C(0xF000)) | UINT64_C(0x8000);
    h.lo = (h.lo & ~(UINT64_C(3) << 62)) | (UINT64_C(2) << 62);
    snprintf(id, 48,
             "<urn:uuid:%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64
             "-%012" PRIx64 ">",
             h.hi >> 32, h.hi >> 16 & 0xFFFF, h.hi & 0xFFFF, h.lo >> 48,
             h.lo & UINT64_C(0xFFFFFFFFFFFF));
}

static void digest(struct kj_str a, struct kj_str b, char out[33])
{
    struct kj_sha1 s;
    unsigned char raw[20];
    kj_sha1_init(&s);
    kj_sha1_add(&s, a.p, a.n);
    kj_sha1_add(&s, b.p, b.n);
    kj_sha1_end(&s, raw);
    kj_base32_20(raw, out);
}

int kj_warc_put(struct kj_buf *b, const struct kj_warc_out *r, char id[48])
{
    char sha[33];
    int rc = 0;
    record_id(r, id);
    rc |= kj_buf_printf(b, "WARC/1.1\r\nWARC-Type: %s\r\nWARC-Record-ID: %s\r\n",
                        r->type, id);
    rc |= kj_buf_printf(b, "WARC-Date: %s\r\n", r->date);
    if (r->filename)
        rc |= kj_buf_printf(b, "WARC-Filename: %s\r\n", r->filename);
    if (r->uri)
        rc |= kj_buf_printf(b, "WARC-Target-URI: %s\r\n", r->uri);
    if (r->info_id)
        rc |= kj_buf_printf(b, "WARC-Warcinfo-ID: %s\r\n", r->info_id);
    digest(r->head, r->payload, sha);
    rc |= kj_buf_printf(b, "WARC-Block-Digest: sha1:%s\r\n", sha);
    if (r->head.n) {
        digest((struct kj_str){"", 0}, r->payload, sha);
        rc |= kj_buf_printf(b, "WARC-Payload-Digest: sha1:%s\r\n", sha);
    }
    rc |= kj_buf_printf(b, "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                        r->content_type, r->head.n + r->payload.n);
    rc |= kj_buf_add(b, r->head.p, r->head.n);
    rc |= kj_buf_add(b, r->payload.p, r->payload.n);
    rc |= kj_buf_addz(b, "\r\n\r\n");
    return rc < 0 ? -1 : 0;
}

const char *kj_media_type(const char *name)
{
    static const struct {
        const char *end, *type;
    } rows[] = {
        {"html", "text/html"},
        {"htm", "text/html"},
        {"xhtml", "application/xhtml+xml"},
        {"txt", "text/plain"},
        {"text", "text/plain"},
        {"md", "text/markdown"},
        {"css", "text/css"},
        {"js", "text/javascript"},
        {"json", "application/json"},
        {"xml", "application/xml"},
        {"svg", "image/svg+xml"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"ico", "image/x-icon"},
        {"pdf", "application/pdf"},
    };
    const char *dot = strrchr(name, '.');
    char low[8];
    size_t n = dot ? strlen(dot + 1) : 0;
    if (!n || n >= sizeof low)
        return "application/octet-stream";
    for (size_t i = 0; i <= n; i++)
        low[i] = (char)(dot[1 + i] >= 'A' && dot[1 + i] <= 'Z' ? dot[1 + i] + 32
                                                               : dot[1 + i]);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(rows[i].end, low) == 0)
            return rows[i].type;
    return "application/octet-stream";
}

int kj_url_path(struct kj_buf *b, const char *path)
{
    static const char keep[] = "-._~/";
    int rc = 0;
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
            (c >= '0' && c <= '9') || strchr(keep, c))
            rc |= kj_buf_addc(b, (char)c);
        else
            rc |= kj_buf_printf(b, "%%%02X", c);
    }
    return rc < 0 ? -1 : 0;
}
