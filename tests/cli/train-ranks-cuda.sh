#!/bin/bash
# train-ranks-cuda.sh - ranks on emulated GPUs that exchange over (emulated) NCCL: the
# bytes of an exchange by way of the host, in any order of threads and streams, with
# weights and gradients cut among them; ranks that die, hang, share a GPU or find no NCCL
# are told.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

emulated_gpu
export KJ_EMU_GPUS=4
sentences 60 >docs.jsonl
tokenized 280
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
rank_options=(--device cuda)
# line NAME FILE REGEX : it says that, and no more
line() {
    has "$1" "$2" "$3"
    is "$1.lines" "$(grep -c '^kijil' "$2")" 1
}
rc one 0 "$KIJIL" train run.yaml --data shards -q -j1 --device cuda -o one
# Sanitizers make fibers slow.
sizes=(2 3) sets=(optim.precision=f32 optim.states=bf16)
if sanitized; then
    sizes=(2) sets=(optim.states=bf16)
fi
for n in "${sizes[@]}"; do
    want=$(yes 0 | head -n "$n" | xargs)
    ranks "$n" "nccl$n"
    all "nccl$n" "$want"
    close "nccl$n.losses" one "nccl$n" 2e-2
    # of two ranks without graphs, too
    KIJIL_CUDA_GRAPHS=$((n - 2)) KIJIL_NCCL=host ranks "$n" "host$n" -q
    all "host$n" "$want"
    same "host$n.bytes" "nccl$n/model/model.safetensors" "host$n/model/model.safetensors"
done
KJ_EMU_ORDER=reverse ranks 2 back -q
all back "0 0"
same back.bytes nccl2/model/model.safetensors back/model/model.safetensors
same samples host2/samples.jsonl nccl2/samples.jsonl
is samples.lines "$(grep -c . nccl2/samples.jsonl)" 2
# Other types of what travels: float32 weights, bfloat16 gradients.
for set in "${sets[@]}"; do
    ranks 2 "$set.nccl" -q --set "$set"
    all "$set.nccl" "0 0"
    KIJIL_NCCL=host ranks 2 "$set.host" -q --set "$set"
    all "$set.host" "0 0"
    same "$set.bytes" "$set.nccl/model/model.safetensors" "$set.host/model/model.safetensors"
done
# Gradients cut among them: of one pass a rank the same bytes; of two and one, those of
# the host, and of units that are exchanged in another order of threads and streams.
last=checkpoints/step-00000004
zero=(-q --set optim.zero=2 --set model.tie_word_embeddings=false)
ranks 2 zero2 "${zero[@]}"
all zero2 "0 0"
KJ_EMU_ORDER=reverse KIJIL_NCCL=host ranks 2 zero2.host "${zero[@]}"
all zero2.host "0 0"
for f in model optimizer; do
    same zero2.host.$f zero2/$last/$f.safetensors zero2.host/$last/$f.safetensors
done
if [[ ${sizes[*]} == *3* ]]; then
    ranks 3 zero3 -q --set optim.zero=2
    all zero3 "0 0 0"
    for f in model optimizer; do
        same zero3.$f nccl3/$last/$f.safetensors zero3/$last/$f.safetensors
    done
    for set in optim.precision=fp8 optim.states=bf16; do
        for z in 1 2; do
            ranks 3 "$set.zero$z" -q --set "$set" --set optim.zero=$z \
                --set optim.recompute=block --set model.tie_word_embeddings=false
            all "$set.zero$z" "0 0 0"
        done
        same "$set.zero" "$set.zero1/$last/model.safetensors" "$set.zero2/$last/model.safetensors"
    done
    # Weights, moments and gradients of which each has a part: what is counted is taken.
    wide=(--set model.hidden_size=256 --set model.intermediate_size=1024
        --set model.num_hidden_layers=4 --set schedule.steps=1 --set samples.every=0
        --set optim.zero=2)
    ranks 2 wide "${wide[@]}"
    all wide "0 0"
    took=$(sed -n 's/.* \([0-9.]*\) MB of the GPU.s$/\1/p' r0)
    told=$("$KIJIL" plan run.yaml --data shards "${wide[@]}" --json --device cuda --memory 80G \
        --ranks 2 | jq .bytes)
    echo "# wide: $told bytes told, $took MB taken"
    is "wide within 3 %" "$(awk -v a="$told" -v b="$took" \
        'BEGIN {a /= 1e6; print (a >= b && a < b * 1.03)}')" 1
fi
# taken up again by as many, and by one
for n in 2 1; do
    cp -r nccl2 again$n
    rm -r again$n/$last again$n/model
    ranks $n again$n -q
    all again$n "$(yes 0 | head -n $n | xargs)"
    close again$n.losses one again$n 2e-2
done
same again.bytes nccl2/model/model.safetensors again2/model/model.safetensors
# A weight that is not finite is named by all, whoever has it.
cp -r one/model nan
printf '\000\000\300\177' | dd of=nan/model.safetensors bs=1 conv=notrunc \
    seek=$(($(stat -c %s nan/model.safetensors) - 4)) 2>/dev/null
ranks 2 x -q --set model.init_from=nan
all nan "1 1"
for r in r0 r1; do
    line nan.$r $r 'step 1: the weight model\.norm\.weight is not finite \(first of 1 of'
done
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
KJ_EMU_NCCL=old ranks 2 old -q
all old "2 2"
line old r1 'NCCL 2.14 is too old: 2.18 is needed$'

# One is killed, and NCCL does not even let itself be aborted.
KJ_EMU_NCCL=stuck ranks 2 stuck -q --steps 100000
under_way stuck
kill -9 "${pids[1]}"
all stuck "1 137"
line stuck r0 'rank 1 \(process [0-9]+ on .*\).*; NCCL does not come to an end; start again to go on behind'
ranks 2 stuck -q
all "stuck goes on" "0 0"

done_testing
