#!/bin/bash
# tests/bench/refine.sh [PLOT.svg] - does learning in rounds help? Few labels of a
# rare class, Korean and English, DRAWS times (3) with other labels and other splits,
# on a test set that no round sees. Beside the rounds: one training on the seed labels,
# as long as a round, and one on the labels of the whole pool (what rounds can reach at
# best); and, for the first draw, what two options are worth. Tables, and the plot of
# docs/classifiers.md. Needs ../shared/data.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
data=../shared/data
[[ -e $data/text/ko.jsonl.zst ]] || { echo "bench: no $data/text"; exit 0; }
make -s "$B/kijil"
export KIJIL=$PWD/$B/kijil
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
shape=(--dim 32 --bucket 200000 --minn 2 --maxn 4 --lr 0.5)
updates=20000

zstd -dc "$data/text/ko.jsonl.zst" >"$tmp/ko.jsonl"
zstd -dc "$data/text/en.jsonl.zst" >"$tmp/en.jsonl"
mkdir "$tmp/web"
zstd -dc "$data/extract/wcxb-dev.tar.zst" | tar x -C "$tmp/web" --wildcards '*/ground-truth/*'
find "$tmp/web" -name '*.json' | sort | xargs jq -c 'select(._internal.page_type.primary == "documentation") |
    {id: .file_id, text: .ground_truth.main_content, source: "documentation"}' >>"$tmp/en.jsonl"

# draw TEXT SHARE SEEDS SOURCES DRAW DIR
draw() {
    local d=$6
    python3 tests/bench/refine.py split "$2" "$3" "$4" "$5" "$d" <"$tmp/$1.jsonl"
    "$KIJIL" model train -q --jsonl --label-field edu "$d/seeds.jsonl" -o "$d/seeds.bin" \
        "${shape[@]}" --epoch $((updates / $(wc -l <"$d/seeds.jsonl")))
    "$KIJIL" model train -q --jsonl --label-field edu "$d/all.jsonl" -o "$d/all.bin" "${shape[@]}" \
        --epoch 10
    rounds "$d"
}
# rounds DIR [OPTIONS]
rounds() {
    local d=$1
    shift
    "$KIJIL" model refine -q "$d/pool.jsonl" --seeds "$d/seeds.jsonl" --held "$d/held.jsonl" \
        --label-field edu --positive-min 1 -o "$d/rounds" --patience 2 --rounds 6 \
        --updates $updates "${shape[@]}" --epoch 25 "$@"
    python3 tests/bench/refine.py score "$d"
}
# again DIR NAME OPTIONS : the rounds of a draw with other options
again() {
    local from=$1 d=$1-$2
    shift 2
    mkdir "$d"
    cp "$from"/*.jsonl "$from/seeds.bin" "$d"
    rounds "$d" "$@"
    echo "the first draw, $*"
    python3 tests/bench/refine.py table "$d" | tail -n +2
}
# scene NAME TITLE TEXT SHARE SEEDS SOURCES
scene() {
    local name=$1 i all=
    for ((i = 1; i <= ${DRAWS:-3}; i++)); do
        draw "$3" "$4" "$5" "$6" "$i" "$tmp/$name-$i"
        all+=${all:+,}$tmp/$name-$i
    done
    plots+=("$2=$all")
    printf '%s; first draw: pool %d, held out %d, test %d\n' "$2" "$(wc -l <"$tmp/$name-1/pool.jsonl")" \
        "$(wc -l <"$tmp/$name-1/held.jsonl")" "$(wc -l <"$tmp/$name-1/test.jsonl")"
    python3 tests/bench/refine.py table "$all"
    if [[ ! ${BRIEF:-} ]]; then
        again "$tmp/$name-1" no-precision --precision 0
        again "$tmp/$name-1" no-updates --updates 0
    fi
    echo
}
plots=()
scene ko "Korean, 2 % positive, 8 + 8 labels of one source" ko 0.02 8 korquad
scene en "English, 5 % positive, 20 + 20 labels" en 0.05 20 documentation
python3 tests/bench/refine.py plot "${1:-$tmp/plot.svg}" "${plots[@]}"
