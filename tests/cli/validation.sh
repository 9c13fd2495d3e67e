#!/bin/bash
# validation.sh - the loss on held-out texts while a model is trained: it changes no byte,
# is that of kijil eval, stands once after kills, is the same to ranks, and is on the page.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/cli/lib-train.sh
. "$TOP/tests/cli/lib-train.sh"

sentences 120 >docs.jsonl
tokenized 300
sentences 170 | tail -n 50 >near.jsonl
awk 'BEGIN {for (i = 0; i < 9; i++) printf "{\"id\":\"%d\",\"text\":\"%d owls sleep\"}\n", i, 7 * i}' >far.jsonl
for d in near far; do
    rc $d 0 "$KIJIL" tokenize -q -t tokenizer.json -o $d $d.jsonl
done
cat >run.yaml <<'E2'
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 4, num_key_value_heads: 2, head_dim: 8,
        max_position_embeddings: 64}
data: {sequence_length: 64, batch_sequences: 8, micro_sequences: 3, packing: bestfit}
optim: {lr: 1e-2}
schedule: {steps: 40, warmup_steps: 5}
checkpoint: {every_steps: 7}
E2
rc plain 0 "$KIJIL" train run.yaml --data shards -q -j1 -o plain
cat >>run.yaml <<'E2'
validation: {data: [near, far], every: 15, rows: 0}
E2
train=("$KIJIL" train run.yaml --data shards -j1)
rc whole 0 "${train[@]}" -o whole
same weights plain/model/model.safetensors whole/model/model.safetensors
same moments {plain,whole}/checkpoints/step-00000040/optimizer.safetensors
has line err '^step 15/40  validation loss [0-9.]+  \(near [0-9.]+, far [0-9.]+\)$'
looks() { jq -c 'select(.val_loss) | [.step, .val_loss, .validation]' "$1/metrics.jsonl"; }
is steps "$(jq -c 'select(.val_loss) | .step' whole/metrics.jsonl | xargs)" "15 30 40"
# No document is cut and all are looked at: the loss is that of an epoch of training on them
# that moves nothing.
rc epoch 0 "$KIJIL" train run.yaml --data near -q -j1 -o epoch --steps 60 --set optim.lr=0 --no-save \
    --set data.batch_sequences=1 --set model.init_from=whole/model --set validation.data=near
is epoch "$(jq -s --argjson w "$(jq 'select(.step == 40).validation.near' whole/metrics.jsonl)" \
    '[[{tokens: 0}] + .[:-1], .] | transpose | map(select(.[1].epoch == 0) |
        [.[1].loss, .[1].tokens - .[0].tokens]) | (map(.[0] * .[1]) | add) / (map(.[1]) | add) - $w |
        . < 1e-5 and . > -1e-5' epoch/metrics.jsonl)" true
is epoch.whole "$(jq -s 'last.epoch > 0' epoch/metrics.jsonl)" true
is learnt "$(jq -s 'map(select(.val_loss).validation) | .[0].near > .[2].near and .[2].far > 1.5 * .[2].near' whole/metrics.jsonl)" true

for n in 5 40 9 60 30; do
    killed $n "${train[@]}" -q -o killed
done
is kills $kills 5
rc killed 0 "${train[@]}" -q -o killed
is killed "$(looks killed)" "$(looks whole)"
# The look is no part of the run: it goes on with another one.
rm -r killed/model killed/checkpoints/step-00000040
rc other 0 "${train[@]}" -q -o killed --set validation.data=far --set validation.every=39
is other "$(looks killed | tail -n 2 | jq -c 'del(.[1])' | xargs)" "[39,null] [40,null]"
same other whole/model/model.safetensors killed/model/model.safetensors
ranks 2 two
all two "0 0"
is two "$(paste <(jq -c 'select(.val_loss) | .val_loss' whole/metrics.jsonl) <(jq -c 'select(.val_loss) | .val_loss' two/metrics.jsonl) |
    awk '{d = $1 - $2; if (d < 1e-3 && d > -1e-3) n++} END {print n}')" 3
hasnt two.silent r1 .
ranks 2 cut -q --set optim.zero=2
all cut "0 0"
close cut two cut
# On the emulated GPU, which keeps activations in another way.
emulated_gpu
few=(--steps 4 --set validation.every=2 --set validation.rows=3)
rc gpu 0 "$KIJIL" train run.yaml --data shards --device cuda -q -o gpu --set optim.recompute=block "${few[@]}"
rc gpu 0 "$KIJIL" train run.yaml --data shards --device cpu -q -j1 -o cpu "${few[@]}"
unset KIJIL_CUDA_SO
is gpu "$(paste <(jq -c 'select(.val_loss) | .val_loss' cpu/metrics.jsonl) <(jq -c 'select(.val_loss) | .val_loss' gpu/metrics.jsonl) |
    awk '{d = $1 - $2; if (d < 1e-3 && d > -1e-3) n++} END {print n}')" 2
# Some rows, drawn alike whatever the run's seed.
rc rows 0 "${train[@]}" -q -o rows --steps 1 --set validation.rows=2 --set optim.lr=0
rc rows 0 "${train[@]}" -q -o rows-all --steps 1 --set optim.lr=0
hasnt rows <(looks rows) "$(jq -c 'select(.val_loss) | .val_loss' rows-all/metrics.jsonl)"

if command -v sqlite3 >/dev/null; then
    is ledger "$(sqlite3 killed/run.db "select step, source from metric_validation order by 1, 2" | xargs)" \
        "15| 15|far 15|near 30| 30|far 30|near 39| 40|"
    is values "$(sqlite3 whole/run.db "select printf('%.9f', loss) from metric_validation where source = 'far' order by step")" \
        "$(jq -c 'select(.val_loss) | .validation.far' whole/metrics.jsonl | awk '{printf "%.9f\n", $1}')"
else
    skip "no sqlite3"
fi
is page "$(grep -c 'Loss on held-out texts' whole/report.html)" 3
has page whole/report.html 'Loss on held-out texts: near</b>'

rc trained 0 "${train[@]}" --steps 1 -o x --set validation.data=shards
has trained err 'validation.data shards is trained on, too'
rc missing 1 "${train[@]}" -q -o y --set validation.data=nowhere
has missing err 'validation.data: .*nowhere'
mkdir other
rc other.tok 0 "$KIJIL" tokenizer train --jsonl --vocab-size 280 -o other/tokenizer.json far.jsonl
rc other.tok 0 "$KIJIL" tokenize -q -t other/tokenizer.json -o other/shards far.jsonl
rc other.tok 2 "${train[@]}" -q -o y --set validation.data=other/shards
has other.tok err 'validation.data: shards and other/shards are of different tokenizers'
rc every 2 "${train[@]}" -q -o y --set validation.every=0
is nothing "$(ls -d y 2>/dev/null)" ""
done_testing
