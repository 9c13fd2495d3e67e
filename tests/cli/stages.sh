#!/bin/bash
# stages.sh - a run in stages: what is planned, what each stage and source had, that
# kills around the border leave no trace, and that a border alone changes nothing.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

for i in $(seq 1 400); do
    printf '{"id":"%d","source":"%s","text":"the cat number %d sat on mat %d and the dog saw it %d times"}\n' \
        "$i" "$([[ $((i % 2)) -eq 0 ]] && echo even || echo odd)" "$i" "$((i * 7 % 13))" "$((i % 5))"
done >docs.jsonl
sed 's/the cat number/a good cat of size/' docs.jsonl | head -n 200 >better.jsonl
"$KIJIL" tokenizer train --jsonl --vocab-size 300 -q -o tokenizer.json docs.jsonl better.jsonl
"$KIJIL" tokenize -q -t tokenizer.json -o shards docs.jsonl
"$KIJIL" tokenize -q -t tokenizer.json -o good better.jsonl
cat >plan.yaml <<'P'
sets: [good]
tokens: 4000
epochs: 4
mix:
  - {name: odd, share: 1, source: odd}
  - {name: even, share: 3, source: even}
P
"$KIJIL" mix plan.yaml -q -o better
cp "$TOP/recipes/staged-tiny.yaml" run.yaml
train=("$KIJIL" train run.yaml)

# ---- plan: 25K and 20K tokens are 48 and 39 steps of 512; 87 in all ----
rc plan 0 "$KIJIL" plan run.yaml
has plan out '^stage broad  *24.58 K tokens, steps 1 to 48; rate constant, 0.125 to 1 of'
has plan out '^stage fine  *19.97 K tokens, steps 49 to 87; rate linear, 0.974 to 0 of'
has plan out '14.98 K tokens from better, 3.[0-9]* epochs of it'
"$KIJIL" plan run.yaml --json >plan.json
is "plan.json" "$(jq -c '.steps, [.stages[] | .name, .begin, .end, .last_factor, (.data | length)]' plan.json | tr '\n' ' ')" \
    '87 ["broad",0,48,1,1,"fine",48,87,0,2] '
rc plan-nowhere 0 "$KIJIL" plan "$TOP/recipes/8b.yaml" --json
is "8b: the published stages" "$(jq -c '[.stages[] | .end, (.last_factor * 1000 | round)]' out)" '[240576,316,267307,100]'
rc dry 0 "${train[@]}" --dry-run
has dry out '^  - name: "broad"'
has dry out '^      - \{path: "better", weight: 3\}'
has dry out '^# stage fine '
rc keys 0 "$KIJIL" plan --keys
has keys out '^  - name: .*# name of the stage'

# ---- train, whole and killed ----
rc whole 0 "${train[@]}" -j1 -o whole
has whole err 'stage broad: steps 1 to 48, from shards'
has whole err 'stage fine: steps 49 to 87, from better and 1 more'
has whole err '^step 87/87  fine  loss'
is "lines" "$(jq -r .stage whole/metrics.jsonl | uniq -c | tr -s ' \n' ' ')" " 48 broad 39 fine "
is "seen by stage and source" "$(jq -s 'map(select(.stage == "fine")) | last.seen | add' whole/metrics.jsonl)" $((39 * 512))
is "by weight" "$(jq '.stages[1].parts | map({(.name): .tokens}) | add | .odd + .even, .shards' whole/parts.json | tr '\n' ' ')" \
    "$((39 * 8 * 64 * 3 / 4)) $((39 * 8 * 64 / 4)) "
is "parts of the order" "$(jq '.stages[1].parts | map({(.name): .tokens}) | add | .even / .odd | . > 2.7 and . < 3.3' whole/parts.json)" true
is "sums" "$(jq '.tokens, ([.stages[].parts[].tokens] | add), ([.parts[].tokens] | add)' whole/parts.json | tr '\n' ' ')" "44544 44544 44544 "
for n in 5 40 9 60 30 20 90 50; do
    killed $n "${train[@]}" -q -j2 -o killed
done
is kills $kills 8
rc killed 0 "${train[@]}" -j2 -o killed
same killed whole/model/model.safetensors killed/model/model.safetensors
same killed.parts whole/parts.json killed/parts.json
cut_times() { jq -c 'del(.seconds, .tokens_per_s)' "$1/metrics.jsonl"; }
is killed.metrics "$(cut_times killed | cksum)" "$(cut_times whole | cksum)"

# ---- a border without a change ----
one() { # NAME STAGES
    sed '/^stages:/,/^checkpoint:/{/^checkpoint:/!d}' run.yaml >"$1.yaml"
    printf '%s\n' "$2" >>"$1.yaml"
    rc "$1" 0 "$KIJIL" train "$1.yaml" --data shards -q -o "$1" "${@:3}"
}
one single '' --steps 30
one halves 'stages: [{name: a, steps: 11}, {name: b, steps: 19, data: shards}]'
same "halves equal the whole" single/model/model.safetensors halves/model/model.safetensors

# ---- what is set, and what is wrong ----
rc set 0 "${train[@]}" --dry-run --set stages.fine.data=good --set stages.fine.steps=7
has set out '^# stage fine .* steps 49 to 55;'
has set out 'K tokens from good'
rc other 2 "${train[@]}" -o whole --set stages.fine.end_ratio=0.5
has other err 'another configuration'
rc other-data 2 "${train[@]}" -o whole --set stages.broad.data=good
rc no-stage 2 "${train[@]}" --set stages.last.steps=7
has no-stage err "no stage 'last'"
rc twice 2 "$KIJIL" train <(sed 's/path: shards/path: better/' run.yaml)
has twice err 'fine names the same data twice'
rc steps 2 "${train[@]}" --steps 10 -o x
has steps err 'the stages tell the length'
rc missing 1 "${train[@]}" --set stages.fine.data=nowhere -o x
has missing err nowhere
"$KIJIL" tokenizer train --jsonl --vocab-size 280 -q -o t2.json docs.jsonl
"$KIJIL" tokenize -q -t t2.json -o other docs.jsonl
rc tokenizers 2 "${train[@]}" --set stages.fine.data=other -o x
has tokenizers err 'shards and other are of different tokenizers'
done_testing
