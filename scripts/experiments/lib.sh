# lib.sh - for the scripts beside it: data, runs, curves, table and plot.
# Source it with the script's own arguments. Settings come from the environment:
#
#   DATA   folder with text/ and extract/ (or the first argument)  [../shared/data]
#   OUT    where everything goes                            [out/experiments]
#   SEEDS  one run an arm and seed; the first is that of the sweeps   [1 2 3]
#   LRS    learning rates that are tried for each arm, at the first seed
#   JOBS   processes at a time, of one thread each                        [1]
#   SCALE  tokens of all runs, as a multiple of what the page reports     [1]
#   WIDTH, VOCAB, POINTS   hidden size, entries of the tokenizer, points of a curve
#
# What is finished is not done again: remove its folder to have it again.
# shellcheck shell=bash
set -euo pipefail
# Kernels of another machine would be slower, and sum in another order.
unset OPENBLAS_CORETYPE
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
DATA=${1:-${DATA:-../shared/data}}
OUT=$(realpath -m "${OUT:-out/experiments}")
SEEDS=${SEEDS:-1 2 3}
LRS=${LRS:-2e-3 4e-3 8e-3}
JOBS=${JOBS:-1}
SCALE=${SCALE:-1}
WIDTH=${WIDTH:-128}
VOCAB=${VOCAB:-4096}
POINTS=${POINTS:-6}
KIJIL=${KIJIL:-$PWD/kijil}
ROW=256 BATCH=4 # tokens of a row, rows of a step
[[ -d $DATA/text ]] || {
    echo "$0: no $DATA/text; give the folder of the data, or set DATA" >&2
    exit 2
}
read -r first_seed _ <<<"$SEEDS"
name=$(basename "$0")
work=$OUT/$name
common=$OUT/common
mkdir -p "$work" "$common"

say() { printf '%s: %s\n' "$name" "$*" >&2; }

# spawn COMMAND... runs it in the background, JOBS at a time; join waits for all.
spawn() {
    while (($(jobs -rp | wc -l) >= JOBS)); do
        wait -n || exit 1
    done
    "$@" &
}
join() {
    while [[ -n $(jobs -p) ]]; do
        wait -n || exit 1
    done
}

# all texts of the data as JSONL with a fold of 12 each; paragraphs of one
# article, and one article at three reading levels, are in one fold
texts() {
    local lang
    for lang in ko en; do
        zstd -dc "$DATA/text/$lang.jsonl.zst" | jq -nc --arg lang $lang '
            def theme: .id | sub("-(adv|int|ele)(-txt)?$"; "") |
                if startswith("korquad") then sub("-[0-9]+$"; "") else . end;
            def group: .source as $s | if
                ["korquad", "ud-kaist", "ud-gsd", "ud-pud"] | index($s) then "ko-edited" elif
                ["nsmc", "kocohub-comments"] | index($s) then "ko-users" elif
                ["onestop", "brown", "state-union", "inaugural"] | index($s) then "en-edited" elif
                ["movie-reviews", "masc"] | index($s) then "en-users" else $lang + "-other" end;
            foreach inputs as $d ({n: {}, of: {}};
                ($d | theme) as $t | if .of[$t] then . else
                    .n[$d.source] += 1 | .of[$t] = (.n[$d.source] % 12) end | .fold = .of[$t];
                {id: $d.id, source: ($d | group), origin: $d.source, language: $lang,
                 fold: .fold, text: $d.text})'
    done
}

# held FOLD BYTES GROUP... < folded texts: the beginnings of the documents of that
# fold, about so many bytes from each group, round the origins in turn
held() {
    local fold=$1 bytes=$2
    shift 2
    jq -nc --argjson fold "$fold" --argjson bytes "$bytes" '$ARGS.positional as $groups |
        [inputs | select(.fold == $fold and (.source | IN($groups[]))) | .text |= .[:1200]] |
        group_by(.source)[] | (group_by(.origin) | map(to_entries) | add | sort_by(.key)) |
        foreach .[].value as $d ({sum: 0}; .before = .sum | .sum += ($d.text | utf8bytelength);
            if .before < $bytes then $d | del(.fold) else empty end)' --args "$@"
}

# common/: texts with folds; fold 0 is for the tables, fold 6 for choosing rates
prepare_texts() {
    [[ -s $common/test.jsonl ]] && return
    say "texts, tokenizer, shards"
    local groups=(ko-edited ko-users en-edited en-users)
    texts >"$common/all.jsonl"
    jq -c 'select(.fold != 0 and .fold != 6 and (.source | endswith("-other") | not))' \
        "$common/all.jsonl" >"$common/train.jsonl"
    held 6 20000 "${groups[@]}" <"$common/all.jsonl" >"$common/dev.jsonl"
    "$KIJIL" tokenizer train -q -j1 --jsonl --vocab-size "$VOCAB" "$common/train.jsonl" \
        -o "$common/tokenizer.json"
    "$KIJIL" tokenize -q -j1 --force --no-special -t "$common/tokenizer.json" \
        -o "$common/shards" "$common/train.jsonl"
    held 0 30000 "${groups[@]}" <"$common/all.jsonl" >"$common/test.part"
    mv "$common/test.part" "$common/test.jsonl"
}

# both DIR TOKENS [SHARDS]: an order over shards, Korean and English in equal parts
both() {
    [[ -s $1/order.json ]] && return
    cat >"$1.yaml" <<END
name: both
tokens: $2
mix:
  - {name: ko, share: 1, language: ko}
  - {name: en, share: 1, language: en}
END
    "$KIJIL" mix -q --force "$1.yaml" "${3:-$common/shards}" -o "$1"
}

scaled() { awk -v n="$1" -v s="$SCALE" 'BEGIN {printf "%d", n * s}'; }

# llama LAYERS [WIDTH]: section model of a run file
llama() {
    local w=${2:-$WIDTH}
    echo "model: {num_hidden_layers: $1, hidden_size: $w, intermediate_size: $((w * 11 / 4))," \
        "num_attention_heads: 4, num_key_value_heads: 2, head_dim: $((WIDTH / 4))," \
        "max_position_embeddings: $ROW, rope_theta: 10000, tie_word_embeddings: true${3:-}}"
}

# evaluate MODEL FILE: group and bits per byte, a line each
evaluate() {
    "$KIJIL" eval -q -j1 --json "$1" -t ppl "$2" |
        jq -r 'select(.source != "(all)") | [.source, .bits_per_byte] | @tsv'
}

# train ARM SEED LR TOKENS SHARDS MODEL [MORE]: one run, its score for the sweep
# (bits per byte on the dev texts), and its curve, unless SWEEP is set. MODEL is a
# line as of llama, MORE further sections of the run file. BEFORE (TFLOP) and
# MORE_FLOPS (GFLOP a token, a teacher's) go into the curve. SHIFT is added to the
# run's seed, so that a model that is trained on sees other rows than it saw before.
# TEST and DEV name other held-out texts than the common ones.
train() {
    local arm=$1 seed=$2 lr=$3 tokens=$4 data=$5 dir=$work/runs/$1-$3-s$2
    local steps=$((tokens / (ROW * BATCH))) every began=$SECONDS
    ((steps >= POINTS)) || steps=$POINTS
    every=$(((steps + POINTS - 1) / POINTS))
    mkdir -p "$dir"
    if [[ ! -s $dir/dev.tsv ]]; then
        cat >"$dir/run.yaml" <<END
name: $arm
seed: $((seed + ${SHIFT:-0}))
$6
data: {sequence_length: $ROW, batch_sequences: $BATCH, micro_sequences: $BATCH}
optim: {lr: $lr, weight_decay: 0.1}
schedule: {steps: $steps, warmup_steps: $((steps / 20)), ${SCHEDULE:-shape: cosine, min_ratio: 0.1}}
checkpoint: {every_steps: $every, keep: 100}
${7:-}
END
        "$KIJIL" train -q -j1 "$dir/run.yaml" --data "$data" \
            -t "$common/tokenizer.json" -o "$dir/run"
        evaluate "$dir/run/model" "${DEV:-$common/dev.jsonl}" >"$dir/dev.part"
        mv "$dir/dev.part" "$dir/dev.tsv"
        say "$arm seed $seed lr $lr: $(mean_of "$dir/dev.tsv") bits/byte (dev), $((SECONDS - began)) s"
    fi
    if [[ -z ${SWEEP:-} && ! -s $dir/curve.tsv ]]; then
        curve "$arm" "$seed" "$lr" "$data" "$dir" "$every" "$steps" >"$dir/curve.part"
        mv "$dir/curve.part" "$dir/curve.tsv"
        rm -rf "$dir/run/checkpoints"
    fi
}
# curve ARM SEED LR SHARDS DIR EVERY STEPS: lines of results.tsv of a finished run
curve() {
    local flops step
    flops=$("$KIJIL" plan --json --data "$4" "$5/run.yaml" | jq .flops_per_token)
    for step in $(seq "$6" "$6" $(($7 - 1))) "$7"; do
        evaluate "$5/run/checkpoints/step-$(printf %08d "$step")" "${TEST:-$common/test.jsonl}" |
            awk -v arm="$1" -v seed="$2" -v lr="$3" -v t=$((step * ROW * BATCH)) \
                -v f="$flops" -v more="${MORE_FLOPS:-0}" -v before="${BEFORE:-0}" \
                '{printf "%s\t%s\t%s\t%d\t%.4f\t%s\t%.5f\n", arm, seed, lr, t,
                  before + t * (f / 1e12 + more / 1e3), $1, $2}'
    done
}
mean_of() { awk '{s += $2} END {printf "%.4f", s / NR}' "$1"; }

# sweep ARM...: every rate for every arm, at the first seed, dev scores only
sweep() {
    local arm lr
    for lr in $LRS; do
        for arm in "$@"; do
            SWEEP=1 spawn "$arm" "$first_seed" "$lr"
        done
    done
    join
}
# finals ARM RATE_OF...: pairs; the arm at every seed with the rate that was best for
# the arm RATE_OF
finals() {
    local seed i
    for ((i = 1; i < $#; i += 2)); do
        best "${@:i+1:1}" >"$work/${!i}.lr"
    done
    for seed in $SEEDS; do
        for ((i = 1; i < $#; i += 2)); do
            spawn "${!i}" "$seed" "$(<"$work/${!i}.lr")"
        done
    done
    join
}
# best ARM: the rate of the sweep with the least mean of bits per byte
best() {
    local lr
    for lr in $LRS; do
        echo "$(mean_of "$work/runs/$1-$lr-s$first_seed/dev.tsv") $lr"
    done | sort -g | awk 'NR == 1 {print $2}'
}

# finish TITLE X BASE ARM...: results.tsv of the arms' runs, sweep.tsv of all of the
# first seed; table and plot. X is tokens or flops; the arms are compared with
# BASE.
finish() {
    local title=$1 x=$2 arm file
    shift 2
    for arm in "$@"; do
        for seed in $SEEDS; do
            cat "$work/runs/$arm-$(<"$work/$arm.lr")-s$seed/curve.tsv"
        done
    done >"$work/results.tsv"
    for file in "$work"/runs/*-s"$first_seed"/dev.tsv; do
        printf '%s\t%s\n' "$(basename "$(dirname "$file")")" "$(mean_of "$file")"
    done >"$work/sweep.tsv"
    awk -f "$here/table.awk" "$work/results.tsv" >"$work/table.md"
    awk -v title="$title" -v x="$x" -f "$here/plot.awk" "$work/results.tsv" >"$work/plot.svg"
    cat "$work/table.md"
    say "results, table and plot are in $work"
}
