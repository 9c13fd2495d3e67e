/* task.h - multiple-choice tasks: their definition, their questions, and the
 * prompts made of them (docs/evaluation.md is the manual of the format).
 *
 * A definition is a YAML file with the keys of lm-evaluation-harness (Gao et al.
 * 2021; doc_to_text, fewshot_split, ...) where there is such a key. The prompt of
 * a question is
 *
 *     description, shots, text      shot = text, target_delimiter, answer,
 *                                          fewshot_delimiter
 *
 * and each choice is scored as what follows it: target_delimiter, choice. Shots
 * are drawn as the harness draws them: per subset a random.Random(1234).sample()
 * for each question in order, one more where the questions are their own pool,
 * of which the question itself is taken out; or the first n of the pool.
 *
 * Thread-safety: one thread at a time; a loaded task is read-only.
 */
#ifndef KJ_TRAINER_TASK_H
#define KJ_TRAINER_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/mem.h"

struct kj_err;
struct kj_template;
struct kj_yaml;

enum { KJ_METRIC_ACC = 1, KJ_METRIC_ACC_NORM = 2, KJ_METRIC_F1 = 4 };

/* Subsets whose results are also told together. */
struct kj_task_group {
    const char *name;
    const char **subsets;
    size_t n;
};

struct kj_task {
    const char *name;
    const char *test_split, *shot_split;
    const char **splits, **files; /* the file of each split */
    size_t n_files;
    const char *subset; /* field that names the subset; or NULL */
    struct kj_template *description, *text, *target; /* description may be NULL */
    struct kj_template **choices;                    /* of each choice, or one: */
    size_t n_choices;
    bool choices_are_list; /* the only template's value is the list */
    const char *target_delimiter, *shot_delimiter;
    int64_t shots;
    bool first_n;
    unsigned metrics;
    struct kj_task_group *groups;
    size_t n_groups;
    const char **tasks; /* a group of tasks: their names, and nothing else */
    size_t n_tasks;
    struct kj_yaml *yaml; /* owner of the strings */
};

/* KJ_USAGE with file and line. */
int kj_task_load(struct kj_task **out, const char *path, struct kj_err *err);
int kj_task_parse(struct kj_task **out, const char *p, size_t n, const char *name,
                  struct kj_err *err);
void kj_task_free(struct kj_task *t);
/* The file of a split, or NULL. A * in it stands for the subset. */
const char *kj_task_file(const struct kj_task *t, const char *split);

#define KJ_CHOICES_MAX 64

struct kj_question {
    const char *file;
    int64_t line; /* from 1 */
    size_t subset;
    bool bad; /* kept out: only its place counts */
    struct kj_str description, text;
    struct kj_str *choices;
    size_t n_choices, gold;
    struct kj_hash128 hash; /* of its line */
};

struct kj_questions {
    struct kj_question **v;
    size_t n, cap;
    char **subsets;
    size_t n_subsets, cap_subsets;
    uint64_t bad;
    struct kj_arena arena;
};
void kj_questions_init(struct kj_questions *q);
void kj_questions_release(struct kj_questions *q);

/* Read the questions of a JSONL file (packed or not). subset: of all of them;
 * NULL: by the task's field, or "" where it has none. limit: of each subset; 0:
 * all. A line that cannot be used is told to bad() and counted. KJ_FAIL: the
 * file cannot be read, or is too large. */
int kj_questions_read(struct kj_questions *q, const struct kj_task *t, const char *path,
                      const char *subset, int64_t limit,
                      void (*bad)(void *ctx, const char *file, int64_t line,
                                  const char *why),
                      void *ctx, struct kj_err *err);

/* Make the prompts of all questions that can be used, in order: each() gets the
 * number of the question and what stands before its choices, valid during the
 * call. from: the pool; own: it is the questions themselves. KJ_FAIL where the pool of a
 * subset is too small; else what each() returns, when not 0. */
int kj_task_prompts(const struct kj_task *t, const struct kj_questions *q,
                    const struct kj_questions *from, bool own, int64_t shots,
                    int (*each)(void *ctx, size_t number, struct kj_str prompt),
                    void *ctx, struct kj_err *err);

#endif
