#!/bin/bash
# mix.sh - plans over shards: budgets, epochs, weights, shortfalls; the order, and
# that training sees of each part what the plan says.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
READ=$TOP/tests/cli/mix_read.py

for i in $(seq 1 200); do
    echo '{"id":"en-'"$i"'","text":"Document '"$i"' tells of trees and the number '$((i * 7))'.",' \
        '"source":"web","language":"en","edu_score":'$((i % 5))'}'
    [[ $((i % 4)) -eq 0 ]] && echo '{"id":"ko-'"$i"'","text":"'"$i"'번째 문서는 나무와 강.",' \
        '"source":"web","language":"ko","cluster":{"id":"a","size":'$((i % 3 * 4 + 1))'}}'
    [[ $((i % 10)) -eq 0 ]] && echo '{"id":"arxiv:'"$i"'","text":"Theorem '"$i"'. The tree is finite.","source":"arxiv"}'
done >docs.jsonl
"$KIJIL" tokenizer train --jsonl docs.jsonl --vocab-size 400 -q -o t.json
mkdir -p data/deep
jq -c 'select(.language == "ko")' docs.jsonl | "$KIJIL" tokenize -t t.json -q -o data/deep/ko --format ds
jq -c 'select(.language != "ko")' docs.jsonl |
    "$KIJIL" tokenize -t t.json -q -o rest --band edu_score --shard-tokens 1000
of() { zstd -dc "$1/docs.jsonl.zst" | jq -s "map(select($2).tokens) | add"; }
ko=$(of data/deep/ko true)
ax=$(of rest '.source == "arxiv"')
good=$(of rest '.band == "3" or .band == "4"')

cat >plan.yaml <<'P'
name: small
sets: [rest, data/deep/ko/manifest.jsonl]
tokens: 4000
seed: 5
epochs: 3
mix:
  - {name: papers, share: 2, source: arxiv}
  - {name: korean, share: 3, language: ["ko", "kor*"]}
  - {name: good english, share: 5, language: en, band: ["3", "4"]}
P
rc mix 0 "$KIJIL" mix plan.yaml --json
cp out mix.json
q() { jq -r "$1" mix.json; }
is "papers has" "$(q '.parts[0].available')" "$ax"
is "korean has" "$(q '.parts[1].available')" "$ko"
is "good has" "$(q '.parts[2].available')" "$good"
is "asked" "$(q '[.parts[].asked] | join(" ")')" "800 1200 2000"
is "left" "$(q '.left.documents')" 120
longest=$(zstd -dc rest/docs.jsonl.zst data/deep/ko/docs.jsonl.zst | jq -s 'map(.tokens) | max')
is "within a document of the budget" \
    "$(q "[.parts[] | .budget - .tokens >= 0 and .budget - .tokens < $longest] | all")" true
[[ $(of rest '.source == "arxiv"') -lt 800 ]] && ok || bad "papers do not repeat here"
# arXiv 2305.16264: D' = U + U R (1 - exp(-(D/U - 1) / R)), R = 15.39
is "worth" "$(q '.parts[0].worth')" "$(awk -v d="$(q '.parts[0].tokens')" -v u="$(q '.parts[0].unique_tokens')" \
    'BEGIN {printf "%.0f", d <= u ? d : u + u * 15.39 * (1 - exp(-(d / u - 1) / 15.39))}')"
rc mix.text 0 "$KIJIL" mix plan.yaml
has mix.text out '^good english +80 '
has mix.left out '^120 documents with .* match no part'

# ---- the order ----
rc order 0 "$KIJIL" mix plan.yaml -q -o o/order
rc order.read 0 python3 "$READ" o/order
is "order holds the plan" "$(awk '{print $(NF - 3)}' out | tr '\n' ' ')" "$(q '[.parts[].tokens] | join(" ")') "
is "entries" "$(awk '{print $(NF - 2)}' out | tr '\n' ' ')" "$(q '[.parts[].entries] | join(" ")') "
has "good english stands there once at most" out '^good english [0-9]+ [0-9]+ 1 1$|^good english [0-9]+ [0-9]+ 1 2$'
rc check 0 "$KIJIL" check o/order
"$KIJIL" mix plan.yaml -q -o again --memory 1M
same "the same plan, the same order" o/order/order.bin again/order.bin
"$KIJIL" mix plan.yaml -q -o seed --seed 6
differ "the seed has a say" o/order/order.bin seed/order.bin
rc there 2 "$KIJIL" mix plan.yaml -o again
rc force 0 "$KIJIL" mix plan.yaml -o again --force
# Parts are spread: in each fifth of the order there are some of all.
python3 "$READ" o/order --docs >list
is "shuffled" "$(split -n l/5 --filter='awk "{print \$1}" | sort -u | wc -l' list | tr '\n' ' ')" "3 3 3 3 3 "

# ---- epochs ----
sed 's/epochs: 3/epochs: 2/; s/tokens: 4000/tokens: 40000/' plan.yaml >two.yaml
"$KIJIL" mix two.yaml -q -o two
python3 "$READ" two >out
is "two epochs: each document twice" "$(awk '{print $(NF - 1), $NF}' out | sort -u)" "2 2"
is "all tokens twice" "$(awk '{s += $(NF - 3)} END {print s}' out)" $((2 * (ko + ax + good)))
"$KIJIL" mix two.yaml --json >mix.json
is "shortfall" "$(q '.parts[1].shortfall')" $((12000 - 2 * ko))
rc fail 1 "$KIJIL" mix <(sed 's/^mix:/shortfall: fail\nmix:/' two.yaml)
has fail err 'part papers has .* in 2 epochs, the plan asks for 8000'
"$KIJIL" mix <(sed 's/^mix:/shortfall: scale\nmix:/' two.yaml) --json >mix.json
is "scaled: proportions stay" "$(q '[.parts[] | .tokens / .asked * 1000 | round] | max - min < 40')" true
"$KIJIL" mix <(sed 's/^mix:/shortfall: fill\nmix:/; s/40000/3300/' two.yaml) --json >mix.json
is "filled: the budget is met" "$(q ".tokens > 3300 - 3 * $longest")" true
"$KIJIL" mix two.yaml --tokens most --json >mix.json
is "most: nobody falls short" "$(q '[.parts[].shortfall] | add')" 0
is "most: somebody gives all" "$(q '[.parts[] | .tokens == 2 * .available] | any')" true

# ---- weights by cluster ----
cat >weights.yaml <<'P'
tokens: 1000000
epochs: 1
rehydrate: {1: 1, 5: 3, 9: 0.5}
mix: [{name: ko, share: 1, language: ko}]
P
"$KIJIL" mix weights.yaml data/deep/ko -q -o w
python3 "$READ" w --docs | sort | uniq -c >times.txt
jq -r 'select(.language == "ko") | .id + " " + (.cluster.size | tostring)' docs.jsonl >sizes
is "weight 1" "$(join -1 3 -2 1 <(sort -k3,3 times.txt) <(sort sizes) | awk '$4 == 1 {print $2}' | sort -u)" 1
is "weight 3" "$(join -1 3 -2 1 <(sort -k3,3 times.txt) <(sort sizes) | awk '$4 == 5 {print $2}' | sort -u)" 3
half=$(join -1 3 -2 1 <(sort -k3,3 times.txt) <(sort sizes) | awk '$4 == 9 && $2 == 1' | wc -l)
[[ $half -ge 3 && $half -le 14 ]] && ok || bad "weight 0.5: $half of $(grep -c ' 9$' sizes)"

# ---- training sees what the plan says ----
cat >run.yaml <<'P'
name: tiny
model: {hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1,
        num_attention_heads: 2, head_dim: 8, max_position_embeddings: 64}
data: {sequence_length: 16, batch_sequences: 10}
schedule: {steps: 24, warmup_steps: 2}
checkpoint: {every_steps: 5}
P
rc plan 0 "$KIJIL" plan run.yaml --data o/order
has plan out '^epochs'
"$KIJIL" mix plan.yaml --tokens 3880 -q -o order3
all=$(jq .tokens order3/order.json)
steps=$((all / 160))
rc train 0 "$KIJIL" train run.yaml --data order3 --steps $steps -j1 -o m
has train err 'tokens in the order'
is "tokens" "$(jq .tokens m/parts.json)" $((steps * 160))
diff=$(jq -s '[.[0].parts, .[1].parts] | transpose | map((.[0].tokens - .[1].tokens) | if . < 0 then -. else . end) | add' m/parts.json order3/order.json)
[[ $diff -eq $((all - steps * 160)) ]] && ok || bad "parts differ from the plan by $diff tokens"
killed 60 "$KIJIL" train run.yaml --data order3/order.json --steps $steps -q -j1 -o n
is "it was killed" $kills 1
rc resumed 0 "$KIJIL" train run.yaml --data order3/order.json --steps $steps -q -j2 -o n
same "killed and resumed" m/model/model.safetensors n/model/model.safetensors
same "parts of the whole run" m/parts.json n/parts.json
rc other-data 2 "$KIJIL" train run.yaml --data again --steps $((steps + 1)) -q -o n

sed 's/intermediate_size: 32/intermediate_size: 16/' run.yaml >narrow.yaml
rc "an order calibrates pruning" 0 "$KIJIL" prune m/model --to narrow.yaml --calib order3 --samples 20 -q -o narrow
rc "its shards do" 0 "$KIJIL" prune m/model --to narrow.yaml --calib rest --samples 20 -q -o narrow2
differ "the order has a say" narrow/importance.json narrow2/importance.json

# ---- damage, and what is wrong ----
for f in order.bin order.json; do
    cp -r order3 c
    printf 'x' | dd of=c/$f bs=1 seek=200 conv=notrunc status=none
    rc "$f altered" 1 "$KIJIL" check c -q
    has "$f is named" err "c/$f"
    truncate -s -1 c/$f
    rc "$f cut" 1 "$KIJIL" check c -q
    has "$f cut is named" err "c/$f"
    rm -r c
done
cp -r order3 c
sed -i 's/"seed":5/"seed":7/' c/order.json
rc "order.json, a digit" 1 "$KIJIL" check c -q
rm -r c
cp rest/manifest.jsonl keep
"$KIJIL" tokenize -t t.json -q -o rest --force docs.jsonl
rc stale 1 "$KIJIL" train run.yaml --data order3 -q -o x
has stale err 'rest/manifest.jsonl'
jq '.model.vocab["zzzz"] = 65499' t.json >wide.json
"$KIJIL" tokenize -t wide.json -o wide docs.jsonl -q
rc tokenizers 1 "$KIJIL" mix plan.yaml rest wide
has tokenizers err 'wide/manifest.jsonl.*another tokenizer'
bad_plan() { # NAME PATTERN SED
    sed "$3" plan.yaml >b.yaml
    rc "$1" 2 "$KIJIL" mix b.yaml
    has "$1 is told" err "$2"
}
bad_plan key "b.yaml:9: .*unknown key 'bands'" 's/band:/bands:/'
bad_plan budget 'tokens takes most, or a count' 's/tokens: 4000/tokens: 4k/'
bad_plan share 'either share or tokens' 's/share: 2, //'
bad_plan twin 'two parts korean' 's/name: papers/name: korean/'
bad_plan weights 'b.yaml:6: rehydrate' 's/^mix:/rehydrate: {3: 1, 2: 1}\nmix:/'
bad_plan epochs 'epochs' 's/epochs: 3/epochs: 3000/'
rc no-plan 2 "$KIJIL" mix
rc nothing 1 "$KIJIL" mix <(sed 's/language: en/language: xx/; s/source: arxiv/source: x/; s/"ko", "kor/"k", "kr/' plan.yaml)
has nothing err 'takes no document'
rc kanana1 0 "$KIJIL" mix "$TOP/recipes/kanana-stage1.yaml" rest data/deep/ko
has kanana1 out '^english web +200 .* 1.83T '
rc most 1 "$KIJIL" mix "$TOP/recipes/kanana-stage1.yaml" rest data/deep/ko --tokens most
has most err 'part code has no documents'
rc kanana2 0 "$KIJIL" mix "$TOP/recipes/kanana-stage2.yaml" rest data/deep/ko
has kanana2 out '^academic +20 .* 107B '
done_testing
