/* morph_table.h - the morphemes that the splitter knows; for morph.c alone. */
#ifndef KJ_FILTER_MORPH_TABLE_H
#define KJ_FILTER_MORPH_TABLE_H

#include <stddef.h>
#include <stdint.h>

/* What a string of syllables can be. "Open" forms end in a syllable whose final
 * consonant belongs to the ending behind (간 = 가 + ㄴ): they are stored without
 * it. "Merged" ones end in a syllable that holds stem and 아/어 (해 = 하 + 어). */
enum kj_morph_class {
    KJ_M_PARTICLE = 1 << 0,
    KJ_M_WORD = 1 << 1,   /* a noun, adverb, determiner: known as it stands */
    KJ_M_BOUND = 1 << 2,  /* a bound noun: behind an attributive ending */
    KJ_M_SUFFIX = 1 << 3, /* a suffix of nouns */
    KJ_M_PREFIX = 1 << 4,
    KJ_M_STEM = 1 << 5, /* of verbs and adjectives */
    KJ_M_OPEN = 1 << 6,
    KJ_M_MERGED = 1 << 7,
    KJ_M_DERIVE = 1 << 8,   /* with a stem form: makes verbs of nouns (하, 되, 이) */
    KJ_M_AUX = 1 << 9,      /* with a stem form: auxiliary, behind an ending */
    KJ_M_HONOR = 1 << 10,   /* with a stem form: (으)시 */
    KJ_M_TAIL = 1 << 11,    /* an ending behind any stem */
    KJ_M_TAIL_C = 1 << 12,  /* behind a final consonant: 은, 습니다 */
    KJ_M_TAIL_A = 1 << 13,  /* begins with 아 or 어 */
    KJ_M_REST = 1 << 14,    /* what is left of such a one behind a merged form */
    KJ_M_PAST = 1 << 15,    /* 었, 겠: more endings follow */
    KJ_M_ATTR = 1 << 16,    /* the ending makes an attribute */
    KJ_M_NOMIN = 1 << 17,   /* the ending makes a noun */
    KJ_M_YO = 1 << 18,      /* may stand behind an ending: 요 */
    KJ_M_PRONOUN = 1 << 19, /* with OPEN: takes ㄴ, ㄹ for 는, 를 (난, 걸) */
    KJ_M_COUNTER = 1 << 20, /* behind a number */
    KJ_M_COPULA = 1 << 21,  /* an ending that stands behind a noun's vowel too */
    KJ_M_COMMON = 1 << 22,  /* with SUFFIX: one that hardly is anything else */
};

/* Codes: a syllable is 1 + its index (가 = 1); an ending that begins with a final
 * consonant is stored behind KJ_M_FINAL + that (1..27). */
#define KJ_M_FINAL 12000u

/* Fill the tables: once, before they are used. */
void kj_morph_table_fill(void);

/* The trie. Most look-ups fail, so a node knows in 64 bits which codes may follow,
 * and the first code has a table of its own. */
struct kj_morph_node {
    uint32_t key;     /* the node before << 14 | code; 0: empty */
    uint32_t classes; /* what the string so far can be; 0: it only begins others */
    uint64_t kids;    /* bit code % 64 for each code that may follow */
};
enum { KJ_MORPH_BITS = 13, KJ_MORPH_CODES = 12032 };
extern struct kj_morph_node kj_morph_nodes[1 << KJ_MORPH_BITS];
extern uint16_t kj_morph_first[KJ_MORPH_CODES]; /* by first code; 0: none begins so */

/* The place of the step from a node over one code, in the table. */
static inline uint32_t kj_morph_find(uint32_t node, uint32_t code)
{
    uint32_t key = node << 14 | code;
    uint32_t i = key * 0x9E3779B1u >> (32 - KJ_MORPH_BITS);
    while (kj_morph_nodes[i].key && kj_morph_nodes[i].key != key)
        i = (i + 1) & ((1u << KJ_MORPH_BITS) - 1);
    return i;
}

/* The node behind a node and a code, or NULL when no string begins so. */
static inline const struct kj_morph_node *
kj_morph_step(const struct kj_morph_node *node, uint32_t code)
{
    if (!(node->kids >> code % 64 & 1))
        return NULL;
    uint32_t i = kj_morph_find((uint32_t)(node - kj_morph_nodes), code);
    return kj_morph_nodes[i].key ? &kj_morph_nodes[i] : NULL;
}

/* The node of a string of one code, or NULL. */
static inline const struct kj_morph_node *kj_morph_begin(uint32_t code)
{
    return kj_morph_first[code] ? &kj_morph_nodes[kj_morph_first[code]] : NULL;
}

/* Can this syllable be the reading of a Chinese character? A bit for each. */
extern unsigned char kj_morph_sinos[11172 / 8 + 1];
static inline int kj_morph_sino(uint32_t syllable)
{
    return kj_morph_sinos[syllable / 8] >> syllable % 8 & 1;
}

#endif
