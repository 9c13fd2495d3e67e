/* recipe_find.c - where the file of a recipe is; the order is in filter.h. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "filter/recipe.h"

static bool regular(const char *path, struct stat *st)
{
    return stat(path, st) == 0 && S_ISREG(st->st_mode);
}

/* DIR/NAME.yaml; `cut` ends dir early (its last component). */
static bool try_dir(const char *dir, int cut, const char *more, const char *name,
                    char path[PATH_MAX], struct stat *st)
{
    int n = snprintf(path, PATH_MAX, "%.*s%s/%s.yaml", cut, dir, more, name);
    return n > 0 && n < PATH_MAX && regular(path, st);
}

static bool try_program(const char *name, char path[PATH_MAX], struct stat *st)
{
    char exe[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (len <= 0)
        return false;
    exe[len] = 0;
    char *slash = strrchr(exe, '/');
    int cut = slash ? (int)(slash - exe) : 0;
    return try_dir(exe, cut, "/../../recipes", name, path, st) ||
           try_dir(exe, cut, "/../share/kijil/recipes", name, path, st);
}

bool kj_filter_recipe_find(const char *beside, const char *dir, const char *name,
                           char path[PATH_MAX], struct stat *st)
{
    const char *env = getenv("KIJIL_RECIPES"), *slash;
    int n = snprintf(path, PATH_MAX, "%s", name);
    if (n > 0 && n < PATH_MAX && regular(path, st))
        return true;
    slash = beside ? strrchr(beside, '/') : NULL;
    if (beside && try_dir(slash ? beside : ".", slash ? (int)(slash - beside) : 1, "",
                          name, path, st))
        return true;
    return (dir && try_dir(dir, INT_MAX, "", name, path, st)) ||
           (env && try_dir(env, INT_MAX, "", name, path, st)) ||
           try_dir("recipes", INT_MAX, "", name, path, st) ||
           try_program(name, path, st);
}
