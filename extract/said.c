/* said.c - see said.h. */
#define _GNU_SOURCE /* memmem */
#include "extract/said.h"

#include <stdlib.h>
#include <string.h>

/* A table takes 24 MB at most: the rest of a page of more than 900,000 runs does
 * not count. */
enum { WORDS = 4, LD_MAX = 1 << 16, SLOTS_MIN = 1 << 10, SLOTS_MAX = 1 << 20 };

void kj_said_release(struct kj_said *g)
{
    free(g->table);
    free(g->at);
    memset(g, 0, sizeof *g);
}

void kj_said_begin(struct kj_said *g, size_t bytes)
{
    size_t size = SLOTS_MIN;
    while (size < bytes / 4 && size < SLOTS_MAX) /* words are longer */
        size *= 2;
    if (size > g->cap) {
        free(g->table);
        g->table = kj_xmalloc(size * sizeof *g->table);
        g->cap = size;
    }
    memset(g->table, 0, size * sizeof *g->table);
    g->size = size;
    g->used = g->n = 0;
    g->any = false;
}

static size_t slot_of(const struct kj_said *g, uint64_t h)
{
    size_t i = (size_t)(h ^ (h >> 29)) & (g->size - 1);
    while (g->table[i].hash && g->table[i].hash != h)
        i = (i + 1) & (g->size - 1);
    return i;
}

/* The slot of a run, or g->size where the table is full. */
static size_t enter(struct kj_said *g, uint64_t h)
{
    size_t i = slot_of(g, h);
    if (g->table[i].hash)
        return i;
    if (g->used * 8 > g->size * 7)
        return g->size;
    g->table[i].hash = h;
    g->used++;
    return i;
}

static bool is_letter(unsigned char c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* The next word of a text ended a run: its hash, or 0. */
static uint64_t run(struct kj_said *g, uint64_t word)
{
    uint64_t h = word;
    for (int i = WORDS - 1; i > 0; i--) {
        g->near[i] = g->near[i - 1];
        h = (h ^ g->near[i]) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
    }
    g->near[0] = word;
    g->n_near += g->n_near < WORDS;
    return g->n_near == WORDS ? h | 1 : 0;
}

static uint64_t next_word(const char *p, size_t n, size_t *at)
{
    uint64_t h = 0xCBF29CE484222325u;
    size_t i = *at;
    while (i < n && !is_letter((unsigned char)p[i]))
        i++;
    size_t a = i;
    for (; i < n && is_letter((unsigned char)p[i]); i++) {
        unsigned char c = (unsigned char)p[i];
        h = (h ^ (c < 0x80 ? c | 32u : c)) * 0x100000001B3u;
    }
    *at = i;
    return i > a ? h : 0;
}

void kj_said_text(struct kj_said *g)
{
    g->n_near = 0;
}

void kj_said_add(struct kj_said *g, uint32_t text, const char *p, size_t n)
{
    size_t at = 0;
    uint64_t word;
    while ((word = next_word(p, n, &at)) != 0) {
        uint64_t h = run(g, word);
        size_t s = h ? enter(g, h) : g->size;
        if (s == g->size)
            continue;
        struct kj_said_run *x = &g->table[s];
        if (x->last != text + 1) {
            x->texts++;
            x->last = text + 1;
        }
        if (g->n == g->at_cap) {
            g->at_cap = g->at_cap ? 2 * g->at_cap : 4096;
            g->at = kj_xrealloc(g->at, g->at_cap * sizeof *g->at);
        }
        g->at[g->n++] = (uint32_t)s;
    }
}

/* ---- structured data ---- */

/* A JSON string as far as its words go: escapes and tags part them, and letters
 * that are written as \u are lost. */
static void read_string(struct kj_said *g, const char *p, size_t n, unsigned said)
{
    kj_said_text(g);
    for (size_t i = 0; i < n;) {
        size_t a = i, at = 0;
        uint64_t word;
        while (i < n && p[i] != '\\' && p[i] != '<')
            i++;
        while ((word = next_word(p + a, i - a, &at)) != 0) {
            uint64_t h = run(g, word);
            size_t s = h ? enter(g, h) : g->size;
            if (s < g->size) {
                g->table[s].said |= (uint8_t)said;
                g->any = true;
            }
        }
        if (i < n && p[i] == '<')
            while (i < n && p[i] != '>')
                i++;
        i += i < n && p[i] == '\\' ? (i + 1 < n && p[i + 1] == 'u' ? 6 : 2) : 1;
    }
}

void kj_said_read_ld(struct kj_said *g, const char *p, size_t n)
{
    static const struct {
        const char *key;
        unsigned said;
    } keys[] = {
        {"\"description\"", KJ_SAID_DESC},
        {"\"articleBody\"", KJ_SAID_BODY},
        {"\"text\"", KJ_SAID_ANSWER},
        {"\"reviewBody\"", KJ_SAID_REVIEW},
    };
    for (size_t i = 0; n && i < sizeof keys / sizeof *keys; i++) {
        const char *q = p, *end = p + n;
        size_t left = LD_MAX, m = strlen(keys[i].key);
        while (left && (q = memmem(q, (size_t)(end - q), keys[i].key, m)) != NULL) {
            q += m;
            while (q < end && (*q == ' ' || *q == ':'))
                q++;
            if (q == end || *q != '"')
                continue;
            const char *z = ++q;
            while (z < end && *z != '"')
                z += *z == '\\' && end - z > 1 ? 2 : 1;
            size_t len = (size_t)(z - q) < left ? (size_t)(z - q) : left;
            read_string(g, q, len, keys[i].said);
            left -= len;
            q = z;
        }
    }
}
