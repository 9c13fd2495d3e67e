#!/bin/bash
# tests/bench/refine.sh [PLOT.svg] - does learning in rounds help? Tutorials and
# encyclopaedia articles are a rare class among film reviews and news comments;
# the labels are few, and in the harder case all from the encyclopaedia. Then
# the harder case with --balance 1, and English, which nothing was tuned on. Beside
# the rounds: one training on the seed labels, and one on the labels of the whole
# pool (what rounds can reach at best). Needs ../shared/data/text.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
texts=../shared/data/text
[[ -e $texts ]] || { echo "bench: no $texts"; exit 0; }
make -s "$B/kijil"
export KIJIL=$PWD/$B/kijil
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
shape=(--dim 32 --bucket 200000 --minn 2 --maxn 4 --lr 0.5 --epoch 25)
head=$(printf '%-34s %9s %6s %9s %9s %9s %9s' '' taken right precision recall F1 'avg.prec.')

# scene NAME LANGUAGE SHARE SEEDS SOURCES [OPTIONS]
scene() {
    local name=$1 d=$tmp/$1 sources=$5 key
    python3 tests/bench/refine.py split "$texts/$2.jsonl.zst" "$3" "$4" "$5" "$d"
    shift 5
    for key in seeds all; do
        "$KIJIL" model train -q --jsonl --label-field edu "$d/$key.jsonl" -o "$d/$key.bin" "${shape[@]}"
    done
    "$KIJIL" model refine -q "$d/pool.jsonl" --seeds "$d/seeds.jsonl" --held "$d/held.jsonl" \
        --label-field edu --positive-min 1 -o "$d/rounds" --patience 2 --rounds 6 "${shape[@]}" "$@"
    printf '%s: pool %d, held out %d, labels %d of %s %s\n%s\n' "$name" "$(wc -l <"$d/pool.jsonl")" \
        "$(wc -l <"$d/held.jsonl")" "$(wc -l <"$d/seeds.jsonl")" "$sources" "$*" "$head"
    python3 tests/bench/refine.py row "$d" 1 "once, the seed labels=$d/seeds.bin"
    python3 tests/bench/refine.py table "$d"
    python3 tests/bench/refine.py row "$d" 1 "once, all labels of the pool=$d/all.bin"
    tail -n 1 "$d/rounds/rounds.jsonl" | jq -r '"stop: " + .stop'
    echo
}
scene easier ko 0.05 20 korquad,progit2-ko
scene harder ko 0.02 8 korquad
scene balance-1 ko 0.02 8 korquad --balance 1
scene english en 0.02 8 onestop
python3 tests/bench/refine.py plot "${1:-$tmp/plot.svg}" \
    "5 %, 20 + 20 labels=$tmp/easier" "2 %, 8 + 8 labels of one source=$tmp/harder" \
    "the same, balance 1=$tmp/balance-1" "English, 2 %, 8 + 8 labels=$tmp/english"
