/* unicode_internal.h - layout of the generated tables in unicode_data.c.
 *
 * Two-stage tables: NAME1[c >> 7] is the number of a block of 128 entries in
 * NAME2. For base/unicode*.c only. */
#ifndef KJ_BASE_UNICODE_INTERNAL_H
#define KJ_BASE_UNICODE_INTERNAL_H

#include <stdint.h>

#define KJ_UD_LOOK(name, c) name##2 [(unsigned)name##1 [(c) >> 7] << 7 | ((c)&127)]

/* Properties of a character, one word:
 * bits 0-4 general category, 5-9 word break class, then the flags. */
extern const uint16_t kj_ud_prop1[], kj_ud_prop2[];
enum {
    KJ_UD_SPACE = 1 << 10,   /* White_Space */
    KJ_UD_PYSPACE = 1 << 11, /* str.isspace */
    KJ_UD_ALNUM = 1 << 12,   /* str.isalnum */
    KJ_UD_PICT = 1 << 13,    /* Extended_Pictographic */
    KJ_UD_CASED = 1 << 14,
    KJ_UD_IGNORABLE = 1 << 15 /* Case_Ignorable */
};

#define KJ_UD_MAX 0x10FFFFu

static inline unsigned kj_ud_of(uint32_t c)
{
    return c <= KJ_UD_MAX ? KJ_UD_LOOK(kj_ud_prop, c) : 0;
}

/* Number of a pair in delta: what is added for lower and for upper case. */
extern const uint8_t kj_ud_case1[], kj_ud_case2[];
extern const int32_t kj_ud_delta[];

/* Number of a record in rec: bits 0-7 combining class, and flags. */
extern const uint8_t kj_ud_norm1[], kj_ud_norm2[];
extern const uint16_t kj_ud_rec[];
enum {
    KJ_UD_CCC = 0xFF,
    KJ_UD_BACK = 1 << 8, /* may combine with what stands before it */
    KJ_UD_NO_NFC = 1 << 9,
    KJ_UD_NO_NFD = 1 << 10,
    KJ_UD_NO_NFKC = 1 << 11,
    KJ_UD_NO_NFKD = 1 << 12
};

/* Place in pool of the full decompositions, 0 = none: a head (canonical
 * length << 5 | compatibility length), then both. A compatibility length of 0
 * stands for "as the canonical one". Hangul syllables are not in it. */
extern const uint8_t kj_ud_dec1[];
extern const uint16_t kj_ud_dec2[];
extern const uint32_t kj_ud_pool[];

/* Primary composites: sorted triples (first, second, composite). */
extern const uint32_t kj_ud_pair[];
extern const unsigned kj_ud_pairs;

/* Scripts: sorted (first code point of a run) << 8 | number of the script. */
extern const uint32_t kj_ud_run[];
extern const unsigned kj_ud_runs;
extern const char kj_ud_script[][5];

#endif
