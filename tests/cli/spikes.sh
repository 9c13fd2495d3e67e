#!/bin/bash
# spikes.sh - optim.skip_spikes: which steps are left out, recomputed from the
# log; that a resumed run leaves out the same; and Muon across a resume.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

sentences 80 >docs.jsonl
# One text that is nothing like the others.
printf '{"id":"x","text":"%s"}\n' "$(seq -s 'Z~q' 900 960)" >>docs.jsonl
tokenized 300
cat >run.yaml <<'E2'
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 4,
        max_position_embeddings: 32}
data: {sequence_length: 32, batch_sequences: 2}
optim: {lr: 5e-3, skip_spikes: 2}
schedule: {steps: 400, warmup_steps: 5}
checkpoint: {every_steps: 50}
E2
train=("$KIJIL" train run.yaml --data shards)
rc run 0 "${train[@]}" -o run
has note err 'step [0-9]+ is left out: loss [0-9.]+, gradient norm [0-9.]+ stand out \([0-9]+ so far\)'
n=$(grep -c '"skipped": true' run/metrics.jsonl)
is "some are, few" "$((n > 0 && n < 40))" 1
is "noted" "$(grep -c 'is left out' err)" "$n"
rc plain 0 "${train[@]}" -q -o plain --set optim.skip_spikes=0
hasnt plain plain/metrics.jsonl skipped
differ "it matters" run/model/model.safetensors plain/model/model.safetensors

cat >twin.py <<'E2'
import json, statistics
seen, wrong = [], 0
for line in open("run/metrics.jsonl"):
    m = json.loads(line)
    x, last, out, close = (m["loss"], m["grad_norm"]), seen[-128:], False, False
    if len(last) >= 64:
        for k in 0, 1:
            v = [s[k] for s in last]
            d = x[k] - statistics.fmean(v) - 2 * statistics.stdev(v)
            out, close = out or d > 0, close or abs(d) < 1e-4
    wrong += not close and out != m.get("skipped", False)
    seen.append(x)
print(wrong)
E2
if python3 -c '' 2>/dev/null; then
    is "the right steps" "$(python3 twin.py)" 0
else
    skip "no python3"
fi
for kind in adamw muon; do
    rc "$kind" 0 "${train[@]}" -q -o $kind --set optim.kind=$kind
    cp -r $kind again.$kind
    rm -r again.$kind/checkpoints/step-00000400 again.$kind/model
    rc "$kind.again" 0 "${train[@]}" -j2 -o again.$kind --set optim.kind=$kind
    has "$kind.again" err 'goes on behind step 350'
    same "$kind.again" $kind/model/model.safetensors again.$kind/model/model.safetensors
    is "$kind.same steps" "$(grep skipped again.$kind/metrics.jsonl | cut -d, -f1-4 | cksum)" \
        "$(grep skipped $kind/metrics.jsonl | cut -d, -f1-4 | cksum)"
done
same "one default" run/model/model.safetensors adamw/model/model.safetensors
# Two ranks, gradients whole and cut, leave out the same steps, and so does one of them that
# goes on.
for z in 1 2; do
    ranks 2 zero$z -q --set optim.zero=$z --set data.micro_sequences=1
    all "zero$z" "0 0"
done
m=$(grep -c '"skipped": true' zero2/metrics.jsonl)
is "ranks leave some out" "$((m > 0 && m < 40))" 1
same "cut or not" zero1/model/model.safetensors zero2/model/model.safetensors
cp -r zero2 again.zero2
rm -r again.zero2/checkpoints/step-00000400 again.zero2/model
ranks 2 again.zero2 --set optim.zero=2 --set data.micro_sequences=1
all "zero2.again" "0 0"
has "zero2.again" r0 'goes on behind step 350'
same "zero2.again" zero2/model/model.safetensors again.zero2/model/model.safetensors
is "zero2.same steps" "$(grep skipped again.zero2/metrics.jsonl | cut -d, -f1-4 | cksum)" \
    "$(grep skipped zero2/metrics.jsonl | cut -d, -f1-4 | cksum)"
done_testing
