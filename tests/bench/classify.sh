#!/bin/bash
# tests/bench/classify.sh [FILE.jsonl] - documents per second of CPU time on one
# core beside Debian's fasttext, with the same model and the same lines: word
# bigrams in 2 million buckets of 100 numbers (the shape of DCLM's filter; the
# table is far larger than the caches), a small model, and the language model.
# Without a file: generated text of about 700 words a document.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make -s "$B/kijil"
kijil=$PWD/$B/kijil lid=$PWD/classify/lid.ftz
command -v fasttext >/dev/null || { echo "bench: no fasttext program"; exit 0; }
if [[ $# -gt 0 ]]; then
    zstd -dcqf "$1" | jq -c '{text: .text}' >"$tmp/text.jsonl"
else
    awk 'BEGIN {
        srand(1)
        for (i = 0; i < 100000; i++) {
            words[i] = ""
            for (n = 2 + int(rand() * 7); n > 0; n--)
                words[i] = words[i] substr("etaoinshrdlucmfw", 1 + int(rand() * 16), 1)
        }
        for (i = 0; i < 6000; i++) {
            t = ""
            for (n = 200 + int(rand() * 1000); n > 0; n--)
                t = t words[int(rand() * rand() * rand() * 100000)] " "
            print "{\"text\":\"" t "\"}"
        }
    }' >"$tmp/text.jsonl"
fi
cd "$tmp"
jq -r '.text | gsub("\\s+"; " ")' text.jsonl >lines.txt
awk '{ print (NR % 2 ? "__label__hq " : "__label__cc ") $0 }' lines.txt >train.txt
docs=$(wc -l <lines.txt) bytes=$(wc -c <lines.txt)
"$kijil" model train -q train.txt -o large.bin --word-ngrams 2 --epoch 1
"$kijil" model train -q train.txt -o small.bin --dim 16 --epoch 1

# seconds COMMAND : CPU time of the better of three runs
seconds() {
    local TIMEFORMAT='%U %S'
    for _ in 1 2 3; do
        { time bash -c "$1" >/dev/null 2>&1; } 2>&1
    done | awk '{ t = $1 + $2; if (!b || t < b) b = t } END { print b }'
}
row() {
    awk -v name="$1" -v d="$docs" -v b="$bytes" -v o="$(seconds "$2")" -v t="$(seconds "$3")" \
        'BEGIN { printf "%-28s %9.0f docs/s %7.1f MB/s   fasttext %9.0f docs/s %7.1f MB/s   %.2f times\n",
            name, d / o, b / 1e6 / o, d / t, b / 1e6 / t, t / o }'
}
row "bigrams, 2 M buckets, 100" "'$kijil' classify -q -j1 -m large.bin --as s text.jsonl" \
    "fasttext predict-prob large.bin lines.txt"
row "words, 16" "'$kijil' classify -q -j1 -m small.bin --as s text.jsonl" \
    "fasttext predict-prob small.bin lines.txt"
row "built-in languages" "'$kijil' lid -q -j1 --max-bytes 64M text.jsonl" \
    "fasttext predict-prob '$lid' lines.txt"
