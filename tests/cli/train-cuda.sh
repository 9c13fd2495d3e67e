#!/bin/bash
# train-cuda.sh - training on an emulated GPU beside the CPU: the same losses, the
# same files, equal bits again, and an interrupted run that goes on.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

emulated_gpu
sentences 60 >docs.jsonl
tokenized 280
recipe() { # PRECISION STEPS [STATES]
    cat <<E2
name: tiny
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16,
        max_position_embeddings: 32}
data: {sequence_length: 32, batch_sequences: 4, micro_sequences: 2}
optim: {lr: 1e-2, precision: $1, states: ${3:-f32}, loss_chunk: 48}
schedule: {steps: $2, warmup_steps: 2}
checkpoint: {every_steps: 3}
E2
}
# The largest difference of the losses of two runs, over the first's loss.
apart() {
    paste <(jq .loss "$1/metrics.jsonl") <(jq .loss "$2/metrics.jsonl") |
        awk '{d = ($1 - $2) / $1; d = d < 0 ? -d : d; m = d > m ? d : m} END {print m}'
}
recipe f32 7 >f32.yaml
recipe bf16 7 >bf16.yaml
recipe fp8 7 >fp8.yaml
{ # samples are written with weights in bfloat16, too
    recipe bf16 7 bf16
    echo 'samples: {every: 4, prompts: ["the cat"], tokens: 3}'
} >states.yaml
for p in f32 bf16 states fp8; do
    for d in cpu cuda; do
        rc $p.$d 0 "$KIJIL" train $p.yaml --data shards/manifest.jsonl --device $d -o $p-$d
    done
done
has device err 'emulated on the processor'
# Sums in another order; bfloat16 holds 8 bits, and its roundings add up.
is f32.losses "$(awk -v d="$(apart f32-cpu f32-cuda)" 'BEGIN {print (d < 2e-5)}')" 1
is bf16.losses "$(awk -v d="$(apart bf16-cpu bf16-cuda)" 'BEGIN {print (d < 0.01)}')" 1
is states.losses "$(awk -v d="$(apart states-cpu states-cuda)" 'BEGIN {print (d < 0.01)}')" 1
is states.near "$(awk -v d="$(apart bf16-cuda states-cuda)" 'BEGIN {print (d > 1e-6 && d < 0.02)}')" 1
is states.samples "$(jq -r .step states-cuda/samples.jsonl | xargs)" '4 7'
echo "# FP8: CPU and GPU within $(apart fp8-cpu fp8-cuda)"
is fp8.losses "$(awk -v d="$(apart fp8-cpu fp8-cuda)" 'BEGIN {print (d < 0.002)}')" 1
is fp8.differs "$(awk -v d="$(apart bf16-cuda fp8-cuda)" 'BEGIN {print (d > 1e-6)}')" 1
is bf16.differs "$(awk -v d="$(apart f32-cuda bf16-cuda)" 'BEGIN {print (d > 1e-6)}')" 1
is files "$(cd bf16-cpu && find . -type f | sort)" "$(cd bf16-cuda && find . -type f | sort)"

# Other orders of threads and blocks, without graphs; and a run that is taken up again.
KIJIL_CUDA_GRAPHS=0 KJ_EMU_ORDER=reverse rc again 0 "$KIJIL" train bf16.yaml --data shards/manifest.jsonl \
    --device cuda -q -o again
same bits bf16-cuda/model/model.safetensors again/model/model.safetensors
rm -r again/checkpoints/step-00000007 again/model
rc resume 0 "$KIJIL" train bf16.yaml --data shards/manifest.jsonl --device cuda -o again
has resume err 'goes on behind step 6'
same resumed bf16-cuda/model/model.safetensors again/model/model.safetensors

# The same with weights, gradients and moments in bfloat16, on both devices; here
# the first part is of another order of threads and blocks, and without graphs.
for d in cpu cuda; do
    KIJIL_CUDA_GRAPHS=0 KJ_EMU_ORDER=reverse rc states.$d 0 "$KIJIL" train states.yaml \
        --data shards/manifest.jsonl --device $d -q -j2 -o states-again-$d
    same states.bits.$d states-$d/model/model.safetensors states-again-$d/model/model.safetensors
    rm -r states-again-$d/checkpoints/step-00000007 states-again-$d/model
    rc states.resume.$d 0 "$KIJIL" train states.yaml --data shards/manifest.jsonl --device $d \
        -o states-again-$d
    has states.resume.$d err 'goes on behind step 6'
    same states.resumed.$d states-$d/model/model.safetensors states-again-$d/model/model.safetensors
done

# counted STEPS MICRO [OPTION...] : waits, allocations, graphs, replays, kernels launched alone
counted() {
    sed -e "s/steps: 7/steps: $1/" -e "s/micro_sequences: 2/micro_sequences: $2/" \
        -e 's/every_steps: 3/every_steps: 99/' bf16.yaml >count.yaml
    rm -rf counted
    KJ_EMU_COUNTS=count.json "$KIJIL" train count.yaml --data shards/manifest.jsonl \
        --device cuda -q -o counted "${@:3}" 2>/dev/null || echo failed
    jq -r '[.waits, .mallocs, .graphs, .replays, .launches] | join(" ")' count.json
}
# three MICRO [OPTION...] : those of steps 5 to 7
three() {
    echo "$(counted 7 "$@") $(counted 4 "$@")" |
        awk '{for (i = 1; i <= 5; i++) printf "%d%s", $i - $(i + 5), i < 5 ? " " : "\n"}'
}
read -r waits mallocs graphs replays alone < <(three 2)
read -r waits1 _ _ replays1 alone1 < <(three 1)
# The host waits twice in a step (for its sums, and behind the move), however many passes it
# has; it allocates nothing, and a step is launched alike each time.
is waits "$waits $waits1" "6 6"
is mallocs "$mallocs" 0
# Each layer of each pass, forward and backward, is one launch of a graph, with the
# embedding and the last norm, and so is the head: nothing of a pass is launched by itself.
is graphs "$graphs" 0
is layers "$replays $replays1" "30 60"
echo "# $alone kernels in three steps of two passes, $alone1 of four"
is "of the step alone" "$alone1" "$alone"
# Also where rows end early and so each step has other numbers of targets.
read -r _ _ graphs replays masked < <(three 2 --set data.packing=bestfit)
is masked.counts "$(jq -s '[.[] | .tokens] | [.[0], .[1] - .[0], .[2] - .[1]] | unique | length > 1' \
    counted/metrics.jsonl)" true
is masked "$graphs $replays" "0 30"
is masked.alone "$masked" "$alone"
# Passes of two sizes, whole blocks again, FP8, a teacher: the same bytes without.
for g in 0 1; do
    KIJIL_CUDA_GRAPHS=$g KJ_EMU_COUNTS=count.$g.json rc graphs.$g 0 "$KIJIL" train fp8.yaml \
        --data shards/manifest.jsonl --device cuda -q -o graphs-$g --set data.batch_sequences=3 \
        --set optim.recompute=block --set distil.teacher=f32-cuda/model --set schedule.steps=5
done
same graphs.bits graphs-0/model/model.safetensors graphs-1/model/model.safetensors
is graphs.none "$(jq .replays count.0.json)" 0
# Two layers both ways and the teacher's one way, for each size.
is graphs.all "$(jq '.graphs, .replays >= 40' count.1.json | xargs)" '14 true'

# One token after the other is one launch of the same graph; without graphs the text is
# the same.
tokens() { # TOKENS FIELD
    KJ_EMU_COUNTS=count.json "$KIJIL" generate bf16-cuda -p 'the cat' -n "$1" --device cuda --temperature 0 \
        2>/dev/null >"text.$1" || echo failed
    jq ".$2" count.json
}
is replays "$(($(tokens 12 replays) - $(tokens 6 replays)))" 6
is launches "$(($(tokens 12 launches) - $(tokens 6 launches)))" 0
is token-waits "$(($(tokens 12 waits) - $(tokens 6 waits)))" 6
is token-mallocs "$(($(tokens 12 mallocs) - $(tokens 6 mallocs)))" 0
KIJIL_CUDA_GRAPHS=0 rc plain 0 "$KIJIL" generate bf16-cuda -p 'the cat' -n 12 --device cuda --temperature 0
same plain text.12 "$T/out"
is no-graphs "$(KIJIL_CUDA_GRAPHS=0 tokens 12 replays)" 0

# The optimizer's arithmetic is float32 in both; only a wrong file would differ.
rc generate 0 "$KIJIL" generate bf16-cuda -p 'the cat' -n 4 --device cuda
rc eval 0 "$KIJIL" eval f32-cuda -t ppl --device cuda docs.jsonl
KIJIL_CUDA_SO=/nowhere rc none 2 "$KIJIL" train f32.yaml --data shards/manifest.jsonl \
    --device cuda -o none
has none err 'no GPU: /nowhere'
KIJIL_CUDA_SO=/nowhere rc auto 0 "$KIJIL" train f32.yaml --data shards/manifest.jsonl -o auto
has auto err 'OpenBLAS.*; no GPU: '
done_testing
