#!/bin/bash
# prune-torch.sh - scores of importance agree with PyTorch, and a pruned model
# is the slices that they say; what prune refuses.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

py=$(python_with torch)
for i in $(seq 1 60); do
    printf '{"id":"%d","text":"%s the cat sat on mat %d"}\n' "$i" \
        "$(seq -s ' ' $((i * 5 % 17)))" $((i * 7 % 13))
done >docs.jsonl
tokenized 290
cat >run.yaml <<'E2'
model: {hidden_size: 24, intermediate_size: 40, num_hidden_layers: 3,
        num_attention_heads: 6, num_key_value_heads: 2, head_dim: 10,
        max_position_embeddings: 32, tie_word_embeddings: false,
        initializer_range: 0.1, rope_theta: 500}
data: {sequence_length: 32, batch_sequences: 6}
optim: {lr: 1e-2}
schedule: {steps: 30, warmup_steps: 5}
E2
rc parent 0 "$KIJIL" train run.yaml --data shards -q -o parent
sed 's/hidden_size: 24/hidden_size: 16/;s/40/22/;s/heads: 6/heads: 4/' run.yaml >small.yaml
calib=(--calib shards --samples 9 --length 32 --no-shuffle)
rc small 0 "$KIJIL" prune parent --to small.yaml "${calib[@]}" -o small
has small err 'M parameters of'
rc tied 0 "$KIJIL" prune parent --to small.yaml "${calib[@]}" -q -o tied \
    --set model.tie_word_embeddings=true --set model.num_hidden_layers=2
if [[ -n $py ]]; then
    for m in small tied; do
        rc "$m.twin" 0 env PYTHONPATH="$TOP/tests/cli" PYTHONDONTWRITEBYTECODE=1 \
            "$py" "$TOP/tests/cli/prune_twin.py" parent/model $m shards 9
        sed 's/^/# /' out
    done
else
    skip "python3 has no torch"
fi
rc again 0 "$KIJIL" prune parent --to small.yaml --scores small/importance.json -q -o again
same again small/model.safetensors again/model.safetensors
same again.scores small/importance.json again/importance.json
rc whole 0 "$KIJIL" prune parent --to run.yaml --scores small/importance.json -q -o whole
same whole parent/model/model.safetensors whole/model.safetensors
rc go 0 "$KIJIL" train small.yaml --data shards -q -o on --set model.init_from=small
rc shuffled 0 "$KIJIL" prune parent --to small.yaml --calib shards --samples 3 -j2 -q -o s2
rc shuffled.1 0 "$KIJIL" prune parent --to small.yaml --calib shards --samples 3 -j1 -q -o s1
same threads s1/importance.json s2/importance.json

bad=("$KIJIL" prune parent --to small.yaml --scores small/importance.json -o bad)
rc bad.hidden 2 "${bad[@]}" --set model.hidden_size=25
rc bad.kv 2 "${bad[@]}" --set model.num_key_value_heads=1
has bad.kv err 'num_key_value_heads 1 is not'
rc bad.heads 2 "${bad[@]}" --set model.num_attention_heads=3
rc bad.dim 2 "${bad[@]}" --set model.head_dim=8
rc bad.theta 2 "${bad[@]}" --set model.rope_theta=501
rc bad.both 2 "${bad[@]}" --calib shards
rc bad.length 2 "$KIJIL" prune parent --to small.yaml --calib shards --length 33 -o bad
echo '{"format": "kijil-importance", "version": 1, "channels": [1], "layers": [{"heads":[1]}]}' >x.json
rc bad.scores 1 "$KIJIL" prune parent --to small.yaml --scores x.json -o bad
sed 's/"block": /"block": "x", "blocks": /' small/importance.json >x.json
rc bad.block 1 "$KIJIL" prune parent --to small.yaml --scores x.json -o bad
rc bad.other 1 "$KIJIL" prune small --to small.yaml --scores small/importance.json -o bad
has bad.other err 'another shape'
is nothing "$(ls -d bad* 2>/dev/null)" ""
done_testing
