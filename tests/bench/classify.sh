#!/bin/bash
# tests/bench/classify.sh [TABLE...] - what the classifiers are worth beside others,
# on one core, in CPU time. All tables, or those named:
#   parity   labels and probabilities against Debian's fasttext, every line
#   speed    documents a second beside it, with the same model and the same lines: word
#            bigrams in 2 million buckets of 100 numbers (the shape of DCLM's filter; the
#            table is far larger than the caches), a small model, the language model.
#            TEXT=FILE.jsonl instead of generated text of about 700 words a document
#   host     of real texts: what of a score stays with the processor when a GPU has the matrix
#   train    time and held-out precision of training and quantising beside it
#   lid      the language model beside lid.176.ftz (all languages: make bench-lid)
#   refine   learning in rounds, one draw (three, other options: make bench-refine)
#   encoder  a BERT base beside PyTorch, 24 texts (64: make bench-encoder)
# What is missing, a program or ../shared/data, costs its own table only.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
make -s "$B/kijil"
kijil=$PWD/$B/kijil lid=$PWD/classify/lid.ftz here=$PWD/tests/bench
data=$PWD/../shared/data

# seconds RUNS COMMAND : CPU time of the best run
seconds() {
    local TIMEFORMAT='%U %S' i
    for ((i = 0; i < $1; i++)); do
        { time bash -c "$2" >/dev/null 2>&1; } 2>&1
    done | awk '{ t = $1 + $2; if (!b || t < b) b = t } END { print b }'
}
missing() { # FILE... : says what there is not, of the files and of fasttext
    command -v fasttext >/dev/null || { echo "bench: no fasttext program"; return 0; }
    local f
    for f in "$@"; do
        [[ -e $f ]] || { echo "bench: no $f"; return 0; }
    done
    return 1
}
spam() { # labelled mails: spam.txt, and a quarter of them held out
    [[ ! -e $tmp/spam.txt ]] || return 0
    zstd -dcq "$data/classify/spam.train.txt.zst" >"$tmp/spam.txt"
    awk -v d="$tmp" '{ print >(d (NR % 4 ? "/spam.train" : "/spam.held")) }' "$tmp/spam.txt"
}
sentences() { # of 75 languages
    [[ ! -e $tmp/lang.txt ]] || return 0
    # They come language by language, which no training by steps stands.
    zstd -dcq "$data/lid/lingua.tsv.zst" | sed 's/^/__label__/; s/\t/ /' |
        awk 'BEGIN { srand(1) } { print rand() "\t" $0 }' | LC_ALL=C sort | cut -f2- >"$tmp/lang.txt"
    awk -v d="$tmp" '{ print >(d (NR % 4 ? "/lang.train" : "/lang.held")) }' "$tmp/lang.txt"
}

# ---- parity ----
# compare NAME OURS THEIRS : "label probability" a line; theirs is cut at six digits
compare() {
    paste -d' ' "$2" "$3" | awk -v name="$1" '
        { n++; same += $1 == $3; d = $2 - $4; if (d < 0) d = -d; if (d > m) m = d; far += d > 1e-5 }
        END { printf "%-52s %6d lines  labels equal %7d  largest difference %.1e  over 1e-5: %d\n",
            name, n, same, m, far }'
}
# plain LINES JSONL : from labelled lines the text as classify prepares it, so that both
# see the same: UTF-8 (some mails are none), every kind of line end a space, none at the ends.
plain() {
    python3 -c '
import json, re, sys
lines, docs = (open(f, "w", encoding="utf-8") for f in sys.argv[1:])
for line in sys.stdin.buffer:
    text = line.decode("utf-8", "ignore").rstrip("\n").split(" ", 1)[-1]
    text = re.sub("[\x0b-\x0d\x1c-\x1f\x85\xa0\u2028\u2029]", " ", text).strip()
    print(text, file=lines)
    print(json.dumps({"text": text}), file=docs)' "$1" "$2"
}
parity() {
    ! missing "$data/classify/spam.train.txt.zst" "$data/lid/lid.176.ftz" || return 0
    local name options
    spam
    sentences
    cd "$tmp"
    plain lang.lines lang.jsonl <lang.txt
    "$kijil" lid -q -m "$data/lid/lid.176.ftz" lang.jsonl |
        jq -r '.language + " " + (.language_score | tostring)' >ours
    fasttext predict-prob "$data/lid/lid.176.ftz" lang.lines |
        sed 's/^__label__//' | awk '{ print $1, ($2 > 1 ? 1 : $2) }' >theirs
    compare "lid.176.ftz (hs, quantised), 75 languages" ours theirs
    plain spam.lines spam.jsonl <spam.txt
    while read -r name options; do
        # shellcheck disable=SC2086
        fasttext supervised -input spam.train -output "$name" -thread 1 -epoch 8 -lr 0.4 -dim 24 \
            -verbose 0 $options >/dev/null 2>&1
        if [[ $name == *-ftz ]]; then
            fasttext quantize -input spam.train -output "$name" -qnorm -retrain -cutoff 20000 \
                >/dev/null 2>&1
            mv "$name.ftz" "$name.bin"
        fi
        # The score is DCLM's: of a label that does not come out on top, one minus the other's.
        fasttext predict-prob "$name.bin" spam.lines |
            awk '{ p = $2 > 1 ? 1 : $2; s = $1 == "__label__spam" ? p : 1 - p; print (s >= 0.5), s }' >theirs
        "$kijil" classify -q -m "$name.bin" --label spam --as s spam.jsonl | jq -r .s |
            awk '{ print ($1 >= 0.5), $1 }' >ours
        compare "spam: $name $options" ours theirs
    done <<'END'
softmax -wordNgrams 2 -bucket 200000
hs -loss hs -minn 2 -maxn 5 -bucket 100000
ns -loss ns
ova -loss ova -wordNgrams 3 -bucket 50000
softmax-ftz -wordNgrams 2 -bucket 200000
END
}

# ---- speed ----
generated() {
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
    }'
}
row() { # NAME OURS THEIRS
    awk -v name="$1" -v d="$(wc -l <lines.txt)" -v b="$(wc -c <lines.txt)" \
        -v o="$(seconds 2 "$2")" -v t="$(seconds 2 "$3")" \
        'BEGIN { printf "%-28s %9.0f docs/s %7.1f MB/s   fasttext %9.0f docs/s %7.1f MB/s   %.2f times\n",
            name, d / o, b / 1e6 / o, d / t, b / 1e6 / t, t / o }'
}
speed() {
    ! missing || return 0
    local text=${TEXT:+$(realpath "$TEXT")}
    cd "$tmp"
    if [[ $text ]]; then zstd -dcqf "$text" | jq -c '{text: .text}'; else generated; fi >text.jsonl
    jq -c .text text.jsonl | sed 's/\\[nrtbf"\\]/ /g; s/"//g' >lines.txt # gsub() is slow
    awk '{ print (NR % 2 ? "__label__hq " : "__label__cc ") $0 }' lines.txt >train.txt
    "$kijil" model train -q train.txt -o large.bin --word-ngrams 2 --epoch 1
    "$kijil" model train -q train.txt -o small.bin --dim 16 --epoch 1
    row "bigrams, 2 M buckets, 100" "'$kijil' classify -q -j1 -m large.bin --as s text.jsonl" \
        "fasttext predict-prob large.bin lines.txt"
    row "words, 16" "'$kijil' classify -q -j1 -m small.bin --as s text.jsonl" \
        "fasttext predict-prob small.bin lines.txt"
    row "built-in languages" "'$kijil' lid -q -j1 --max-bytes 64M text.jsonl" \
        "fasttext predict-prob '$lid' lines.txt"
}

# ---- the host's part ----
host() {
    [[ -e $data/text/ko.jsonl.zst ]] || { echo "bench: no $data/text"; return 0; }
    make -s "$B/tests/bench/bench_fasttext"
    local bench=$PWD/$B/tests/bench/bench_fasttext f m
    cd "$tmp"
    for f in en ko; do
        zstd -dcq "$data/text/$f.jsonl.zst" >$f.jsonl
        jq -c .text $f.jsonl | sed 's/\\[nrt"\\]/ /g; s/"//g' |
            awk 'NR % 3 == 0 { print (NR % 2 ? "__label__hq " : "__label__cc ") $0 }'
    done >both.txt
    "$kijil" model train -q both.txt -o large.bin --word-ngrams 2 --epoch 1
    "$kijil" model train -q both.txt -o small.bin --dim 16 --epoch 1
    for m in large small; do
        for f in en ko; do
            "$bench" $m.bin hq $f.jsonl | sed "s/^/$m, $f\t/"
        done
    done
}

# ---- training ----
p1() { awk '$1 == "P@1" { printf "%.4f", $2 }'; }
# trained NAME STEM BUCKET OPTIONS : fastText's names of options; ours are the same with a hyphen
trained() {
    local name=$1 stem=$2 ours theirs o t
    shift 2
    ours=$(sed 's/-wordNgrams/--word-ngrams/; s/ -\([a-z]\)/ --\1/g' <<<" $*")
    o=$(seconds 1 "'$kijil' model train -q '$stem.train' -o ours.bin $ours")
    t=$(seconds 1 "fasttext supervised -input '$stem.train' -output theirs -thread 1 -verbose 0 $*")
    theirs=$(fasttext test theirs.bin "$stem.held" | p1)
    ours=$("$kijil" model test ours.bin "$stem.held" | p1)
    result "$name" "$o" "$t" "$ours" "$theirs"
    o=$(seconds 1 "'$kijil' model quantize -q ours.bin '$stem.train' -o ours.ftz --qnorm --retrain --cutoff 20000")
    t=$(seconds 1 "fasttext quantize -input '$stem.train' -output theirs -thread 1 -verbose 0 -qnorm -retrain -cutoff 20000")
    theirs=$(fasttext test theirs.ftz "$stem.held" | p1)
    ours=$("$kijil" model test ours.ftz "$stem.held" | p1)
    result "  quantised, 20,000 rows" "$o" "$t" "$ours" "$theirs"
}
result() {
    awk -v name="$1" -v o="$2" -v t="$3" -v q="$4" -v r="$5" 'BEGIN {
        printf "%-28s %6.2f s  P@1 %s   fasttext %6.2f s  P@1 %s   %.2f times, %+.2f points\n",
            name, o, q, t, r, t / o, 100 * (q - r) }'
}
train() {
    ! missing "$data/classify/spam.train.txt.zst" "$data/lid/lingua.tsv.zst" || return 0
    spam
    sentences
    cd "$tmp"
    trained "spam, bigrams" spam -dim 50 -epoch 10 -lr 0.5 -wordNgrams 2 -bucket 200000
    trained "75 languages, letters" lang -dim 16 -epoch 4 -lr 0.5 -minn 2 -maxn 4 -bucket 200000
}

# ---- the others have scripts of their own ----
languages() { BRIEF=1 "$here/lid.sh"; }
refine() { DRAWS=1 BRIEF=1 "$here/refine.sh"; }
encoder() { "$here/encoder.sh" 24; }

[[ $# -gt 0 ]] || set -- parity speed host train lid refine encoder
for table; do
    case $table in
    parity | speed | host | train | refine | encoder) what=$table ;;
    lid) what=languages ;;
    *) echo "bench: no table '$table'" >&2; exit 2 ;;
    esac
    printf -- '---- %s\n' "$table"
    ("$what") || echo "bench: $table failed"
done
