#!/bin/bash
# watch.sh - what a person sees of a training run: the ledger, the page, samples.
# They change no byte of what is trained, and after any number of kills every step
# and every text is there once.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

for i in $(seq 1 80); do
    printf '{"id":"%d","source":"%s","text":"the cat number %d sat on mat %d"}\n' \
        "$i" "$([[ $((i % 2)) -eq 0 ]] && echo even || echo odd)" "$i" $((i * 7 % 13))
done >docs.jsonl
tokenized 290
cat >plain.yaml <<'E2'
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8,
        max_position_embeddings: 64}
data: {sequence_length: 32, batch_sequences: 8, micro_sequences: 3}
optim: {lr: 1e-2}
schedule: {steps: 60, warmup_steps: 5}
checkpoint: {every_steps: 7}
E2
(cat plain.yaml && echo 'samples: {every: 9, prompts: ["the cat", "mat: <3 & \"7\""], tokens: 6}') >run.yaml
train=("$KIJIL" train run.yaml --data shards)

rc plain 0 "$KIJIL" train plain.yaml --data shards -q -o plain --ledger none
is plain "$(ls plain)" $'checkpoints\nmetrics.jsonl\nmodel\nrun.yaml'
rc whole 0 "${train[@]}" -o whole
has line err '^kijil train: peak [0-9.]+ GFLOP/s, the best of'
has line err '^step 60/60  loss [0-9.]+ .* tokens/s  [0-9]+ GFLOP/s \([0-9]+ % of peak\)  ETA 0:00$'
same weights plain/model/model.safetensors whole/model/model.safetensors
same moments {plain,whole}/checkpoints/step-00000060/optimizer.safetensors
is texts "$(sed 's/, "prompt".*//' whole/samples.jsonl | tail -n 4)" '{"step": 54, "number": 0
{"step": 54, "number": 1
{"step": 60, "number": 0
{"step": 60, "number": 1'
has text whole/samples.jsonl '"step": 54, "number": 0, "prompt": "the cat", "text": ".*(number|sat|on|mat)'
is texts.n "$(wc -l <whole/samples.jsonl)" 14
# The last text is what the model itself goes on with.
rc generate 0 "$KIJIL" generate whole -q --no-echo -p 'the cat' -n 6
is generate "$(cat out)" "$(sed -n '13s/.*"text": "\(.*\)"}/\1/p' whole/samples.jsonl)"

# Killed again and again.
for n in 5 40 9 60 30 50; do
    killed $n "${train[@]}" -q -o killed
done
is kills $kills 6
rc killed 0 "${train[@]}" -q -o killed
same killed.samples whole/samples.jsonl killed/samples.jsonl
if command -v sqlite3 >/dev/null; then
    for d in whole killed; do
        is "$d: steps" "$(sqlite3 $d/run.db 'select count(*), count(distinct step), min(step), max(step) from metrics')" '60|60|1|60'
        is "$d: texts" "$(sqlite3 $d/run.db 'select count(*) from generations')" 14
    done
    is values "$(sqlite3 killed/run.db "select printf('%.6f %.6g %d', loss, grad_norm, tokens) from metrics order by step" | cksum)" \
        "$(sed 's/.*"loss": \([0-9.]*\),.*"grad_norm": \([-0-9.e]*\),.*"tokens": \([0-9]*\),.*/\1 \2 \3/' whole/metrics.jsonl | cksum)"
    # Two runs in one ledger; one of them again from the start.
    rc shared 0 "${train[@]}" -q -o whole --ledger two.db
    rc shared 0 "$KIJIL" train plain.yaml --data shards -q -o plain --ledger two.db --force --steps 20
    is shared "$(sqlite3 two.db 'select series, count(*) from metrics group by series' | xargs)" 'plain|20 whole|60'
    rc two 0 "$KIJIL" report two.db -o two.html
    has two two.html '<b>plain</b>: 20 steps'
    has two two.html '<b>whole</b>: 60 steps'
else
    skip "no sqlite3"
fi

# The page: self-contained, escaped, and once it is done not loaded again.
is curves "$(grep -c '<svg' whole/report.html)" 4
has page whole/report.html 'mat: &lt;3 &amp; &quot;7&quot;'
hasnt page whole/report.html 'http-equiv="refresh"|<script|src='
# A folder's page is of this moment: behind it the ledger may be, and the last line torn.
printf '{"step": 61, "loss": 1, "lr": 0, "tokens": 9, "tokens_per_s": 1}\n{"step": 62, "lo' >>whole/metrics.jsonl
rc now 0 "$KIJIL" report whole -o now.html
has now now.html '<p class="note">61 steps'

rc prompts 2 "$KIJIL" train plain.yaml --data shards --set samples.every=5 -o x
has prompts err 'no samples.prompts'
mkdir moved && cp -r shards moved
mv tokenizer.json away.json
rc no-tokenizer 2 "$KIJIL" train run.yaml --data moved/shards -q -o x
has no-tokenizer err 'samples need'
mv away.json tokenizer.json
# A fault of what is only shown ends nothing.
rc long 0 "$KIJIL" train run.yaml --data shards -q -o long --steps 10 \
    --set "samples.prompts=$(seq -s ' ' 200)"
has long err 'no more of the samples: the prompt has .* the context 64'
is long "$(wc -l <long/metrics.jsonl)" 10
rc where 0 "$KIJIL" train plain.yaml --data shards -q -o where --ledger /nowhere/run.db
has where err 'no more of the ledger'
done_testing
