/* task.c - definitions of multiple-choice tasks. */
#include "trainer/task.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/yaml.h"
#include "trainer/template.h"

static int want(const struct kj_ynode *v, enum kj_ykind kind, struct kj_err *err)
{
    static const char *const what[] = {"", "a value", "a list", "a map"};
    return v->kind == kind ? KJ_OK
                           : kj_ynode_err(v, err, "%s is %s",
                                          v->key ? v->key : "an entry", what[kind]);
}

static int text_of(const struct kj_ynode *v, const char **out, struct kj_err *err)
{
    int rc = want(v, KJ_Y_SCALAR, err);
    if (rc == KJ_OK)
        *out = v->scalar;
    return rc;
}

static int template_of(const struct kj_ynode *v, struct kj_template **out,
                       struct kj_err *err)
{
    struct kj_err why = KJ_ERR_INIT;
    const char *text;
    int rc = text_of(v, &text, err);
    if (rc)
        return rc;
    if (kj_template_parse(out, text, strlen(text), &why) != KJ_OK)
        return kj_ynode_err(v, err, "%s", why.msg);
    return KJ_OK;
}

/* A list of plain values. */
static int texts_of(const struct kj_ynode *v, const char ***out, size_t *n,
                    struct kj_err *err)
{
    int rc = want(v, KJ_Y_SEQ, err);
    if (rc)
        return rc;
    free(*out);
    *out = kj_xcalloc(v->n + 1, sizeof **out);
    *n = v->n;
    for (size_t i = 0; i < v->n && rc == KJ_OK; i++)
        rc = text_of(v->items[i], &(*out)[i], err);
    return rc;
}

static int files_of(struct kj_task *t, const struct kj_ynode *v, struct kj_err *err)
{
    int rc = want(v, KJ_Y_MAP, err);
    if (rc)
        return rc;
    t->splits = kj_xcalloc(v->n + 1, sizeof *t->splits);
    t->files = kj_xcalloc(v->n + 1, sizeof *t->files);
    t->n_files = v->n;
    for (size_t i = 0; i < v->n && rc == KJ_OK; i++) {
        t->splits[i] = v->items[i]->key;
        rc = text_of(v->items[i], &t->files[i], err);
        const char *star = rc ? NULL : strchr(t->files[i], '*');
        if (star && strchr(star + 1, '*'))
            rc = kj_ynode_err(v->items[i], err, "more than one * in a file's name");
    }
    return rc;
}

static int choices_of(struct kj_task *t, const struct kj_ynode *v, struct kj_err *err)
{
    int rc = KJ_OK;
    t->choices_are_list = v->kind == KJ_Y_SCALAR;
    size_t n = t->choices_are_list ? 1 : v->n;
    if (v->kind == KJ_Y_MAP || n > KJ_CHOICES_MAX || (!t->choices_are_list && n < 2))
        return kj_ynode_err(v, err,
                            "doc_to_choice is a list of 2 to %d texts, or what "
                            "gives one",
                            KJ_CHOICES_MAX);
    t->choices = kj_xcalloc(n, sizeof(struct kj_template *));
    t->n_choices = n;
    for (size_t i = 0; i < n && rc == KJ_OK; i++)
        rc = template_of(t->choices_are_list ? v : v->items[i], &t->choices[i], err);
    return rc;
}

static int metrics_of(struct kj_task *t, const struct kj_ynode *v, struct kj_err *err)
{
    static const char *const names[] = {"acc", "acc_norm", "f1"};
    const char **v_names = NULL;
    size_t n = 0;
    int rc = texts_of(v, &v_names, &n, err);
    t->metrics = 0;
    for (size_t i = 0; i < n && rc == KJ_OK; i++) {
        size_t k = 0;
        while (k < 3 && strcmp(v_names[i], names[k]) != 0)
            k++;
        if (k == 3)
            rc = kj_ynode_err(v, err,
                              "there is no metric '%s' (there are: acc, "
                              "acc_norm, f1)",
                              v_names[i]);
        else
            t->metrics |= 1u << k;
    }
    free(v_names);
    return rc;
}

static int shots_of(struct kj_task *t, const struct kj_ynode *v, struct kj_err *err)
{
    const char *text;
    char *end;
    int rc = text_of(v, &text, err);
    if (rc)
        return rc;
    long n = strtol(text, &end, 10);
    if (end == text || *end || n < 0 || n > 1000)
        return kj_ynode_err(v, err, "num_fewshot is a number up to 1000");
    t->shots = n;
    return KJ_OK;
}

static int sampler_of(struct kj_task *t, const struct kj_ynode *v, struct kj_err *err)
{
    const struct kj_ynode *s = v->n ? v->items[0] : v;
    int rc = want(v, KJ_Y_MAP, err);
    if (rc)
        return rc;
    if (v->n != 1 || strcmp(s->key, "sampler") != 0 || s->kind != KJ_Y_SCALAR ||
        (strcmp(s->scalar, "first_n") != 0 && strcmp(s->scalar, "default") != 0))
        return kj_ynode_err(s, err,
                            "fewshot_config is {sampler: first_n} or {sampler: "
                            "default}");
    t->first_n = s->scalar[0] == 'f';
    return KJ_OK;
}

static int groups_of(struct kj_task *t, const struct kj_ynode *v, struct kj_err *err)
{
    int rc = want(v, KJ_Y_MAP, err);
    if (rc)
        return rc;
    t->groups = kj_xcalloc(v->n + 1, sizeof *t->groups);
    t->n_groups = v->n;
    for (size_t i = 0; i < v->n && rc == KJ_OK; i++) {
        t->groups[i].name = v->items[i]->key;
        rc = texts_of(v->items[i], &t->groups[i].subsets, &t->groups[i].n, err);
    }
    return rc;
}

static int key_of(struct kj_task *t, const struct kj_ynode *v, struct kj_err *err)
{
    const struct {
        const char *key, **text;
    } texts[] = {{"task", &t->name},
                 {"group", &t->name},
                 {"test_split", &t->test_split},
                 {"fewshot_split", &t->shot_split},
                 {"subset", &t->subset},
                 {"target_delimiter", &t->target_delimiter},
                 {"fewshot_delimiter", &t->shot_delimiter}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(v->key, texts[i].key) == 0)
            return text_of(v, texts[i].text, err);
    if (!strcmp(v->key, "doc_to_text"))
        return template_of(v, &t->text, err);
    if (!strcmp(v->key, "doc_to_target"))
        return template_of(v, &t->target, err);
    if (!strcmp(v->key, "description"))
        return template_of(v, &t->description, err);
    if (!strcmp(v->key, "doc_to_choice"))
        return choices_of(t, v, err);
    if (!strcmp(v->key, "files"))
        return files_of(t, v, err);
    if (!strcmp(v->key, "metric_list"))
        return metrics_of(t, v, err);
    if (!strcmp(v->key, "num_fewshot"))
        return shots_of(t, v, err);
    if (!strcmp(v->key, "fewshot_config"))
        return sampler_of(t, v, err);
    if (!strcmp(v->key, "groups"))
        return groups_of(t, v, err);
    if (!strcmp(v->key, "tasks"))
        return texts_of(v, &t->tasks, &t->n_tasks, err);
    return kj_ynode_err(v, err, "there is no key '%s' in tasks", v->key);
}

const char *kj_task_file(const struct kj_task *t, const char *split)
{
    for (size_t i = 0; i < t->n_files; i++)
        if (strcmp(t->splits[i], split) == 0)
            return t->files[i];
    return NULL;
}

static int check(struct kj_task *t, const struct kj_ynode *root, struct kj_err *err)
{
    const char *missing = !t->name      ? "task"
                          : t->n_tasks  ? NULL
                          : !t->text    ? "doc_to_text"
                          : !t->target  ? "doc_to_target"
                          : !t->choices ? "doc_to_choice"
                                        : NULL;
    if (missing)
        return kj_ynode_err(root, err, "%s is missing", missing);
    if (t->n_tasks)
        return KJ_OK;
    if (!kj_task_file(t, t->test_split))
        return kj_ynode_err(root, err, "files names none for the split '%s'",
                            t->test_split);
    if (t->shot_split && !kj_task_file(t, t->shot_split))
        return kj_ynode_err(root, err, "files names none for the split '%s'",
                            t->shot_split);
    if (t->shots && !t->shot_split)
        return kj_ynode_err(root, err, "num_fewshot needs fewshot_split");
    return KJ_OK;
}

static int from_yaml(struct kj_task **out, struct kj_yaml *y, struct kj_err *err)
{
    const struct kj_ynode *root = kj_yaml_root(y);
    struct kj_task *t = kj_xcalloc(1, sizeof *t);
    t->yaml = y;
    t->test_split = "test";
    t->target_delimiter = " ";
    t->shot_delimiter = "\n\n";
    t->metrics = KJ_METRIC_ACC;
    int rc = want(root, KJ_Y_MAP, err);
    for (size_t i = 0; rc == KJ_OK && i < root->n; i++)
        rc = key_of(t, root->items[i], err);
    rc = rc ? rc : check(t, root, err);
    if (rc) {
        kj_task_free(t);
        return rc;
    }
    *out = t;
    return KJ_OK;
}

int kj_task_load(struct kj_task **out, const char *path, struct kj_err *err)
{
    struct kj_yaml *y;
    int rc = kj_yaml_load(&y, path, err);
    return rc ? rc : from_yaml(out, y, err);
}

int kj_task_parse(struct kj_task **out, const char *p, size_t n, const char *name,
                  struct kj_err *err)
{
    struct kj_yaml *y;
    int rc = kj_yaml_parse(&y, p, n, name, err);
    return rc ? rc : from_yaml(out, y, err);
}

void kj_task_free(struct kj_task *t)
{
    if (!t)
        return;
    kj_template_free(t->description);
    kj_template_free(t->text);
    kj_template_free(t->target);
    for (size_t i = 0; i < t->n_choices; i++)
        kj_template_free(t->choices[i]);
    for (size_t i = 0; i < t->n_groups; i++)
        free(t->groups[i].subsets);
    free(t->choices);
    free(t->groups);
    free(t->tasks);
    free(t->splits);
    free(t->files);
    kj_yaml_free(t->yaml);
    free(t);
}
