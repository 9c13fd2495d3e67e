/* yaml.h - recipe files as a tree whose nodes know their line.
 *
 * A thin face over libyaml: block and flow mappings, sequences, scalars.
 * Anchors and aliases are resolved; tags, duplicate keys, several documents
 * and files over 1 MiB are refused with a line number. The tree owns all its
 * strings and lives until kj_yaml_free.
 */
#ifndef KJ_BASE_YAML_H
#define KJ_BASE_YAML_H

#include <stdbool.h>
#include <stddef.h>

struct kj_err;

enum kj_ykind { KJ_Y_SCALAR = 1, KJ_Y_SEQ, KJ_Y_MAP };

struct kj_ynode {
    enum kj_ykind kind;
    int line;                /* 1-based */
    const char *key;         /* in a mapping: this node's key, else NULL */
    const char *scalar;      /* KJ_Y_SCALAR: NUL-terminated text */
    bool nil;                /* and it is null, ~ or nothing, without quotes */
    struct kj_ynode **items; /* SEQ and MAP: children in file order */
    size_t n;
    const char *file; /* name of the file, for messages */
};

struct kj_yaml; /* owner of the tree */

/* Load a file. KJ_USAGE with file and line when it is malformed. */
int kj_yaml_load(struct kj_yaml **out, const char *path, struct kj_err *err);
/* The same from memory; `name` stands in messages. */
int kj_yaml_parse(struct kj_yaml **out, const char *p, size_t n, const char *name,
                  struct kj_err *err);
const struct kj_ynode *kj_yaml_root(const struct kj_yaml *y);
void kj_yaml_free(struct kj_yaml *y);

/* Child of a mapping by key, or NULL. */
const struct kj_ynode *kj_ynode_get(const struct kj_ynode *map, const char *key);
/* KJ_USAGE at this node's file and line; for callers' own checks. */
int kj_ynode_err(const struct kj_ynode *n, struct kj_err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
