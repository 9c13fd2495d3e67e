/* yaml.c - libyaml's events, built into a tree.
 *
 * An alias shares the children of what it names; only its own node is copied,
 * since key and line differ. The tree is then a graph without cycles, and a
 * few lines of aliases to aliases could stand for billions of nodes, so every
 * node knows how many it stands for and the whole is limited.
 */
#include "base/yaml.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"
#include "base/mem.h"

/* Keys and anchors are looked up one by one, hence their lower limits. */
enum { FILE_MAX = 1 << 20, DEPTH_MAX = 64, NODES_MAX = 100000, KEYS_MAX = 4096 };
enum { ANCHORS_MAX = 1024 };
#define TREE_CAP ((size_t)256 << 20)

struct anchor {
    const char *name;
    const struct kj_ynode *node;
    size_t weight; /* nodes that it stands for */
};

struct kj_yaml {
    struct kj_arena arena;
    struct kj_ynode *root;
};

struct builder {
    struct kj_yaml *y;
    yaml_parser_t parser;
    yaml_event_t ev; /* the current event */
    bool live;       /* ev is to be deleted */
    const char *file;
    struct kj_err *err;
    struct anchor *anchors;
    size_t n_anchors;
    size_t weight; /* nodes so far, aliases expanded */
};

static int fault(struct builder *b, size_t line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int fault(struct builder *b, size_t line, const char *fmt, ...)
{
    char msg[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    int rc = kj_err_set(b->err, KJ_USAGE, "%s", msg);
    kj_err_where(b->err, b->file, (int64_t)line);
    return rc;
}

static size_t line_of(const yaml_event_t *ev)
{
    return ev->start_mark.line + 1;
}

static int next_event(struct builder *b)
{
    if (b->live)
        yaml_event_delete(&b->ev);
    b->live = false;
    if (yaml_parser_parse(&b->parser, &b->ev)) {
        b->live = true;
        return KJ_OK;
    }
    const yaml_parser_t *p = &b->parser;
    const char *what = p->problem ? p->problem : "cannot be read";
    if (p->error == YAML_READER_ERROR)
        return fault(b, p->mark.line + 1, "%s at byte %zu", what, p->problem_offset);
    return fault(b, p->problem_mark.line + 1, "%s%s%s", p->context ? p->context : "",
                 p->context ? ": " : "", what);
}

static struct kj_ynode *new_node(struct builder *b, enum kj_ykind kind)
{
    struct kj_ynode *n = kj_arena_zalloc(&b->y->arena, sizeof *n);
    if (n) {
        n->kind = kind;
        n->line = (int)line_of(&b->ev);
        n->file = b->file;
    }
    return n;
}

static int count_nodes(struct builder *b, size_t more)
{
    b->weight += more;
    if (b->weight > NODES_MAX)
        return fault(b, line_of(&b->ev), "more than %d values", NODES_MAX);
    return KJ_OK;
}

/* A name may be given anew; the last one counts, as YAML says. */
static int remember(struct builder *b, const char *name, const struct kj_ynode *node,
                    size_t weight)
{
    if (b->n_anchors == ANCHORS_MAX)
        return fault(b, (size_t)node->line, "more than %d anchors", ANCHORS_MAX);
    size_t size = (b->n_anchors + 1) * sizeof *b->anchors;
    b->anchors = kj_xrealloc(b->anchors, size);
    b->anchors[b->n_anchors++] = (struct anchor){name, node, weight};
    return KJ_OK;
}

static int resolve(struct builder *b, struct kj_ynode **out)
{
    const char *name = (const char *)b->ev.data.alias.anchor;
    for (size_t i = b->n_anchors; i-- > 0;) {
        const struct anchor *a = &b->anchors[i];
        if (strcmp(a->name, name) != 0)
            continue;
        struct kj_ynode *n = new_node(b, a->node->kind);
        if (!n)
            return fault(b, line_of(&b->ev), "too much memory");
        n->scalar = a->node->scalar;
        n->nil = a->node->nil;
        n->items = a->node->items;
        n->n = a->node->n;
        *out = n;
        return count_nodes(b, a->weight);
    }
    return fault(b, line_of(&b->ev), "no anchor named %s above", name);
}

static int build(struct builder *b, struct kj_ynode **out, int depth);

static int add_item(struct builder *b, struct kj_ynode *n, size_t *room,
                    struct kj_ynode *item)
{
    if (n->n == *room) {
        *room = *room ? 2 * *room : 8;
        struct kj_ynode **v = kj_arena_alloc(&b->y->arena, *room * sizeof *v);
        if (!v)
            return fault(b, (size_t)n->line, "too much memory");
        if (n->n)
            memcpy(v, n->items, n->n * sizeof *v);
        n->items = v;
    }
    n->items[n->n++] = item;
    return KJ_OK;
}

static int build_seq(struct builder *b, struct kj_ynode *n, int depth)
{
    size_t room = 0;
    int rc = next_event(b);
    while (!rc && b->ev.type != YAML_SEQUENCE_END_EVENT) {
        struct kj_ynode *item;
        rc = build(b, &item, depth + 1);
        if (!rc)
            rc = add_item(b, n, &room, item);
        if (!rc)
            rc = next_event(b);
    }
    return rc;
}

static int build_map(struct builder *b, struct kj_ynode *n, int depth)
{
    size_t room = 0;
    int rc = next_event(b);
    while (!rc && b->ev.type != YAML_MAPPING_END_EVENT) {
        if (b->ev.type != YAML_SCALAR_EVENT)
            return fault(b, line_of(&b->ev), "a key must be a plain word");
        const char *key = (const char *)b->ev.data.scalar.value;
        size_t len = b->ev.data.scalar.length, line = line_of(&b->ev);
        if (n->n == KEYS_MAX)
            return fault(b, line, "more than %d keys in one mapping", KEYS_MAX);
        if (memchr(key, 0, len))
            return fault(b, line, "NUL in a key");
        const struct kj_ynode *twin = kj_ynode_get(n, key);
        if (twin)
            return fault(b, line, "key %s stands in line %d already", key, twin->line);
        char *copy = kj_arena_dup(&b->y->arena, key, len);
        if (!copy)
            return fault(b, line, "too much memory");
        struct kj_ynode *item;
        rc = next_event(b);
        if (!rc)
            rc = build(b, &item, depth + 1);
        if (rc)
            return rc;
        item->key = copy;
        item->line = (int)line; /* of the key: what a person looks for */
        rc = add_item(b, n, &room, item);
        if (!rc)
            rc = next_event(b);
    }
    return rc;
}

static int build_scalar(struct builder *b, struct kj_ynode *n)
{
    const char *p = (const char *)b->ev.data.scalar.value;
    size_t len = b->ev.data.scalar.length;
    if (memchr(p, 0, len))
        return fault(b, (size_t)n->line, "NUL in a value");
    n->scalar = kj_arena_dup(&b->y->arena, p, len);
    n->nil = b->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
             (len == 0 || (len == 1 && *p == '~') ||
              (len == 4 && memcmp(p, "null", 4) == 0));
    return n->scalar ? KJ_OK : fault(b, (size_t)n->line, "too much memory");
}

/* The node that the current event starts; leaves its last event current. */
static int build(struct builder *b, struct kj_ynode **out, int depth)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    enum kj_ykind kind;
    switch (b->ev.type) {
    case YAML_ALIAS_EVENT:
        return resolve(b, out);
    case YAML_SCALAR_EVENT:
        kind = KJ_Y_SCALAR;
        anchor = b->ev.data.scalar.anchor;
        tag = b->ev.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        kind = KJ_Y_SEQ;
        anchor = b->ev.data.sequence_start.anchor;
        tag = b->ev.data.sequence_start.tag;
        break;
    default:
        kind = KJ_Y_MAP;
        anchor = b->ev.data.mapping_start.anchor;
        tag = b->ev.data.mapping_start.tag;
        break;
    }
    if (tag)
        return fault(b, line_of(&b->ev), "tags (%s) are not used here", tag);
    if (depth > DEPTH_MAX)
        return fault(b, line_of(&b->ev), "nested deeper than %d", DEPTH_MAX);
    size_t before = b->weight;
    struct kj_ynode *n = new_node(b, kind);
    char *name = NULL;
    if (anchor)
        name = kj_arena_dup(&b->y->arena, (const char *)anchor,
                            strlen((const char *)anchor));
    if (!n || (anchor && !name))
        return fault(b, line_of(&b->ev), "too much memory");
    int rc = count_nodes(b, 1);
    if (rc)
        return rc;
    rc = kind == KJ_Y_SCALAR ? build_scalar(b, n)
         : kind == KJ_Y_SEQ  ? build_seq(b, n, depth)
                             : build_map(b, n, depth);
    if (!rc && name)
        rc = remember(b, name, n, b->weight - before);
    *out = n;
    return rc;
}

static int build_document(struct builder *b)
{
    int rc = next_event(b); /* stream start */
    if (!rc)
        rc = next_event(b);
    if (!rc && b->ev.type == YAML_STREAM_END_EVENT)
        return fault(b, 1, "nothing in it");
    if (!rc)
        rc = next_event(b);
    if (!rc)
        rc = build(b, &b->y->root, 0);
    if (!rc)
        rc = next_event(b); /* document end */
    if (!rc)
        rc = next_event(b);
    if (!rc && b->ev.type != YAML_STREAM_END_EVENT)
        return fault(b, line_of(&b->ev), "a second document starts");
    return rc;
}

int kj_yaml_parse(struct kj_yaml **out, const char *p, size_t n, const char *name,
                  struct kj_err *err)
{
    *out = NULL;
    struct kj_yaml *y = kj_xcalloc(1, sizeof *y);
    kj_arena_init(&y->arena, TREE_CAP);
    struct builder b = {.y = y, .err = err};
    b.file = kj_arena_dup(&y->arena, name, strlen(name));
    int rc;
    if (n > FILE_MAX) {
        rc = fault(&b, 1, "larger than %d bytes", FILE_MAX);
    } else if (!yaml_parser_initialize(&b.parser)) {
        rc = fault(&b, 1, "too much memory");
    } else {
        yaml_parser_set_input_string(&b.parser, (const unsigned char *)p, n);
        rc = build_document(&b);
        if (b.live)
            yaml_event_delete(&b.ev);
        yaml_parser_delete(&b.parser);
    }
    free(b.anchors);
    if (rc)
        kj_yaml_free(y);
    else
        *out = y;
    return rc;
}

int kj_yaml_load(struct kj_yaml **out, const char *path, struct kj_err *err)
{
    struct kj_buf text;
    *out = NULL;
    kj_buf_init(&text, FILE_MAX + 1);
    FILE *f = fopen(path, "rbe");
    if (!f)
        return kj_err_errno(err, KJ_USAGE, "cannot open %s", path);
    if (kj_buf_reserve(&text, FILE_MAX + 1)) {
        fclose(f);
        return kj_err_set(err, KJ_USAGE, "%s: too much memory", path);
    }
    text.n = fread(text.p, 1, FILE_MAX + 1, f);
    int rc = KJ_OK;
    if (ferror(f))
        rc = kj_err_errno(err, KJ_USAGE, "cannot read %s", path);
    fclose(f);
    if (!rc)
        rc = kj_yaml_parse(out, text.p, text.n, path, err);
    kj_buf_release(&text);
    return rc;
}

const struct kj_ynode *kj_yaml_root(const struct kj_yaml *y)
{
    return y->root;
}

void kj_yaml_free(struct kj_yaml *y)
{
    if (!y)
        return;
    kj_arena_release(&y->arena);
    free(y);
}

const struct kj_ynode *kj_ynode_get(const struct kj_ynode *map, const char *key)
{
    if (!map || map->kind != KJ_Y_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->items[i]->key, key) == 0)
            return map->items[i];
    return NULL;
}

int kj_ynode_err(const struct kj_ynode *n, struct kj_err *err, const char *fmt, ...)
{
    char msg[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    int rc = kj_err_set(err, KJ_USAGE, "%s", msg);
    kj_err_where(err, n->file, n->line);
    return rc;
}
