/* eval_task.c - multiple-choice tasks: where their files are, and what comes out.
 */
#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands/commands.h"
#include "commands/eval.h"

/* Lines that are named one by one; the others are only counted. */
#define NAMED_MAX 20

void kj_eval_bad(void *self, const char *file, int64_t line, const char *why)
{
    struct kj_evaluation *e = self;
    e->damaged++;
    if (e->named++ < NAMED_MAX)
        fprintf(stderr, "kijil eval: %s:%" PRId64 ": %s\n", file, line, why);
    if (e->named == NAMED_MAX)
        fprintf(stderr, "kijil eval: further such lines are only counted\n");
}

static void silent(void *ctx, const char *file, int64_t line, const char *why)
{
    (void)ctx, (void)file, (void)line, (void)why;
}

/* ---- files ---- */

/* Where a split is: as it was given, else the task's name for it in the first
 * folder that has it. */
static int find(const struct kj_evaluation *e, const struct kj_task *t,
                const char *split, char path[PATH_MAX], struct kj_err *err)
{
    const struct kj_strs *data = &e->o->data;
    const char *name = kj_task_file(t, split);
    char key[512];
    struct stat st;
    int n = snprintf(key, sizeof key, "%s.%s=", t->name, split);
    for (size_t i = 0; i < data->n; i++)
        if (strncmp(data->v[i], key, (size_t)n) == 0) {
            snprintf(path, PATH_MAX, "%s", data->v[i] + n);
            return KJ_OK;
        }
    for (size_t i = 0; i < data->n; i++) {
        glob_t g;
        if (stat(data->v[i], &st) != 0 || !S_ISDIR(st.st_mode))
            continue;
        snprintf(path, PATH_MAX, "%s/%s", data->v[i], name);
        bool there = glob(path, 0, NULL, &g) == 0;
        globfree(&g);
        if (there)
            return KJ_OK;
    }
    return kj_err_set(err, KJ_USAGE,
                      "%s: no file %s in the folders of --data; name it: --data "
                      "%sFILE",
                      t->name, name, key);
}

/* One file, or one for each subset: that which * stands for. */
static int read_split(struct kj_evaluation *e, const struct kj_task *t,
                      const char *path, struct kj_questions *q, int64_t limit,
                      bool tell, struct kj_err *err)
{
    const char *star = strchr(path, '*');
    size_t head = star ? (size_t)(star - path) : 0, tail = star ? strlen(star + 1) : 0;
    glob_t g;
    int rc = KJ_OK;
    if (!star)
        return kj_questions_read(q, t, path, NULL, limit, tell ? kj_eval_bad : silent,
                                 e, err);
    if (glob(path, 0, NULL, &g) != 0)
        rc = kj_err_set(err, KJ_FAIL, "there is no file %s", path);
    for (size_t i = 0; rc == KJ_OK && i < g.gl_pathc; i++) {
        const char *p = g.gl_pathv[i];
        char *subset = kj_xstrndup(p + head, strlen(p) - head - tail);
        rc = kj_questions_read(q, t, p, subset, limit, tell ? kj_eval_bad : silent, e,
                               err);
        free(subset);
    }
    globfree(&g);
    return rc;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return strcmp(a, b) == 0 || (stat(a, &x) == 0 && stat(b, &y) == 0 &&
                                 x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

static int load(struct kj_evaluation *e, const struct kj_task *t, int64_t shots,
                struct kj_questions *q, struct kj_questions *pool, bool *own,
                struct kj_err *err)
{
    char test[PATH_MAX], from[PATH_MAX];
    int rc = find(e, t, t->test_split, test, err);
    rc = rc ? rc : read_split(e, t, test, q, e->o->limit, true, err);
    *own = false;
    if (rc == KJ_OK && q->n <= q->bad)
        rc = kj_err_set(err, KJ_FAIL, "%s: no question of %s can be used", t->name,
                        test);
    if (rc || !shots)
        return rc;
    if (!t->shot_split)
        return kj_err_set(err, KJ_USAGE, "%s has no fewshot_split to take shots from",
                          t->name);
    rc = find(e, t, t->shot_split, from, err);
    if (rc)
        return rc;
    *own = strcmp(t->shot_split, t->test_split) == 0 || same_file(test, from);
    return read_split(e, t, from, pool, 0, !*own, err);
}

/* ---- results ---- */

/* A subset of a task, for the means over several. */
struct leaf {
    const char *name;
    int64_t shots;
    unsigned metrics;
    struct kj_accuracy tally;
};

struct leaves {
    struct leaf **v;
    size_t n;
};

static void leaves_release(struct leaves *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
}

static int put_row(struct kj_evaluation *e, const char *task, int64_t shots,
                   const char *kind, const char *part, struct leaf *const *v, size_t n,
                   struct kj_err *err)
{
    static const char *const macro[] = {"acc_macro", "acc_norm_macro", "f1_macro"};
    struct kj_eval_row r = {.task = task, .kind = kind, .part = part, .shots = shots};
    const struct kj_accuracy **t = kj_xcalloc(n + 1, sizeof *t);
    for (size_t i = 0; i < n; i++) {
        r.n += v[i]->tally.n;
        r.subsets += n > 1 && v[i]->tally.n;
    }
    for (int m = 0; m < KJ_ACCURACY_METRICS && r.n; m++) {
        size_t k = 0;
        uint64_t questions = 0;
        for (size_t i = 0; i < n; i++)
            if (v[i]->metrics & (1u << m)) {
                questions += v[i]->tally.n;
                t[k++] = &v[i]->tally;
            }
        if (!questions)
            continue;
        struct kj_accuracy_value x = kj_accuracy_mean(t, k, m);
        r.metric[r.n_metrics].name = kj_accuracy_names[m];
        r.metric[r.n_metrics].value = x.value;
        r.metric[r.n_metrics++].error = x.stderr_;
        if (n == 1)
            continue;
        r.metric[r.n_metrics].name = macro[m];
        r.metric[r.n_metrics].value = x.macro;
        r.metric[r.n_metrics++].error = x.macro_stderr;
    }
    free(t);
    return r.n ? kj_eval_put(e, &r, err) : KJ_OK;
}

/* ASCII letters without their case: copies of a dataset do not agree on it. */
static bool alike(const char *a, const char *b)
{
    for (; *a && *b; a++, b++) {
        char x = *a >= 'A' && *a <= 'Z' ? (char)(*a + 32) : *a;
        char y = *b >= 'A' && *b <= 'Z' ? (char)(*b + 32) : *b;
        if (x != y)
            return false;
    }
    return *a == *b;
}

static int results(struct kj_evaluation *e, const struct kj_task *t, int64_t shots,
                   const struct leaves *l, struct kj_err *err)
{
    struct leaf **v = kj_xcalloc(l->n + 1, sizeof(struct leaf *));
    int rc = KJ_OK;
    for (size_t i = 0; i < l->n && rc == KJ_OK && l->n > 1; i++)
        rc = put_row(e, t->name, shots, "subset", l->v[i]->name, &l->v[i], 1, err);
    for (size_t i = 0; i < t->n_groups && rc == KJ_OK; i++) {
        const struct kj_task_group *g = &t->groups[i];
        size_t k = 0;
        for (size_t j = 0; j < l->n; j++)
            for (size_t s = 0; s < g->n; s++)
                if (alike(g->subsets[s], l->v[j]->name)) {
                    v[k++] = l->v[j];
                    break;
                }
        rc = k ? put_row(e, t->name, shots, "group", g->name, v, k, err) : KJ_OK;
    }
    free(v);
    return rc ? rc : put_row(e, t->name, shots, "task", "", l->v, l->n, err);
}

/* ---- tasks ---- */

/* Score a task, tell its results; its subsets are added to `all`. */
static int one_task(struct kj_evaluation *e, const struct kj_task *t,
                    struct leaves *all, struct kj_err *err)
{
    int64_t shots = e->o->shots < 0 ? t->shots : e->o->shots;
    struct kj_questions q, pool;
    struct kj_accuracy *tally = NULL;
    struct leaves mine = {0};
    bool own;
    kj_questions_init(&q);
    kj_questions_init(&pool);
    e->named = 0;
    int rc = load(e, t, shots, &q, &pool, &own, err);
    if (rc == KJ_OK) {
        tally = kj_xcalloc(q.n_subsets + 1, sizeof *tally);
        rc = kj_eval_questions(e, t, &q, &pool, own, shots, tally, err);
    }
    if (rc == KJ_OK) {
        mine.v = kj_xcalloc(q.n_subsets + 1, sizeof(struct leaf *));
        all->v =
            kj_xrealloc(all->v, (all->n + q.n_subsets + 1) * sizeof(struct leaf *));
        for (size_t i = 0; i < q.n_subsets; i++) {
            struct leaf *x = kj_xmalloc(sizeof *x);
            *x = (struct leaf){q.subsets[i], shots, t->metrics, tally[i]};
            mine.v[mine.n++] = all->v[all->n++] = x;
        }
        rc = results(e, t, shots, &mine, err);
        for (size_t i = 0; i < mine.n; i++)
            mine.v[i]->name = NULL; /* goes with the questions */
    }
    free(mine.v);
    free(tally);
    kj_questions_release(&q);
    kj_questions_release(&pool);
    return rc;
}

/* A file; NAME.yaml beside another task's file, in $KIJIL_RECIPES/eval, in
 * recipes/eval, or there where the program comes from. */
static bool find_task(const char *name, const char *beside, char path[PATH_MAX])
{
    char exe[PATH_MAX];
    struct stat st;
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    const char *env = getenv("KIJIL_RECIPES");
    const char *slash = beside ? strrchr(beside, '/') : NULL;
    exe[len > 0 ? len : 0] = 0;
    char *program = strrchr(exe, '/');
    if (program)
        *program = 0;
    const struct {
        const char *dir;
        int n;
        const char *more;
    } places[] = {{slash ? beside : NULL, slash ? (int)(slash - beside) : 0, ""},
                  {env, INT_MAX, "/eval"},
                  {"recipes", INT_MAX, "/eval"},
                  {exe, INT_MAX, "/../../recipes/eval"},
                  {exe, INT_MAX, "/../share/kijil/recipes/eval"}};
    snprintf(path, PATH_MAX, "%s", name);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        return true;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!places[i].dir)
            continue;
        int n = snprintf(path, PATH_MAX, "%.*s%s/%s.yaml", places[i].n, places[i].dir,
                         places[i].more, name);
        if (n < PATH_MAX && stat(path, &st) == 0 && S_ISREG(st.st_mode))
            return true;
    }
    return false;
}

static int task(struct kj_evaluation *e, const char *name, const char *beside,
                struct leaves *all, struct kj_err *err)
{
    char path[PATH_MAX];
    struct kj_task *t = NULL;
    if (!find_task(name, beside, path))
        return kj_err_set(err, KJ_USAGE,
                          "there is no task '%s' (there is ppl, and each file in "
                          "recipes/eval)",
                          name);
    int rc = kj_task_load(&t, path, err);
    if (rc == KJ_OK && t->n_tasks && beside)
        rc = kj_err_set(err, KJ_USAGE, "%s: a group in a group", path);
    for (size_t i = 0; rc == KJ_OK && i < t->n_tasks; i++)
        rc = task(e, t->tasks[i], path, all, err);
    if (rc == KJ_OK && t->n_tasks)
        rc = put_row(e, t->name, all->n ? all->v[0]->shots : 0, "task", "", all->v,
                     all->n, err);
    else if (rc == KJ_OK)
        rc = one_task(e, t, all, err);
    kj_task_free(t);
    return rc;
}

int kj_eval_task(struct kj_evaluation *e, const char *name, struct kj_err *err)
{
    struct leaves all = {0};
    int rc = task(e, name, NULL, &all, err);
    leaves_release(&all);
    return rc == KJ_EOF ? KJ_OK : rc; /* interrupted */
}
