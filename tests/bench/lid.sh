#!/bin/bash
# tests/bench/lid.sh [TEXT.jsonl] - the built-in language model beside lid.176.ftz
# (in Debian's fasttext), on the same sentences: the share found of each language (with
# BRIEF set: of Korean, English and those it finds fewer of than lid.176 does),
# what is taken for Korean or English wrongly, and the speed in CPU time on one core
# (with TEXT also on its first 500 documents).
# Sentences: ../shared/data/lid (75 languages; labels are ISO 639-1). lid.176 has
# one code `no` for Norwegian, which counts as nb, and `sh`, which counts for none.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
data=$PWD/../shared/data/lid
[[ -r $data/lingua.tsv.zst ]] || { echo "bench: no lingua sentences"; exit 0; }
command -v fasttext >/dev/null || { echo "bench: no fasttext program"; exit 0; }
make -s "$B/kijil"
kijil=$PWD/$B/kijil own=$PWD/classify/lid.ftz
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
zstd -dcq "$data/lingua.tsv.zst" >"$tmp/all.tsv"
text=$(realpath "${1:-/dev/null}")
cd "$tmp"
cut -f2 all.tsv >all.txt
jq -Rc 'split("\t") | {id: .[0], text: .[1]}' all.tsv >all.jsonl
"$kijil" lid -q all.jsonl | jq -r '.language + "\t" + (.language_score | tostring)' >ours.txt
fasttext predict-prob "$data/lid.176.ftz" all.txt |
    sed 's/^__label__//; s/^no /nb /; s/ /\t/' >theirs.txt

paste <(cut -f1 all.tsv) ours.txt theirs.txt | awk -F'\t' -v brief="${BRIEF:-}" '
    { n[$1]++; a[$1] += $1 == $2; b[$1] += $1 == $4; known[$2] = 1; all++; sa += $1 == $2; sb += $1 == $4
      if ($1 != $2 && ($2 == "ko" || $2 == "en")) { fa[$2]++; ga[$2] += $3 >= 0.65 }
      if ($1 != $4 && ($4 == "ko" || $4 == "en")) { fb[$4]++; gb[$4] += $5 >= 0.65 } }
    END {
        for (l in n)
            if (!brief || l == "ko" || l == "en")
                printf "%-4s %5d  %.3f %.3f%s\n", l, n[l], a[l] / n[l], b[l] / n[l],
                a[l] < b[l] ? "  below" : "" | "sort"
        close("sort")
        for (l in n)
            fewer += a[l] < b[l]
        if (brief)
            printf "of %d languages as many or more are found of %d, fewer of %d\n", length(n), length(n) - fewer, fewer
        printf "all  %5d  %.3f %.3f\n", all, sa / all, sb / all
        split("ko en", w, " ")
        for (i = 1; i in w; i++)
            printf "not %s, but called so: %d (with a score of 0.65: %d), lid.176 %d (%d)\n",
                w[i], fa[w[i]], ga[w[i]], fb[w[i]], gb[w[i]]
    }'

# seconds COMMAND : CPU time of the better of two runs
seconds() {
    local TIMEFORMAT='%U %S'
    for _ in 1 2; do
        { time bash -c "$1" >/dev/null 2>&1; } 2>&1
    done | awk '{ t = $1 + $2; if (!b || t < b) b = t } END { print b }'
}
row() { # NAME BYTES OURS THEIRS
    awk -v name="$1" -v b="$2" -v o="$(seconds "$3")" -v t="$(seconds "$4")" \
        'BEGIN { printf "%-36s %6.1f MB/s   fasttext %6.1f MB/s   %.2f times\n",
            name, b / 1e6 / o, b / 1e6 / t, t / o }'
}
lines() {
    row "$1: built in" "$2" "'$kijil' lid -q -j1 $3.jsonl" "fasttext predict-prob '$own' $3.txt"
    row "$1: lid.176.ftz" "$2" "'$kijil' lid -q -j1 -m '$data/lid.176.ftz' $3.jsonl" \
        "fasttext predict-prob '$data/lid.176.ftz' $3.txt"
    row "$1: built in, all of each text" "$2" "'$kijil' lid -q -j1 --max-bytes 64M $3.jsonl" \
        "fasttext predict-prob '$own' $3.txt"
}
lines sentences "$(stat -c %s all.txt)" all
if [[ $text != /dev/null ]]; then
    zstd -dcqf "$text" | head -n 500 | jq -c '{text: .text}' >docs.jsonl
    jq -r '.text | gsub("\\s+"; " ")' docs.jsonl >docs.txt
    lines documents "$(stat -c %s docs.txt)" docs
fi
