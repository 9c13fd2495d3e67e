/* tok_block.c - word starts of 64 bytes at a time.
 *
 * A block begins where a word begins. Its bytes are classified by vector code
 * into one 64-bit mask a class (every byte of a character has the class of the
 * character), and what the patterns of tok_scan.c say becomes arithmetic on
 * masks: a run starts at X & ~(X << 1), what follows a run is found by the
 * carry of an addition, "one other character in front of letters" is a carry
 * through the continuation bytes of that character. Since a block starts with
 * a word there is no state from block to block: the next block starts at the
 * last word start found, so a word is never cut, and some bytes are read twice.
 *
 * Rarely a decision needs more than the block holds (white space that reaches
 * its end), or something that the masks do not say (white space or digits of
 * several bytes, lines with white space between their ends). Then only the
 * starts in front of it are given, and tok_scan_next does one word.
 *
 * Hangul syllables and unified ideographs, all letters, are told by vector
 * code; other characters beyond ASCII are looked up one by one.
 */
#include "tokenize/tok_block.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* ---- classes of ASCII, and where the rest is ---- */

struct masks {
    uint64_t letter, number, space, line, quote, blank20, high;
    uint64_t upper; /* of the letters */
    uint64_t lower; /* of those beyond ASCII */
    uint64_t mark;
    uint64_t cont;  /* continuation bytes; only where there is high */
    uint64_t ideo;  /* lead bytes of three-byte characters that are letters */
    uint64_t other; /* the rest */
    uint64_t odd;   /* leads of white space and digits beyond ASCII */
};

static inline bool ideograph(const unsigned char *p)
{
    return (p[0] >= 0xE5 && p[0] <= 0xE9) || p[0] == 0xEB || p[0] == 0xEC ||
           (p[0] == 0xEA && p[1] >= 0xB0) || (p[0] == 0xED && p[1] <= 0x9D) ||
           (p[0] == 0xE4 && p[1] >= 0xB8);
}

static void classes_plain(const unsigned char *p, struct masks *m)
{
    *m = (struct masks){0};
    for (unsigned i = 0; i < 64; i++) {
        uint64_t bit = (uint64_t)1 << i;
        unsigned c = p[i];
        m->letter |= (c | 0x20) - 'a' < 26 ? bit : 0;
        m->upper |= c - 'A' < 26 ? bit : 0;
        m->number |= c - '0' < 10 ? bit : 0;
        m->space |= c == ' ' || c - '\t' < 5 ? bit : 0;
        m->line |= c == '\n' || c == '\r' ? bit : 0;
        m->quote |= c == '\'' ? bit : 0;
        m->blank20 |= c == ' ' ? bit : 0;
        m->high |= c >= 0x80 ? bit : 0;
        m->cont |= (c & 0xC0) == 0x80 ? bit : 0;
        m->ideo |= c >= 0xE4 && ideograph(p + i) ? bit : 0;
    }
}

#if defined(__x86_64__)

/* lo <= x < lo + n of unsigned bytes, by a signed comparison. */
#define IN128(x, lo, n)                                                                \
    _mm_cmplt_epi8(_mm_add_epi8(x, _mm_set1_epi8((char)(0x80 - (lo)))),                \
                   _mm_set1_epi8((char)(-128 + (n))))
#define EQ128(x, c) _mm_cmpeq_epi8(x, _mm_set1_epi8((char)(c)))
#define M128(v)     ((uint64_t)(uint32_t)_mm_movemask_epi8(v) << i)

static void classes_sse2(const unsigned char *p, struct masks *m)
{
    *m = (struct masks){0};
    for (unsigned i = 0; i < 64; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i sp = EQ128(x, ' ');
        m->letter |= M128(IN128(_mm_or_si128(x, _mm_set1_epi8(0x20)), 'a', 26));
        m->upper |= M128(IN128(x, 'A', 26));
        m->number |= M128(IN128(x, '0', 10));
        m->space |= M128(_mm_or_si128(sp, IN128(x, '\t', 5)));
        m->line |= M128(_mm_or_si128(EQ128(x, '\n'), EQ128(x, '\r')));
        m->quote |= M128(EQ128(x, '\''));
        m->blank20 |= M128(sp);
        m->high |= M128(x);
    }
    for (unsigned i = 0; m->high && i < 64; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i y = _mm_loadu_si128((const __m128i *)(const void *)(p + i + 1));
        __m128i all = _mm_or_si128(IN128(x, 0xE5, 5), IN128(x, 0xEB, 2));
        __m128i ea = _mm_and_si128(EQ128(x, 0xEA), IN128(y, 0xB0, 16));
        __m128i ed = _mm_and_si128(EQ128(x, 0xED), IN128(y, 0x80, 0x1E));
        __m128i e4 = _mm_and_si128(EQ128(x, 0xE4), IN128(y, 0xB8, 8));
        m->cont |= M128(IN128(x, 0x80, 0x40));
        m->ideo |= M128(_mm_or_si128(_mm_or_si128(all, ea), _mm_or_si128(ed, e4)));
    }
}

#define IN256(x, lo, n)                                                                \
    _mm256_cmpgt_epi8(_mm256_set1_epi8((char)(-128 + (n))),                            \
                      _mm256_add_epi8(x, _mm256_set1_epi8((char)(0x80 - (lo)))))
#define EQ256(x, c) _mm256_cmpeq_epi8(x, _mm256_set1_epi8((char)(c)))
#define M256(v)     ((uint64_t)(uint32_t)_mm256_movemask_epi8(v) << i)

__attribute__((target("avx2"))) static void classes_avx2(const unsigned char *p,
                                                         struct masks *m)
{
    *m = (struct masks){0};
    for (unsigned i = 0; i < 64; i += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        __m256i sp = EQ256(x, ' ');
        m->letter |= M256(IN256(_mm256_or_si256(x, _mm256_set1_epi8(0x20)), 'a', 26));
        m->upper |= M256(IN256(x, 'A', 26));
        m->number |= M256(IN256(x, '0', 10));
        m->space |= M256(_mm256_or_si256(sp, IN256(x, '\t', 5)));
        m->line |= M256(_mm256_or_si256(EQ256(x, '\n'), EQ256(x, '\r')));
        m->quote |= M256(EQ256(x, '\''));
        m->blank20 |= M256(sp);
        m->high |= M256(x);
    }
    for (unsigned i = 0; m->high && i < 64; i += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        __m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(p + i + 1));
        __m256i all = _mm256_or_si256(IN256(x, 0xE5, 5), IN256(x, 0xEB, 2));
        __m256i ea = _mm256_and_si256(EQ256(x, 0xEA), IN256(y, 0xB0, 16));
        __m256i ed = _mm256_and_si256(EQ256(x, 0xED), IN256(y, 0x80, 0x1E));
        __m256i e4 = _mm256_and_si256(EQ256(x, 0xE4), IN256(y, 0xB8, 8));
        m->cont |= M256(IN256(x, 0x80, 0x40));
        m->ideo |=
            M256(_mm256_or_si256(_mm256_or_si256(all, ea), _mm256_or_si256(ed, e4)));
    }
}

#define IN512(x, lo, n)                                                                \
    _mm512_cmplt_epu8_mask(_mm512_sub_epi8(x, _mm512_set1_epi8((char)(lo))),           \
                           _mm512_set1_epi8((char)(n)))
#define EQ512(x, c) _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8((char)(c)))

__attribute__((target("avx512bw"))) static void classes_avx512(const unsigned char *p,
                                                               struct masks *m)
{
    __m512i x = _mm512_loadu_si512(p);
    m->letter = IN512(_mm512_or_si512(x, _mm512_set1_epi8(0x20)), 'a', 26);
    m->upper = IN512(x, 'A', 26);
    m->number = IN512(x, '0', 10);
    m->blank20 = EQ512(x, ' ');
    m->space = m->blank20 | IN512(x, '\t', 5);
    m->line = EQ512(x, '\n') | EQ512(x, '\r');
    m->quote = EQ512(x, '\'');
    m->high = _mm512_movepi8_mask(x);
    m->cont = m->ideo = m->odd = m->lower = m->mark = 0;
    if (!m->high)
        return;
    __m512i y = _mm512_loadu_si512(p + 1);
    m->cont = IN512(x, 0x80, 0x40);
    m->ideo =
        IN512(x, 0xE5, 5) | IN512(x, 0xEB, 2) | (EQ512(x, 0xEA) & IN512(y, 0xB0, 16)) |
        (EQ512(x, 0xED) & IN512(y, 0x80, 0x1E)) | (EQ512(x, 0xE4) & IN512(y, 0xB8, 8));
}

#endif

typedef void classes_fn(const unsigned char *p, struct masks *m);

static classes_fn *classes = classes_plain;

bool tok_block_use(enum tok_isa isa)
{
#if defined(__x86_64__)
    static classes_fn *const all[] = {classes_plain, classes_sse2, classes_avx2,
                                      classes_avx512};
    __builtin_cpu_init();
    if ((isa == TOK_AVX2 && !__builtin_cpu_supports("avx2")) ||
        (isa == TOK_AVX512 && !__builtin_cpu_supports("avx512bw")))
        return false;
    classes = all[isa];
    return true;
#else
    return isa == TOK_PLAIN;
#endif
}

/* Characters beyond ASCII to the masks. */
static inline void spread(const unsigned char *p, struct masks *m)
{
    uint64_t rest = m->high & ~m->cont & ~m->ideo;
    m->letter |= m->ideo | m->ideo << 1 | m->ideo << 2;
    while (rest) {
        unsigned i = (unsigned)__builtin_ctzll(rest);
        size_t len;
        unsigned kind = tok_kind_at(p + i, &len), cls = kind & 3;
        uint64_t bits = (((uint64_t)1 << len) - 1) << i;
        rest &= rest - 1;
        m->mark |= kind == TOK_MARK ? bits : 0;
        if (cls == TOK_L) {
            m->letter |= bits;
            m->upper |= kind == TOK_UPPER ? bits : 0;
            m->lower |= kind == TOK_LOWER ? bits : 0;
        } else if (cls == TOK_N) {
            m->number |= bits;
            m->odd |= (uint64_t)1 << i;
        } else if (cls == TOK_S) {
            m->space |= bits;
            m->odd |= (uint64_t)1 << i;
        }
    }
}

/* Only the starts up to that of the run of `in` that holds bit q. */
static inline uint64_t before_run(uint64_t starts, uint64_t in, unsigned q)
{
    uint64_t outside = ~in & (((uint64_t)1 << q) - 1);
    unsigned r = outside ? 64 - (unsigned)__builtin_clzll(outside) : 0;
    return starts & (((uint64_t)2 << r) - 1);
}

static inline uint64_t limit(uint64_t starts, const struct masks *m)
{
    if (m->space >> 63)
        starts = before_run(starts, m->space, 63);
    if (m->odd) {
        unsigned q = (unsigned)__builtin_ctzll(m->odd);
        starts = before_run(starts, m->space >> q & 1 ? m->space : m->number, q);
    }
    return starts;
}

/* Starts of the second, third... group of three digits. */
static inline uint64_t threes(uint64_t number)
{
    uint64_t starts = 0;
    for (uint64_t in = number; (in &= (in << 1) & (in << 2) & (in << 3));)
        starts |= in & ~(in << 1);
    return starts;
}

static inline uint64_t bit_at(size_t i)
{
    return i < 64 ? (uint64_t)1 << i : 0;
}

/* What the patterns of Llama 3, Qwen and o200k have in common: l is what words of
 * letters are made of, o are signs. */
struct common {
    uint64_t starts;
    uint64_t joined; /* first letters behind one sign in front of them */
    uint64_t tail;   /* line ends right behind signs, which are theirs */
    uint64_t indent; /* first blanks behind a line end */
    bool again;      /* another line end follows such blanks */
};

static inline struct common common(const struct masks *m, uint64_t l, uint64_t o,
                                   unsigned digits)
{
    uint64_t s = m->space;
    uint64_t line = m->line & (m->line + (o << 1 & m->line));
    struct common c = {.tail = m->line & ~line};
    uint64_t w = s & ~c.tail; /* white space without these */
    uint64_t blank = w & ~line;
    uint64_t last_blank = blank & ~(s >> 1);
    /* Blanks behind a line end are a word of their own, or the front of one,
     * unless another line end follows them. */
    c.indent = blank & (line << 1);
    c.again = (blank + c.indent) & ~blank & line;
    /* Signs without a space in front, and such that are one character. */
    uint64_t sign = o & ~(o << 1) & ~(m->blank20 << 1);
    uint64_t body = sign | (m->cont & o);
    c.joined = (body + sign) & ~body & l;
    c.starts = 1 | (l & ~(l << 1) & ~(blank << 1) & ~c.joined) | last_blank |
               (w & ~(w << 1)) | c.indent | sign;
    if (digits == 1)
        c.starts |= m->number;
    else
        c.starts |= (m->number & ~(m->number << 1)) | threes(m->number);
    return c;
}

/* Without the starts that the block does not decide. */
static inline uint64_t decided(uint64_t starts, const struct common *c,
                               const struct masks *m)
{
    if (c->again)
        starts = before_run(starts, m->space, (unsigned)__builtin_ctzll(c->indent));
    return limit(starts, m);
}

static inline uint64_t starts_llama(const unsigned char *p, const struct masks *m,
                                    unsigned digits)
{
    struct common c = common(m, m->letter, m->other, digits);
    uint64_t starts = c.starts;
    for (uint64_t q = m->quote & c.joined >> 1; q; q &= q - 1) {
        unsigned i = (unsigned)__builtin_ctzll(q);
        size_t k = tok_contraction(p, TOK_BLOCK_READ, i, true);
        starts |= k ? bit_at(i + k) : 0;
    }
    return decided(starts, &c, m);
}

/* Words within a run of letters l and marks: where lower case ends, and where
 * the last character without case stands in front of upper case at the end. */
static inline uint64_t cased_starts(const struct masks *m, uint64_t l, uint64_t lower,
                                    uint64_t neither)
{
    uint64_t upper = m->upper, seed = neither & (lower << 1);
    uint64_t starts = upper & (lower << 1);
    starts |= (neither + seed) & ~neither & upper;
    for (uint64_t q = upper & (neither << 1) & ~starts; q; q &= q - 1) {
        unsigned i = (unsigned)__builtin_ctzll(q);
        size_t end = i + (unsigned)__builtin_ctzll(~(upper >> i));
        /* At the end of the block it is open, and nothing is behind. */
        starts |= end < 64 && !(l >> end & 1) ? bit_at(i) : 0;
    }
    return starts;
}

/* Contractions end the word in front of them. */
static inline uint64_t contracted(const unsigned char *p, uint64_t starts,
                                  uint64_t quotes, uint64_t neither)
{
    size_t end = 64;
    for (uint64_t q = quotes; q; q &= q - 1) {
        unsigned i = (unsigned)__builtin_ctzll(q);
        size_t k = i == end ? 0 : tok_contraction(p, TOK_BLOCK_READ, i, true);
        if (!k)
            continue;
        end = i + k;
        /* Nor does a word start in it ('vE). */
        starts = (starts & ~((((uint64_t)1 << k) - 1) << i)) | bit_at(end);
        /* cased_starts took the letters on both sides for one word. */
        if (neither & bit_at(end))
            return starts & (bit_at(end) | (bit_at(end) - 1));
    }
    return starts;
}

static inline uint64_t starts_o200k(const unsigned char *p, const struct masks *m,
                                    bool contractions, unsigned digits)
{
    uint64_t l = m->letter | m->mark, o = m->other & ~m->mark;
    uint64_t lower = m->lower | (m->letter & ~m->high & ~m->upper);
    uint64_t neither = l & ~m->upper & ~lower, odd;
    struct common c = common(m, l, o, digits);
    uint64_t starts = c.starts | cased_starts(m, l, lower, neither);
    if (contractions)
        starts = contracted(p, starts, m->quote & l << 1, neither);
    /* A mark behind a sign belongs to the signs, or both to a word. */
    if ((odd = m->mark & o << 1))
        starts = before_run(starts, o, (unsigned)__builtin_ctzll(odd));
    /* A slash behind the line ends of signs belongs to them, and those behind it. */
    for (uint64_t q = o & c.tail << 1; q; q &= q - 1)
        if (p[__builtin_ctzll(q)] == '/')
            starts &= (q & -q) - 1;
    return decided(starts, &c, m);
}

static inline uint64_t starts_gpt2(const unsigned char *p, struct masks *m)
{
    uint64_t l = m->letter, n = m->number, o = m->other, s = m->space;
    uint64_t first = (l & ~(l << 1)) | (n & ~(n << 1)) | (o & ~(o << 1));
    uint64_t starts =
        1 | (first & ~(m->blank20 << 1)) | (s & ~(s << 1)) | (s & ~(s >> 1));
    /* An apostrophe that starts a word, with a letter behind it. */
    for (uint64_t q = m->quote & starts & l >> 1; q; q &= q - 1) {
        unsigned i = (unsigned)__builtin_ctzll(q);
        size_t k = tok_contraction(p, TOK_BLOCK_READ, i, false);
        if (k)
            starts = (starts & ~bit_at(i + 1)) | bit_at(i + k);
    }
    return limit(starts, m);
}

uint64_t tok_block_starts(enum tok_scan scan, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    struct masks m;
    classes(p, &m);
    if (m.high)
        spread(p, &m);
    m.other = ~(m.letter | m.number | m.space);
    switch (scan) {
    case TOK_SCAN_GPT2:
        return starts_gpt2(p, &m);
    case TOK_SCAN_O200K:
        return starts_o200k(p, &m, true, 3);
    case TOK_SCAN_TEKKEN:
        return starts_o200k(p, &m, false, 1);
    default:
        return starts_llama(p, &m, scan == TOK_SCAN_LLAMA3 ? 3 : 1);
    }
}
