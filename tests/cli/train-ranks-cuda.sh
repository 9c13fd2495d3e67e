#!/bin/bash
# train-ranks-cuda.sh - ranks on emulated GPUs that exchange over (emulated) NCCL: the
# bytes of an exchange by way of the host, in any order of threads and streams; ranks
# that die, hang, share a GPU or find no NCCL are told.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

export KIJIL_CUDA_SO="${KIJIL%/*}/tests/cuda_emu/kijil-cuda.so" KJ_EMU_GPUS=4
for i in $(seq 1 60); do
    printf '{"id":"%d","text":"the cat number %d sat on mat %d and the dog saw it %d times"}\n' \
        "$i" "$i" "$((i * 7 % 13))" "$((i % 5))"
done >docs.jsonl
rc tokenizer 0 "$KIJIL" tokenizer train --jsonl --vocab-size 280 -o tokenizer.json docs.jsonl
rc shards 0 "$KIJIL" tokenize -q -t tokenizer.json -o shards docs.jsonl
cat >run.yaml <<'E2'
name: tiny
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 16,
        max_position_embeddings: 32}
data: {sequence_length: 32, batch_sequences: 3, micro_sequences: 1}
optim: {lr: 1e-2, precision: bf16, loss_chunk: 48}
schedule: {steps: 4, warmup_steps: 2}
checkpoint: {every_steps: 2}
samples: {every: 3, prompts: ["the cat"], tokens: 6}
E2
port=$((20000 + RANDOM % 20000))
pids=()
# ranks N DIR OPTION... : start them in the background; each rank's stderr in r$RANK
ranks() {
    local n=$1 dir=$2 r
    shift 2
    pids=()
    port=$((port + 1))
    for ((r = 0; r < n; r++)); do
        RANK=$r WORLD_SIZE=$n LOCAL_RANK=${LOCAL:-$r} MASTER_ADDR=127.0.0.1 \
            MASTER_PORT=$port "$KIJIL" train run.yaml --data shards -j1 \
            --device "${DEVICE:-cuda}" -o "$dir" "$@" 2>"r$r" &
        pids+=($!)
    done
}
# all NAME WANT : their exit statuses
all() {
    local got=() p
    for p in "${pids[@]}"; do
        wait "$p"
        got+=($?)
    done
    is "$1" "${got[*]}" "$2"
}
# under_way DIR : until it has done a step
under_way() {
    local i
    for ((i = 0; i < 600; i++)); do
        [[ -s $1/metrics.jsonl ]] && return
        sleep 0.1
    done
}
# line NAME FILE REGEX : it says that, and no more
line() {
    has "$1" "$2" "$3"
    is "$1.lines" "$(grep -c '^kijil' "$2")" 1
}
# close NAME DIR DIR TOLERANCE : the same steps, losses as close as that
close() {
    jq -r .loss "$2/metrics.jsonl" >a
    jq -r .loss "$3/metrics.jsonl" >b
    is "$1" "$(paste a b | awk -v t="$4" '{d = $1 - $2; if (d > t || d < -t) n++}
        END {print NR, n + 0}')" "4 0"
}

rc one 0 "$KIJIL" train run.yaml --data shards -q -j1 --device cuda -o one
# Sanitizers make fibers slow.
sizes=(2 3) sets=(optim.precision=f32 optim.states=bf16)
if readelf -d "$KIJIL" 2>/dev/null | grep -qE 'libasan|libtsan'; then
    sizes=(2) sets=(optim.states=bf16)
fi
for n in "${sizes[@]}"; do
    want=$(yes 0 | head -n "$n" | xargs)
    ranks "$n" "nccl$n"
    all "nccl$n" "$want"
    close "nccl$n.losses" one "nccl$n" 2e-2
    KIJIL_NCCL=host ranks "$n" "host$n" -q
    all "host$n" "$want"
    same "host$n.bytes" "nccl$n/model/model.safetensors" "host$n/model/model.safetensors"
done
KJ_EMU_ORDER=reverse ranks 2 back -q
all back "0 0"
same back.bytes nccl2/model/model.safetensors back/model/model.safetensors
same samples host2/samples.jsonl nccl2/samples.jsonl
# Other types of what travels: float32 weights, bfloat16 gradients.
for set in "${sets[@]}"; do
    ranks 2 "$set.nccl" -q --set "$set"
    all "$set.nccl" "0 0"
    KIJIL_NCCL=host ranks 2 "$set.host" -q --set "$set"
    all "$set.host" "0 0"
    same "$set.bytes" "$set.nccl/model/model.safetensors" "$set.host/model/model.safetensors"
done
# taken up again by as many, and by fewer
cp -r nccl2 again
rm -r again/checkpoints/step-00000004 again/model
ranks 2 again -q
all again "0 0"
same again.bytes nccl2/model/model.safetensors again/model/model.safetensors
ranks 2 muon -q --set optim.kind=muon
all muon "0 0"

# One is killed: the others wait for it on the GPU, and yet stop.
ranks 3 killed -q --steps 100000
under_way killed
kill -9 "${pids[1]}"
all killed "1 137 1"
line killed.first r0 'rank 1 \(process [0-9]+ on .*\)'
line killed.last r2 'rank 1 \(process [0-9]+ on .*\)'
# One hangs.
export KIJIL_RANK_SILENCE=3
ranks 3 hung -q --steps 100000
under_way hung
kill -STOP "${pids[2]}"
wait "${pids[0]}" "${pids[1]}"
kill -9 "${pids[2]}"
all hung "1 1 137"
line hung.first r0 'rank 2 \(process [0-9]+ on .*\) has not been heard of for'
line hung.second r1 'rank 2 \(process [0-9]+ on .*\) has not been heard of for'
unset KIJIL_RANK_SILENCE
# One is asked to stop.
ranks 2 asked -q --steps 100000
under_way asked
kill -INT "${pids[1]}"
all asked "130 130"

LOCAL=1 ranks 2 shared -q
all shared "2 2"
line shared r0 'ranks 0 and 1 are on one GPU \(0000:02:00.0 of '
KJ_EMU_GPUS=1 ranks 2 few -q
all few "2 2"
line few r1 'ranks 0 and 1 are on one GPU'
KJ_EMU_GPUS=2 ranks 3 fewer -q
all fewer "1 1 2"
line fewer r2 'there is no GPU 2 for the rank of that number on this machine: .* 2'
line fewer.others r0 'rank 2 \(process [0-9]+ on .*\) stopped: no GPU: there is no GPU 2'
KJ_EMU_NCCL=none ranks 2 none -q
all none "2 2"
line none r0 'several ranks on GPUs need NCCL: libnccl'
KJ_EMU_NCCL=none rc alone 0 "$KIJIL" train run.yaml --data shards -q --device cuda -o alone
same alone.bytes one/model/model.safetensors alone/model/model.safetensors

done_testing
