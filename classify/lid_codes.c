/* lid_codes.c - codes and scripts of languages.
 *
 * The table is ISO 639-1 with the ISO 639-3 codes of the same languages, and
 * individual languages that models name in place of their macrolanguage
 * (Mandarin, Standard Arabic, ...); behind them a few without a two-letter code
 * that are not written in Latin letters. Scripts are those in living use on the
 * web; where a language changed its script, both. A language of the list with
 * only Latn is written in Latin letters.
 */
#include "classify/lid_codes.h"

#include <string.h>

static const struct script {
    char code[5];
    uint64_t set;
} scripts[] = {
#define BIT(i) ((uint64_t)1 << (i))
    {"Latn", BIT(0)},  {"Cyrl", BIT(1)},  {"Arab", BIT(2)},          {"Hang", BIT(3)},
    {"Hani", BIT(4)},  {"Hans", BIT(4)},  {"Hant", BIT(4)},          {"Kana", BIT(5)},
    {"Hira", BIT(5)},  {"Deva", BIT(6)},  {"Beng", BIT(7)},          {"Guru", BIT(8)},
    {"Gujr", BIT(9)},  {"Orya", BIT(10)}, {"Taml", BIT(11)},         {"Telu", BIT(12)},
    {"Knda", BIT(13)}, {"Mlym", BIT(14)}, {"Sinh", BIT(15)},         {"Thai", BIT(16)},
    {"Laoo", BIT(17)}, {"Tibt", BIT(18)}, {"Mymr", BIT(19)},         {"Geor", BIT(20)},
    {"Ethi", BIT(21)}, {"Khmr", BIT(22)}, {"Hebr", BIT(23)},         {"Grek", BIT(24)},
    {"Armn", BIT(25)}, {"Mong", BIT(26)}, {"Thaa", BIT(27)},         {"Cans", BIT(28)},
    {"Yiii", BIT(29)}, {"Avst", BIT(30)}, {"Olck", BIT(31)},         {"Syrc", BIT(32)},
    {"Tfng", BIT(33)}, {"Cher", BIT(34)}, {"Jpan", BIT(4) | BIT(5)}, {"Kore", BIT(3)},
};

static const struct lang {
    char iso3[4], code[4];
    const char *scripts; /* four letters each, with a blank between */
} langs[] = {
    {"aar", "aa", "Latn"},
    {"abk", "ab", "Cyrl"},
    {"acm", "acm", "Arab"},
    {"afr", "af", "Latn"},
    {"ajp", "ajp", "Arab"},
    {"aka", "ak", "Latn"},
    {"als", "sq", "Latn"},
    {"amh", "am", "Ethi"},
    {"apc", "apc", "Arab"},
    {"ara", "ar", "Arab"},
    {"arb", "ar", "Arab"},
    {"arg", "an", "Latn"},
    {"ary", "ary", "Arab"},
    {"arz", "arz", "Arab"},
    {"asm", "as", "Beng"},
    {"ava", "av", "Cyrl"},
    {"ave", "ae", "Avst"},
    {"aym", "ay", "Latn"},
    {"ayr", "ay", "Latn"},
    {"azb", "azb", "Arab"},
    {"aze", "az", "Latn Cyrl Arab"},
    {"azj", "az", "Latn Cyrl Arab"},
    {"bak", "ba", "Cyrl"},
    {"bam", "bm", "Latn"},
    {"bel", "be", "Cyrl"},
    {"ben", "bn", "Beng"},
    {"bh", "bh", "Deva"},
    {"bho", "bho", "Deva"},
    {"bis", "bi", "Latn"},
    {"bod", "bo", "Tibt"},
    {"bos", "bs", "Cyrl Latn"},
    {"bpy", "bpy", "Beng"},
    {"bre", "br", "Latn"},
    {"bul", "bg", "Cyrl"},
    {"bxr", "bxr", "Cyrl"},
    {"cat", "ca", "Latn"},
    {"ces", "cs", "Latn"},
    {"cha", "ch", "Latn"},
    {"che", "ce", "Cyrl"},
    {"chu", "cu", "Cyrl"},
    {"chv", "cv", "Cyrl"},
    {"ckb", "ckb", "Arab"},
    {"cmn", "zh", "Hani"},
    {"cor", "kw", "Latn"},
    {"cos", "co", "Latn"},
    {"cre", "cr", "Cans Latn"},
    {"cym", "cy", "Latn"},
    {"dan", "da", "Latn"},
    {"deu", "de", "Latn"},
    {"div", "dv", "Thaa"},
    {"dty", "dty", "Deva"},
    {"dzo", "dz", "Tibt"},
    {"ekk", "et", "Latn"},
    {"ell", "el", "Grek"},
    {"eng", "en", "Latn"},
    {"epo", "eo", "Latn"},
    {"est", "et", "Latn"},
    {"eus", "eu", "Latn"},
    {"ewe", "ee", "Latn"},
    {"fao", "fo", "Latn"},
    {"fas", "fa", "Arab"},
    {"fij", "fj", "Latn"},
    {"fin", "fi", "Latn"},
    {"fra", "fr", "Latn"},
    {"fry", "fy", "Latn"},
    {"ful", "ff", "Latn"},
    {"fuv", "ff", "Latn"},
    {"gaz", "om", "Latn"},
    {"gla", "gd", "Latn"},
    {"gle", "ga", "Latn"},
    {"glg", "gl", "Latn"},
    {"glv", "gv", "Latn"},
    {"gom", "gom", "Deva Latn"},
    {"grn", "gn", "Latn"},
    {"guj", "gu", "Gujr"},
    {"hat", "ht", "Latn"},
    {"hau", "ha", "Latn"},
    {"heb", "he", "Hebr"},
    {"her", "hz", "Latn"},
    {"hin", "hi", "Deva"},
    {"hmo", "ho", "Latn"},
    {"hrv", "hr", "Latn"},
    {"hun", "hu", "Latn"},
    {"hye", "hy", "Armn"},
    {"ibo", "ig", "Latn"},
    {"ido", "io", "Latn"},
    {"iii", "ii", "Yiii"},
    {"iku", "iu", "Cans Latn"},
    {"ile", "ie", "Latn"},
    {"ina", "ia", "Latn"},
    {"ind", "id", "Latn"},
    {"ipk", "ik", "Latn"},
    {"isl", "is", "Latn"},
    {"ita", "it", "Latn"},
    {"jav", "jv", "Latn"},
    {"jpn", "ja", "Jpan"},
    {"kal", "kl", "Latn"},
    {"kan", "kn", "Knda"},
    {"kas", "ks", "Arab Deva"},
    {"kat", "ka", "Geor"},
    {"kau", "kr", "Latn"},
    {"kaz", "kk", "Cyrl Latn Arab"},
    {"khk", "mn", "Cyrl Mong"},
    {"khm", "km", "Khmr"},
    {"kik", "ki", "Latn"},
    {"kin", "rw", "Latn"},
    {"kir", "ky", "Cyrl"},
    {"kmr", "ku", "Arab Latn"},
    {"knc", "kr", "Latn"},
    {"kom", "kv", "Cyrl"},
    {"kon", "kg", "Latn"},
    {"kor", "ko", "Hang"},
    {"krc", "krc", "Cyrl"},
    {"kua", "kj", "Latn"},
    {"kur", "ku", "Arab Latn"},
    {"lao", "lo", "Laoo"},
    {"lat", "la", "Latn"},
    {"lav", "lv", "Latn"},
    {"lim", "li", "Latn"},
    {"lin", "ln", "Latn"},
    {"lit", "lt", "Latn"},
    {"lrc", "lrc", "Arab"},
    {"ltz", "lb", "Latn"},
    {"lub", "lu", "Latn"},
    {"lug", "lg", "Latn"},
    {"lvs", "lv", "Latn"},
    {"mah", "mh", "Latn"},
    {"mai", "mai", "Deva"},
    {"mal", "ml", "Mlym"},
    {"mar", "mr", "Deva"},
    {"mhr", "mhr", "Cyrl"},
    {"mkd", "mk", "Cyrl"},
    {"mlg", "mg", "Latn"},
    {"mlt", "mt", "Latn"},
    {"mni", "mni", "Beng"},
    {"mon", "mn", "Cyrl Mong"},
    {"mri", "mi", "Latn"},
    {"mrj", "mrj", "Cyrl"},
    {"msa", "ms", "Latn"},
    {"mya", "my", "Mymr"},
    {"myv", "myv", "Cyrl"},
    {"mzn", "mzn", "Arab"},
    {"nau", "na", "Latn"},
    {"nav", "nv", "Latn"},
    {"nbl", "nr", "Latn"},
    {"nde", "nd", "Latn"},
    {"ndo", "ng", "Latn"},
    {"nep", "ne", "Deva"},
    {"new", "new", "Deva"},
    {"nld", "nl", "Latn"},
    {"nno", "nn", "Latn"},
    {"nob", "nb", "Latn"},
    {"nor", "no", "Latn"},
    {"npi", "ne", "Deva"},
    {"nya", "ny", "Latn"},
    {"oci", "oc", "Latn"},
    {"oji", "oj", "Cans Latn"},
    {"ori", "or", "Orya"},
    {"orm", "om", "Latn"},
    {"ory", "or", "Orya"},
    {"oss", "os", "Cyrl"},
    {"pan", "pa", "Guru Arab"},
    {"pbt", "ps", "Arab"},
    {"pes", "fa", "Arab"},
    {"pli", "pi", "Deva Latn Sinh Thai Mymr"},
    {"plt", "mg", "Latn"},
    {"pnb", "pnb", "Arab"},
    {"pol", "pl", "Latn"},
    {"por", "pt", "Latn"},
    {"pus", "ps", "Arab"},
    {"que", "qu", "Latn"},
    {"quy", "qu", "Latn"},
    {"roh", "rm", "Latn"},
    {"ron", "ro", "Latn"},
    {"rue", "rue", "Cyrl"},
    {"run", "rn", "Latn"},
    {"rus", "ru", "Cyrl"},
    {"sag", "sg", "Latn"},
    {"sah", "sah", "Cyrl"},
    {"san", "sa", "Deva"},
    {"sat", "sat", "Olck"},
    {"sin", "si", "Sinh"},
    {"slk", "sk", "Latn"},
    {"slv", "sl", "Latn"},
    {"sme", "se", "Latn"},
    {"smo", "sm", "Latn"},
    {"sna", "sn", "Latn"},
    {"snd", "sd", "Arab Deva"},
    {"som", "so", "Latn"},
    {"sot", "st", "Latn"},
    {"spa", "es", "Latn"},
    {"sqi", "sq", "Latn"},
    {"srd", "sc", "Latn"},
    {"srp", "sr", "Cyrl Latn"},
    {"ssw", "ss", "Latn"},
    {"sun", "su", "Latn"},
    {"swa", "sw", "Latn"},
    {"swe", "sv", "Latn"},
    {"swh", "sw", "Latn"},
    {"tah", "ty", "Latn"},
    {"tam", "ta", "Taml"},
    {"tat", "tt", "Cyrl"},
    {"tel", "te", "Telu"},
    {"tgk", "tg", "Cyrl"},
    {"tgl", "tl", "Latn"},
    {"tha", "th", "Thai"},
    {"tir", "ti", "Ethi"},
    {"ton", "to", "Latn"},
    {"tsn", "tn", "Latn"},
    {"tso", "ts", "Latn"},
    {"tuk", "tk", "Latn Cyrl Arab"},
    {"tur", "tr", "Latn"},
    {"twi", "tw", "Latn"},
    {"tyv", "tyv", "Cyrl"},
    {"uig", "ug", "Arab"},
    {"ukr", "uk", "Cyrl"},
    {"urd", "ur", "Arab"},
    {"uzb", "uz", "Cyrl Latn"},
    {"uzn", "uz", "Cyrl Latn"},
    {"ven", "ve", "Latn"},
    {"vie", "vi", "Latn"},
    {"vol", "vo", "Latn"},
    {"wln", "wa", "Latn"},
    {"wol", "wo", "Latn"},
    {"wuu", "wuu", "Hani"},
    {"xal", "xal", "Cyrl"},
    {"xho", "xh", "Latn"},
    {"xmf", "xmf", "Geor"},
    {"ydd", "yi", "Hebr"},
    {"yid", "yi", "Hebr"},
    {"yor", "yo", "Latn"},
    {"yue", "yue", "Hani"},
    {"zha", "za", "Latn"},
    {"zho", "zh", "Hani"},
    {"zsm", "ms", "Latn"},
    {"zul", "zu", "Latn"},
};

uint64_t kj_lid_script(const char *code, size_t n)
{
    if (n != 4)
        return KJ_SCRIPT_OTHER;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++)
        if (memcmp(scripts[i].code, code, 4) == 0)
            return scripts[i].set;
    return KJ_SCRIPT_OTHER;
}

static uint64_t scripts_of(const struct lang *l)
{
    uint64_t set = 0;
    for (const char *s = l->scripts;; s += 5) {
        set |= kj_lid_script(s, 4);
        if (s[4] != ' ')
            return set;
    }
}

/* By the two-letter code (or three, where it has none), or by ISO 639-3. */
static const struct lang *find(const char *p, size_t n, bool iso3)
{
    for (size_t i = 0; i < sizeof langs / sizeof *langs; i++) {
        const char *z = iso3 ? langs[i].iso3 : langs[i].code;
        if (strlen(z) == n && memcmp(z, p, n) == 0)
            return &langs[i];
    }
    return NULL;
}

static bool lower(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < 'a' || p[i] > 'z')
            return false;
    return true;
}

static bool is_script(const char *p)
{
    return p[0] >= 'A' && p[0] <= 'Z' && lower(p + 1, 3);
}

struct kj_str kj_lid_code(struct kj_str label, uint64_t *set, struct kj_arena *a)
{
    const size_t prefix = sizeof "__label__" - 1;
    struct kj_str s = label;
    if (s.n > prefix && memcmp(s.p, "__label__", prefix) == 0)
        s = (struct kj_str){s.p + prefix, s.n - prefix};
    *set = KJ_SCRIPT_ANY;
    if (s.n == 8 && s.p[3] == '_' && lower(s.p, 3) && is_script(s.p + 4)) {
        const struct lang *l = find(s.p, 3, true);
        *set = kj_lid_script(s.p + 4, 4);
        if (!l)
            return (struct kj_str){s.p, 3};
        if ((scripts_of(l) & *set) == *set)
            return kj_str_z(l->code);
        return kj_str_z(kj_arena_printf(a, "%s-%.4s", l->code, s.p + 4));
    }
    if (s.n > 5 && s.p[s.n - 5] == '-' && is_script(s.p + s.n - 4)) {
        *set = kj_lid_script(s.p + s.n - 4, 4);
        return s;
    }
    const struct lang *l = find(s.p, s.n, false);
    if (l)
        *set = scripts_of(l);
    return s;
}
