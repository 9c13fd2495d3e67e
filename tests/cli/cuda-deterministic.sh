#!/bin/bash
# cuda-deterministic.sh - the same bits at every run on a GPU where they are asked for:
# on the emulated one, whose cuDNN adds up dQ in another order at every call.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

emulated_gpu
sentences 60 >docs.jsonl
tokenized 280
cat >run.yaml <<'E2'
name: tiny
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 2, num_key_value_heads: 1, head_dim: 64}
data: {sequence_length: 48, batch_sequences: 2, micro_sequences: 2}
optim: {lr: 1e-2, precision: bf16, loss_chunk: 48}
schedule: {steps: 5, warmup_steps: 2}
checkpoint: {every_steps: 3}
E2
# run DIR OPTION... ; its weights: $1.bits
run() {
    rc "$1" 0 "$KIJIL" train run.yaml --data shards --device cuda -o "$@"
    sha256sum <"$1/model/model.safetensors" >"$1.bits"
}
yes=(--set optim.deterministic=true)
run a -q
run b -q
differ "fastest: the bits are of the moment" a.bits b.bits
run c -q "${yes[@]}"
KIJIL_CUDA_TUNE=$PWD/tune.txt run d -q "${yes[@]}"
same "deterministic: the same again" c.bits d.bits
is "and nothing is timed" "$(wc -c 2>/dev/null <tune.txt)" ""
rm -r d/checkpoints/step-00000005 d/model
KIJIL_CUDA_GRAPHS=0 run d "${yes[@]}"
has "it goes on" err 'goes on behind step 3'
same "deterministic: the same behind a stop, and without graphs" c.bits d.bits

# It is no part of what a run is: one that began fast may go on so, and the other way.
rm -r a/checkpoints/step-00000005 a/model
run a "${yes[@]}"
has "taken up" err 'goes on behind step 3'
hasnt "cuDNN is fine" err 'our own attention'

# A choice that was timed before is kept to.
KIJIL_CUDA_TUNE=$PWD/tune.txt run e -q
is "fastest: products are timed" "$([[ -s tune.txt ]] && echo yes)" yes
n=$(wc -l <tune.txt)
KIJIL_CUDA_TUNE=$PWD/tune.txt run f -q "${yes[@]}"
is "deterministic: the file is read" "$(wc -l <tune.txt)" "$n"
same "and gives the same products here" c.bits f.bits

# Where cuDNN is not what it should be, the run says so and goes on.
KJ_EMU_CUDNN=dv run wrong
has "a wrong result is told" err "cuDNN's attention is not right here: dV is off by .*: our own attention goes on"
is "once" "$(grep -c 'our own attention' err)" 1
KIJIL_CUDNN=1 KJ_EMU_CUDNN=missing rc must 1 "$KIJIL" train run.yaml --data shards --device cuda -o must
has "or stops" err "attention: of .*: KIJIL_CUDNN=1: no cuDNN: libcudnn"
done_testing
