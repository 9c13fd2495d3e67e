/* cmd_pack.c - a tree of files as a WARC archive: the opposite of extract. */
#include "commands/commands.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/output.h"
#include "extract/warc.h"
#include "extract/warc_write.h"

struct options {
    const char *base_url, *date;
    struct kj_strs include;
};

#define F(x) offsetof(struct options, x)
static const struct kj_opt pack_opts[] = {
    {"base_url", 0, KJ_OPT_STR, F(base_url), "URL", "where the files' addresses start",
     "http://localhost/", 0, 0},
    {"include", 0, KJ_OPT_LIST, F(include), "GLOB",
     "only files whose path or name matches one of these", 0, 0, 0},
    {"date", 0, KJ_OPT_STR, F(date), "DATE",
     "WARC-Date of all records, 2026-01-31T12:00:00Z (default: each file's own)", 0, 0,
     0},
    {0},
};
#undef F

struct file {
    char *path; /* to open */
    char *name; /* below the folder: goes into the URL */
    time_t mtime;
};

struct pack {
    const struct kj_cmd *cmd;
    const struct kj_common *common;
    const struct options *o;
    struct file *files;
    size_t n, cap;
    uint64_t skipped; /* unreadable or too large */
    uint64_t written, bytes;
    struct kj_output *out;
    struct kj_buf record, body, url, head;
    char info_id[48];
};

static char *join(const char *a, const char *b)
{
    size_t n = strlen(a);
    return kj_xprintf(n && a[n - 1] != '/' ? "%s/%s" : "%s%s", a, b);
}

static bool wanted(const struct options *o, const char *name)
{
    const char *slash = strrchr(name, '/');
    for (size_t i = 0; i < o->include.n; i++)
        if (fnmatch(o->include.v[i], name, 0) == 0 ||
            (slash && fnmatch(o->include.v[i], slash + 1, 0) == 0))
            return true;
    return o->include.n == 0;
}

static void skip(struct pack *p, const char *path, const char *why)
{
    p->skipped++;
    fprintf(stderr, "kijil %s: %s: %s\n", p->cmd->name, path, why);
}

static void add_file(struct pack *p, const char *path, const char *name, time_t mtime)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 256;
        p->files = kj_xrealloc(p->files, p->cap * sizeof *p->files);
    }
    p->files[p->n++] = (struct file){kj_xstrdup(path), kj_xstrdup(name), mtime};
}

/* Everything below path; name is its address below the base URL. Links to
 * files are followed, links to folders are not: they could lead in circles. */
static void walk(struct pack *p, const char *path, const char *name, int depth)
{
    struct stat st, link;
    if (stat(path, &st) != 0 || lstat(path, &link) != 0) {
        skip(p, path, "cannot be read");
        return;
    }
    if (S_ISREG(st.st_mode)) {
        if (wanted(p->o, name))
            add_file(p, path, name, st.st_mtime);
        return;
    }
    if (!S_ISDIR(st.st_mode) || (depth > 0 && S_ISLNK(link.st_mode)) || depth > 64)
        return;
    DIR *d = opendir(path);
    if (!d) {
        skip(p, path, "cannot be read");
        return;
    }
    struct dirent *e;
    while ((e = readdir(d))) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *sub = join(path, e->d_name);
        char *sub_name = *name ? join(name, e->d_name) : kj_xstrdup(e->d_name);
        walk(p, sub, sub_name, depth + 1);
        free(sub);
        free(sub_name);
    }
    closedir(d);
}

static int by_name(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    int d = strcmp(x->name, y->name);
    return d ? d : strcmp(x->path, y->path);
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void find_files(struct pack *p, const struct kj_strs *dirs)
{
    for (size_t i = 0; i < dirs->n; i++) {
        struct stat st;
        char *dir = kj_xstrdup(dirs->v[i]);
        size_t n = strlen(dir), from = p->n;
        while (n > 1 && dir[n - 1] == '/')
            dir[--n] = 0;
        /* Several folders, and files named one by one, keep their own name, so
         * that addresses do not collide. */
        bool file = stat(dir, &st) == 0 && S_ISREG(st.st_mode);
        const char *own = base_of(dir);
        bool plain = !file && (dirs->n == 1 || strcmp(own, ".") == 0 ||
                               strcmp(own, "..") == 0 || !*own);
        walk(p, dir, plain ? "" : own, 0);
        if (p->n > from)
            qsort(p->files + from, p->n - from, sizeof *p->files, by_name);
        free(dir);
    }
}

static void iso_date(time_t t, char out[32])
{
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static bool good_date(const char *d)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    if (strlen(d) != sizeof form - 1)
        return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? d[i] < '0' || d[i] > '9' : d[i] != form[i])
            return false;
    return true;
}

/* One record in a member of its own. */
static int put(struct pack *p, const struct kj_warc_out *r, char id[48],
               struct kj_err *err)
{
    kj_buf_reset(&p->record);
    if (kj_warc_put(&p->record, r, id) < 0)
        return kj_err_set(err, KJ_BAD_RECORD, "record too large");
    if (p->common->shard_n > 1 && r->uri &&
        kj_hash64(id, strlen(id), 1) % p->common->shard_n != p->common->shard_i)
        return KJ_OK;
    int rc = kj_output_write(p->out, p->record.p, p->record.n, err);
    if (rc == KJ_OK)
        rc = kj_output_cut(p->out, err);
    if (rc == KJ_OK && r->uri)
        p->written++;
    return rc;
}

static int put_info(struct pack *p, struct kj_err *err)
{
    char date[32];
    time_t newest = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->files[i].mtime > newest)
            newest = p->files[i].mtime;
    iso_date(newest, date);
    kj_buf_reset(&p->body);
    kj_buf_printf(&p->body,
                  "software: kijil/" KJ_VERSION "\r\nformat: WARC File Format 1.1\r\n"
                  "conformsTo: http://iipc.github.io/warc-specifications/"
                  "specifications/warc-format/warc-1.1/\r\n");
    const char *name = p->common->output;
    struct kj_warc_out r = {.type = "warcinfo",
                            .date = p->o->date ? p->o->date : date,
                            .filename =
                                name && strcmp(name, "-") ? base_of(name) : NULL,
                            .content_type = "application/warc-fields",
                            .payload = {p->body.p, p->body.n}};
    return put(p, &r, p->info_id, err);
}

static int read_file(struct pack *p, const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t got = 1;
    int rc = f ? 0 : -1;
    kj_buf_reset(&p->body);
    while (f && rc == 0 && got > 0) {
        rc = kj_buf_reserve(&p->body, 1 << 16);
        got = rc == 0 ? fread(p->body.p + p->body.n, 1, 1 << 16, f) : 0;
        p->body.n += got;
    }
    if (f && ferror(f))
        rc = -1;
    if (f)
        fclose(f);
    return rc;
}

static int put_file(struct pack *p, const struct file *f, struct kj_err *err)
{
    char date[32], id[48];
    if (read_file(p, f->path) < 0) {
        skip(p, f->path, "cannot be read, or is larger than a record may be");
        return KJ_OK;
    }
    iso_date(f->mtime, date);
    kj_buf_reset(&p->url);
    kj_buf_addz(&p->url, p->o->base_url);
    if (p->url.n && p->url.p[p->url.n - 1] != '/')
        kj_buf_addc(&p->url, '/');
    kj_url_path(&p->url, f->name);
    kj_buf_reset(&p->head);
    kj_buf_printf(&p->head,
                  "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                  kj_media_type(f->name), p->body.n);
    struct kj_warc_out r = {.type = "response",
                            .date = p->o->date ? p->o->date : date,
                            .uri = kj_buf_z(&p->url),
                            .info_id = p->info_id,
                            .content_type = "application/http; msgtype=response",
                            .head = {p->head.p, p->head.n},
                            .payload = {p->body.p, p->body.n}};
    p->bytes += p->body.n;
    return put(p, &r, id, err);
}

static int write_all(struct pack *p, struct kj_err *err)
{
    int rc = kj_output_open(&p->out, p->common->output, err);
    if (rc < 0)
        return rc;
    rc = put_info(p, err);
    size_t n = p->n;
    if (p->common->limit && n > (uint64_t)p->common->limit)
        n = (size_t)p->common->limit;
    for (size_t i = 0; i < n && rc == KJ_OK && !atomic_load(&kj_interrupted); i++)
        rc = put_file(p, &p->files[i], err);
    if (rc < 0 || atomic_load(&kj_interrupted)) {
        kj_output_abort(p->out);
        return rc;
    }
    return kj_output_commit(p->out, err);
}

static void release(struct pack *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->files[i].path);
        free(p->files[i].name);
    }
    free(p->files);
    kj_buf_release(&p->record);
    kj_buf_release(&p->body);
    kj_buf_release(&p->url);
    kj_buf_release(&p->head);
}

static int pack(const struct kj_cmd *cmd, const struct kj_common *c,
                const struct options *o, const struct kj_strs *dirs)
{
    struct kj_err err = KJ_ERR_INIT;
    struct pack p = {.cmd = cmd, .common = c, .o = o};
    double wall = kj_now();
    int status = 0, rc = KJ_OK;
    if (dirs->n == 0)
        rc = kj_err_set(&err, KJ_USAGE, "name at least one folder");
    if (rc == KJ_OK && o->date && !good_date(o->date))
        rc = kj_err_set(&err, KJ_USAGE,
                        "--date takes a time like 2026-01-31T12:00:00Z, not '%s'",
                        o->date);
    kj_buf_init(&p.record, KJ_WARC_BLOCK_MAX + (1 << 20));
    kj_buf_init(&p.body, KJ_WARC_BLOCK_MAX - (1 << 16));
    kj_buf_init(&p.url, 1 << 16);
    kj_buf_init(&p.head, 1 << 16);
    if (rc == KJ_OK) {
        find_files(&p, dirs);
        if (p.n == 0)
            rc = kj_err_set(&err, KJ_FAIL, "no file to pack in %s", dirs->v[0]);
    }
    kj_cmd_signals();
    if (rc == KJ_OK && c->dry_run)
        printf("files: %zu\n", p.n);
    else if (rc == KJ_OK)
        rc = write_all(&p, &err);
    if (rc < 0) {
        status = kj_cmd_fail(cmd, &err);
    } else if (atomic_load(&kj_interrupted)) {
        status = 130;
    } else {
        status = p.skipped ? 3 : 0;
        if (!c->quiet && !c->dry_run) {
            fprintf(stderr,
                    "kijil " KJ_VERSION " pack: %llu files, %.1f MB; %llu skipped\n",
                    (unsigned long long)p.written, (double)p.bytes / 1e6,
                    (unsigned long long)p.skipped);
            kj_cmd_usage_line(kj_now() - wall, kj_seconds(CLOCK_PROCESS_CPUTIME_ID));
        }
    }
    release(&p);
    return status;
}

static int run(const struct kj_cmd *cmd, int argc, char **argv)
{
    struct kj_common common;
    struct kj_strs pos = {0};
    struct options o = {0};
    void *const cfgs[] = {&o, NULL};
    int status = kj_cmd_parse(cmd, argc, argv, cfgs, &common, &pos);
    if (status < 0 && kj_cmd_done_already(cmd, &common))
        status = 0;
    if (status < 0)
        status = pack(cmd, &common, &o, &pos);
    kj_opt_release(pack_opts, &o);
    kj_strs_release(&pos);
    return status;
}

const struct kj_cmd kj_cmd_pack = {
    .name = "pack",
    .synopsis = "DIR... -o FILE.warc.gz",
    .about = "files to a WARC archive",
    .details =
        "Writes WARC/1.1: a warcinfo record, then one response record per file, each "
        "in a "
        "gzip member (or zstd frame) of its own when the output's name asks for "
        "compression. Content-Type follows the file name's ending; no charset is "
        "stated. Files come in the order of their paths; record ids are made of "
        "address "
        "and content, so that the same files give the same archive.",
    .examples = "kijil pack site/ -o site.warc.gz --base-url https://example.org/\n"
                "kijil pack docs/ --include '*.html' -o docs.warc.gz  # pages only",
    .opts = (const struct kj_opt *const[]){pack_opts, kj_pack_common_opts, NULL},
    .run = run,
};
