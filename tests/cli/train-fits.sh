#!/bin/bash
# train-fits.sh - memory that a run needs is told before it is taken: what fits, what
# would fit, on an emulated GPU of a chosen size and on a CPU with a limit.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

emulated_gpu
export KIJIL_CUDNN=1
sentences 60 >docs.jsonl
tokenized 280
cat >run.yaml <<'E2'
model: {hidden_size: 64, intermediate_size: 256, num_hidden_layers: 8,
        num_attention_heads: 2, num_key_value_heads: 1, max_position_embeddings: 64}
data: {sequence_length: 64, batch_sequences: 4, micro_sequences: 4}
optim: {lr: 1e-2, precision: bf16, loss_chunk: 32}
schedule: {steps: 1, warmup_steps: 1}
E2
train=("$KIJIL" train run.yaml --data shards)
plan() { # JQ ARGUMENTS
    local ask=$1
    shift
    "$KIJIL" plan run.yaml --data shards --json --device cuda "$@" | jq -r "$ask"
}
mb() { echo $((($(plan .bytes --set optim.recompute="$1") + 999999) / 1000000)); }

# What is counted is taken; without a device there is no verdict.
rc none 0 "${train[@]}" --device cuda -o none --set optim.recompute=none
took=$(sed -n 's/.* \([0-9.]*\) MB of the GPU.s$/\1/p' err)
is "counted within 3 %" "$(awk -v a="$(plan .bytes --set optim.recompute=none)" -v b="$took" \
    'BEGIN {a /= 1e6; print (a >= b && a < b * 1.03)}')" 1
is "by kind" "$(plan '[to_entries[] | select(.key | startswith("bytes_")) |
    select(.key != "bytes_free").value] | add' --memory 1G)" "$(plan .bytes --memory 1G)"
is "not known" "$(KIJIL_CUDA_SO=/nowhere plan 'has("fits")')" false
is "known" "$(KIJIL_CUDA_SO=/nowhere plan .fits --memory 1G)" true
is "less on a GPU with bf16" "$(($(plan .bytes_activations --memory 1G) <
    $(plan .bytes_activations --memory 1G --set optim.precision=f32)))" 1
# shared NAME KIND SHARE ARGUMENTS : of that kind the last of four ranks holds so much of
# what one does, to a cut at multiples of 16
shared() {
    local name=$1 kind=.bytes_$2 share=$3
    shift 3
    is "$name" "$(awk -v a="$(plan "$kind" --memory 1G --ranks 4 "$@")" -v s="$share" \
        -v b="$(plan "$kind" --memory 1G "$@")" 'BEGIN {r = a / b / s; print (r > 0.999 && r < 1.002)}')" 1
}
shared "ranks share moments" moments .25
shared "ranks share weights that are not multiplied" weights .25
shared "but those that are" weights 1 --set optim.precision=f32
shared "gradients are whole" gradients 1
is "or cut, with room for some units" "$(($(plan .bytes_gradients --memory 1G --ranks 4 --set optim.zero=2) <
    $(plan .bytes_gradients --memory 1G) * 6 / 10))" 1
small=(--ranks 4 --set data.micro_sequences=1 --set optim.recompute=block)
size=$(awk -v a="$(plan .bytes "${small[@]}")" -v b="$(plan .bytes "${small[@]}" --set optim.zero=2)" \
    'BEGIN {printf "%.0f", (a + b) / 2 / 0.98}')
rc "advice to ranks" 0 "$KIJIL" plan run.yaml --data shards --device cuda "${small[@]}" --memory "$size"
has "advice to ranks" out 'Fits with optim.zero: 2 \('

# A GPU that holds ffn but not norm: auto takes ffn in some layers; the same bytes.
size=$(awk -v a="$(plan .bytes --set optim.recompute=norm)" \
    -v b="$(plan .bytes --set optim.recompute=ffn)" 'BEGIN {printf "%.0f", (a + b) / 2 / 0.99e6}')
KJ_EMU_MEMORY=$size rc auto 0 "${train[@]}" --device cuda -o auto
has "auto tells" err 'layers make again: norm, and ffn in [1-7] of 8 layers'
is "auto" "$(KJ_EMU_MEMORY=$size plan .recompute)" norm
took=$(sed -n 's/.* \([0-9]*\)[0-9.]* MB of the GPU.s$/\1/p' err)
is "takes less" "$((took < size))" 1
same "auto's bytes" none/model/model.safetensors auto/model/model.safetensors

# Too little for none: what would fit, and it does.
KJ_EMU_MEMORY=$size rc refused 2 "${train[@]}" --device cuda -o refused --set optim.recompute=none
has refused err "the run needs [0-9.]+ of [0-9.]+ MB: [0-9.]+ too many\. Fits with optim.recompute: ffn \([0-9.]+\), or data.micro_sequences: [123] \("
is "nothing is begun" "$([[ -e refused ]] && echo there)" ""
micro=$(sed -n 's/.*micro_sequences: \([0-9]*\) .*/\1/p' err)
KJ_EMU_MEMORY=$size rc "as advised" 0 "${train[@]}" -q --device cuda -o advised \
    --set optim.recompute=none --set data.micro_sequences="$micro"
KJ_EMU_MEMORY=$size rc "one more" 2 "${train[@]}" --device cuda -o refused \
    --set optim.recompute=none --set data.micro_sequences=$((micro + 1))
KJ_EMU_MEMORY=44 rc hopeless 2 "${train[@]}" --device cuda -o refused
has hopeless err 'even with optim.recompute: block: .* No setting makes it fit'

# Another program took it meanwhile: the same advice, by what could be had.
KJ_EMU_USABLE=$(mb block) rc "ran out" 2 "${train[@]}" --device cuda -o ranout --set optim.recompute=none
has "ran out" err 'no GPU memory for .*; the run needs .* too many\. Fits with '

# The plan of a person.
rc plan 0 "$KIJIL" plan run.yaml --data shards --device cuda --memory 38M
has plan out 'it does not fit +needs'
rc plan 0 "$KIJIL" plan run.yaml --data shards --device cuda --memory 80G
has plan out 'it fits +with optim.recompute: none'
has plan out '  bfloat16 copy'
rc "plan of fp8" 0 "$KIJIL" plan run.yaml --data shards --device cuda --memory 80G --set optim.precision=fp8
has "plan of fp8" out '^memory, GPU, fp8 '
rc plan 0 "$KIJIL" plan run.yaml --data shards --device cpu --memory 16G
hasnt plan out 'bfloat16 copy'

# A CPU has what its limits leave.
big=(--set model.hidden_size=2048 --set model.num_hidden_layers=40 --set schedule.steps=1)
if sanitized; then
    skip "sanitizers map terabytes"
else
    rc cpu 2 bash -c 'ulimit -v 3000000; exec "$@"' - "${train[@]}" --device cpu -o cpu "${big[@]}"
    has cpu err 'the run needs [0-9.]+ of [0-2]\.[0-9] GB'
fi
done_testing
