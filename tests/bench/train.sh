#!/bin/bash
# tests/bench/train.sh - tokens/s of training a small Llama on generated text, in
# float32 and with bfloat16 products, beside PyTorch on the same model and llm.c's CPU
# trainer on a GPT-2 of as many operations a token (12 h^2 weights a layer in both:
# the Llama's feed-forward is 8/3 h wide, the GPT-2's 4 h). In turns, so that other load
# falls on all; medians. CPU time a step is the difference of a longer and a shorter
# run of the same command, wall time is what metrics.jsonl says. The environment:
#
#   LLMC=DIR     a checkout of llm.c (the folder of train_gpt2.c); without: left out
#   SHAPES="14m" which models: 14m (384 wide, 6 layers), 35m (768 wide, 4 layers)
#   THREADS="1"  numbers of threads
#   ROUNDS=3     how often each is measured
#
# PyTorch is left out where no python3 has it.
set -eu
cd "$(dirname "$0")/../.."
B=${B:-build/release}
K=$PWD/$B/kijil
HERE=$PWD/tests/bench
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
T=256 ROWS=4 VOCAB=8192 STEPS=8 ROUNDS=${ROUNDS:-3}

py=
for p in python3 /usr/bin/python3; do
    if "$p" -c 'import torch' 2>/dev/null; then
        py=$p
        break
    fi
done
[[ -n $py ]] || echo "PyTorch is left out: no python3 has it"
if [[ -f ${LLMC:-}/train_gpt2.c ]]; then
    cc -Ofast -march=native -fopenmp -DOMP -w -I"$LLMC" -DLLMC="\"$LLMC/train_gpt2.c\"" \
        -o "$tmp/llmc" "$HERE/train_llmc.c" -lm
else
    echo "llm.c is left out: LLMC does not name a checkout"
fi

# Long documents, so that hardly a row is cut: the peers attend over whole rows.
awk 'BEGIN {
    srand(1)
    for (i = 0; i < 9000; i++) {
        words[i] = ""
        for (n = 2 + int(rand() * 9); n > 0; n--)
            words[i] = words[i] substr("etaoinshrdlucmfw", 1 + int(rand() * 16), 1)
    }
    for (i = 0; i < 12; i++) {
        t = ""
        for (n = 20000; n > 0; n--)
            t = t words[int(rand() * rand() * 9000)] (n % 12 ? " " : ". ")
        printf "{\"id\":\"%d\",\"text\":\"%s\"}\n", i, t
    }
}' >"$tmp/docs.jsonl"
"$K" tokenizer train -q --jsonl --vocab-size $VOCAB -o "$tmp/tokenizer.json" "$tmp/docs.jsonl"
"$K" tokenize -q -t "$tmp/tokenizer.json" -o "$tmp/shards" "$tmp/docs.jsonl"

# kijil_run STEPS PRECISION THREADS: CPU seconds of a run
kijil_run() {
    local TIMEFORMAT='%U %S'
    { time "$K" train "$tmp/run.yaml" --data "$tmp/shards" -o "$tmp/run" -q --force -j"$3" \
        --steps "$1" --set optim.precision="$2" >/dev/null; } 2>&1 | awk '{print $1 + $2}'
}

# one NAME THREADS : "NAME CPU WALL", seconds a step
one() {
    case $1 in
    kijil-*)
        local less more
        less=$(kijil_run 1 "${1#kijil-}" "$2")
        more=$(kijil_run $((STEPS + 1)) "${1#kijil-}" "$2")
        sed 's/.*"tokens_per_s": \([0-9.]*\).*/\1/' "$tmp/run/metrics.jsonl" | sort -n |
            awk -v n="$1" -v a="$less" -v b="$more" -v s=$STEPS -v t=$((T * ROWS)) \
                '{ v[NR] = $1 } END { print n, (b - a) / s, t / v[int((NR + 1) / 2)] }'
        ;;
    torch-*)
        OMP_NUM_THREADS=$2 OPENBLAS_NUM_THREADS=$2 "$py" "$HERE/train_torch.py" $VOCAB \
            "$layers" "$heads" "$hidden" "$ffn" $ROWS $T $STEPS "$2" "${1#torch-}" |
            awk -v n="$1" '/^result/ { print n, $2, $3 }'
        ;;
    llm.c-f32)
        OMP_NUM_THREADS=$2 "$tmp/llmc" "$tmp/llmc.bin" $VOCAB "$layers" "$heads" "$hidden" \
            $ROWS $T 2 | awk -v n="$1" '/^result/ { print n, $2, $3 }'
        ;;
    esac
}

for shape in ${SHAPES:-14m}; do
    case $shape in
    14m) hidden=384 ffn=1024 layers=6 heads=6 ;;
    35m) hidden=768 ffn=2048 layers=4 heads=12 ;;
    *) echo "no shape $shape" >&2 && exit 2 ;;
    esac
    cat >"$tmp/run.yaml" <<EOF
model: {hidden_size: $hidden, intermediate_size: $ffn, num_hidden_layers: $layers,
        num_attention_heads: $heads, max_position_embeddings: $T, rope_theta: 10000,
        tie_word_embeddings: true}
data: {sequence_length: $T, batch_sequences: $ROWS, micro_sequences: $ROWS}
optim: {lr: 1e-3, weight_decay: 0.1}
schedule: {steps: 100, warmup_steps: 5}
checkpoint: {every_steps: 0}
EOF
    flops=$("$K" plan "$tmp/run.yaml" --data "$tmp/shards" --json |
        sed 's/.*"flops_per_token":\([0-9.e+]*\).*/\1/')
    for j in ${THREADS:-1}; do
        echo "$shape: $hidden wide, $layers layers, vocabulary $VOCAB, $ROWS rows of $T, $j thread(s)"
        for _ in $(seq "$ROUNDS"); do
            for name in kijil-f32 ${py:+torch-f32} kijil-bf16 ${py:+torch-bf16}; do
                one "$name" "$j"
            done
            [[ ! -x $tmp/llmc ]] || one llm.c-f32 "$j"
        done | sort -k1,1 -k2,2g | awk -v f="$flops" -v t=$((T * ROWS)) '
            { n[$1]++; c[$1, n[$1]] = $2; w[$1, n[$1]] = $3 }
            function middle(a, name, k,   i, j, x, v) {
                for (i = 1; i <= k; i++) v[i] = a[name, i]
                for (i = 1; i <= k; i++)
                    for (j = i + 1; j <= k; j++)
                        if (v[j] < v[i]) { x = v[i]; v[i] = v[j]; v[j] = x }
                return v[int((k + 1) / 2)]
            }
            END {
                split("kijil-f32 torch-f32 llm.c-f32 kijil-bf16 torch-bf16", all)
                for (i = 1; i <= 5; i++) {
                    s = all[i]
                    if (!n[s]) continue
                    m = middle(c, s, n[s])
                    ours = middle(c, s ~ /bf16/ ? "kijil-bf16" : "kijil-f32", n["kijil-f32"])
                    printf "  %-11s %8.0f tokens/s of CPU time, %4.0f GFLOP/s; %8.0f tokens/s by the clock; kijil is %5.2f times\n",
                           s, t / m, t / m * f / 1e9, t / middle(w, s, n[s]), m / ours
                }
            }'
    done
done
