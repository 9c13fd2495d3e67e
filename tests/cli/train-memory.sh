#!/bin/bash
# train-memory.sh - train --dry-run tells the peak memory within 5 %, memory does not
# grow with steps, and Muon neither keeps nor saves second moments of its matrices.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

sentences 200 >docs.jsonl
tokenized 300
cat >run.yaml <<'E2'
model: {hidden_size: 320, intermediate_size: 880, num_hidden_layers: 4,
        num_attention_heads: 5, max_position_embeddings: 64}
data: {sequence_length: 64, batch_sequences: 4, micro_sequences: 2}
optim: {lr: 1e-3}
schedule: {steps: 4, warmup_steps: 1}
checkpoint: {every_steps: 2}
E2
# a GPU's libraries have memory of their own, also where there is no GPU
train=("$KIJIL" train run.yaml --data shards --device cpu)

if sanitized; then
    skip "sanitizers have memory of their own"
else
    # within NAME FOLDER ARGUMENTS: what a run takes is what --dry-run says
    within() {
        local name=$1 dir=$2 told took
        shift 2
        rc "$name.dry" 0 "${train[@]}" --dry-run "$@"
        told=$(sed -n 's/.* \([0-9]*\) MB of memory on a CPU$/\1/p' out)
        rc "$name" 0 "${train[@]}" -o "$dir" "$@"
        took=$(sed -n 's/.* \([0-9]*\) MB peak memory$/\1/p' err)
        echo "# $name: $told MB told, $took MB taken"
        is "$name within 5 %" "$(awk -v a="$told" -v b="$took" \
            'BEGIN {print (a / b < 1.05 && a / b > 0.95)}')" 1
        last=$took
    }
    within f32 f32 -j1
    few=$last
    rm -r f32/checkpoints/step-00000004
    within "going on" f32 -j1
    within bf16 bf16 -j2 --set optim.precision=bf16
    within states states -j1 --set optim.precision=bf16 --set optim.states=bf16
    is "states in bfloat16 take less" "$((last < few - 20))" 1
    within fp8 fp8 -j2 --set optim.precision=fp8
    within again again -j1 --set optim.recompute=block
    is "blocks made again take less" "$((last < few))" 1
    same "blocks made again" f32/model/model.safetensors again/model/model.safetensors
    within muon muon -j1 --set optim.kind=muon
    within teacher distil -j1 --set distil.teacher=f32/model --set model.num_hidden_layers=3
    within rows rows -j1 --set data.micro_sequences=4 --set optim.loss_chunk=64
    within many many -j1 --set schedule.steps=40 --set checkpoint.every_steps=0
    is "40 steps take what 4 take" "$(awk -v a="$few" -v b="$last" \
        'BEGIN {print (b < a * 1.01 + 1)}')" 1
fi

# Muon's checkpoint has the second moments of embedding, head and norms only.
[[ -d muon ]] || rc muon 0 "${train[@]}" -q -o muon --set optim.kind=muon
opt=muon/checkpoints/step-00000004/optimizer.safetensors
tensors=$(tail -c +9 $opt | head -c "$(od -An -t u8 -N 8 $opt | tr -d ' ')" | tr -c '[:alnum:]._' '\n')
is "Muon's momentum" "$(grep -c '^m\.' <<<"$tensors")" 38
is "second moments" "$(grep '^v\.' <<<"$tensors" | grep -vc norm)" "$(grep '^v\.' <<<"$tensors" |
    grep -cE 'embed_tokens|lm_head')"
cp -r muon on
rm -r on/checkpoints/step-00000004
rc on 0 "${train[@]}" -q -o on --set optim.kind=muon
same "Muon goes on" muon/model/model.safetensors on/model/model.safetensors
done_testing
