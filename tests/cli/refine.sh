#!/bin/bash
# kijil model refine: rounds that learn, the same files from every order, thread
# count and restart, and nothing of the held-out set in what is learned from.
. "$(dirname "$0")/lib.sh"

# Three topics make up the rare class, of which the seeds know one; documents
# that mix two topics lead from one to the next.
awk 'function word(t) { return rand() < 0.45 ? sprintf("w%d", rand() * 150) : sprintf("%s%d", t, rand() * 60) }
BEGIN {
    srand(11)
    split("가 나 다", topic, " ")
    for (i = 0; i < 4000; i++) {
        hq = rand() < 0.08
        a = 1 + int(rand() * 3); b = rand() < 0.5 ? a : 1 + int(rand() * 3)
        text = ""
        for (n = 10 + int(rand() * 20); n > 0; n--)
            text = text word(hq ? topic[rand() < 0.6 ? a : b] : rand() < 0.04 ? topic[1 + int(rand() * 3)] : "x") " "
        part = i % 5 == 4 ? "held" : "pool"
        if (hq && a == 1 && b == 1 && seeds < 6) { part = "seeds"; seeds++ }
        if (!hq && others < 6) { part = "seeds"; others++ }
        printf "{\"id\":\"d%d\",\"text\":\"%s\",\"url\":\"https://www.%s.example/%d\",\"edu\":%d}\n", i, text,
            hq ? "school" a : "shop" i % 7, i, hq ? 3 + i % 3 : i % 3 >part ".jsonl"
    }
    # what must not be learned from: the held-out set under its ids and others
    close("held.jsonl")
    while ((getline line <"held.jsonl") > 0) {
        print line >"pool.jsonl"
        sub(/"id":"d/, "\"id\":\"copy", line)
        print line >"pool.jsonl"
    }
    print "{\"id\":\"evil\",\"text\":\"x1 __label__hq x2 가3 __label____label__hq x3 x4\"}" >"pool.jsonl"
}'
opts=(--seeds seeds.jsonl --held held.jsonl --label-field edu --dim 10 --epoch 20 --lr 0.5
    --harvest 8% --rounds 5 --balance 3 --updates 8000)
R=("$KIJIL" model refine "${opts[@]}")

rc "rounds" 0 "${R[@]}" pool.jsonl -o a
rounds=$(wc -l <a/rounds.jsonl)
has "says why it stopped" err '^stop: (all rounds are done|the held-out set gained less than epsilon)'
is "a line a round" "$(jq -s 'map(.round) == [range(1; length + 1)]' a/rounds.jsonl)" true
is "rounds help" "$(jq -s '([.[].held.average_precision] | max) - .[0].held.average_precision > 0.02' a/rounds.jsonl)" true
is "recall rises" "$(jq -s '.[-1].held.at.recall > .[0].held.at.recall' a/rounds.jsonl)" true
best=$(jq -s 'sort_by(-.held.average_precision, .round)[0].round' a/rounds.jsonl)
same "model.bin is of the best round" a/model.bin "$(printf 'a/round-%02d/model.bin' "$best")"
is "only the last says why" "$(jq -s '[.[].stop != null] | (.[-1] and (.[:-1] | any | not))' a/rounds.jsonl)" true

# Figures against what other programs say of the same files.
d=$(printf 'a/round-%02d' "$rounds")
is "few lines, many epochs" "$(jq -s 'all(.train | .epoch * (.seed_positives + .harvested + .seed_negatives + .drawn) >= 8000)' a/rounds.jsonl)" true
rc "the text is fastText's" 0 "$KIJIL" model train -q "$d/train.txt" -o again.bin --dim 10 --lr 0.5 \
    --epoch "$(jq .train.epoch "$d/round.json")"
same "and gives the same model" again.bin "$d/model.bin"
is "counts of the text" \
    "$(jq -c '[.train.seed_positives + .train.harvested, .train.seed_negatives + .train.drawn]' "$d/round.json")" \
    "[$(grep -c '^__label__hq ' "$d/train.txt"),$(grep -c '^__label__cc ' "$d/train.txt")]"
"$KIJIL" classify -q -m "$d/model.bin" --as s held.jsonl -o held.scored
is "precision and recall" "$(jq -c '.held.at | [.precision, .recall]' "$d/round.json")" \
    "$(jq -sc '(map(select(.s >= 0.5)) | length) as $p | (map(select(.s >= 0.5 and .edu >= 3)) | length) as $r |
        [$r / $p, $r / (map(select(.edu >= 3)) | length)] | map(. * 1e6 | round / 1e6)' held.scored)"
for r in a/round-*; do # (the last one is only begun) the least score of what is taken: the lowest of precision 0.9
    [[ -e $r/round.json ]] || continue
    "$KIJIL" classify -q -m "$r/model.bin" --as s held.jsonl | jq -s 'sort_by(-.s)
        | [foreach .[] as $x ([0, 0]; [.[0] + 1, .[1] + if $x.edu >= 3 then 1 else 0 end]; {s: $x.s, n: .[0], right: .[1]})]
        | map(select(.right >= 0.9 * .n)) | last.s' >cut.own
    jq -e --slurpfile cut cut.own '(.harvest.cut - $cut[0] | fabs) < 1e-6 and
        (.harvest.docs == 0 or .harvest.lowest >= .harvest.cut)' "$r/round.json" >/dev/null || echo "$r"
done >cuts.wrong
is "cuts of precision" "$(cat cuts.wrong)" ""
"$KIJIL" classify -q -m "$d/model.bin" --as s pool.jsonl | jq -r '[.s, .id] | @tsv' >pool.scored
is "the harvest is the best of the pool" "$(jq -r .id "$d/harvest.jsonl" | sort)" \
    "$(grep -vwFf <(jq -r '.id, (.id | sub("d"; "copy"))' held.jsonl) pool.scored | sort -gr |
        head -n "$(wc -l <"$d/harvest.jsonl")" | cut -f2 | sort)"
is "nothing of the held-out set" \
    "$(cat a/round-*/harvest.jsonl | jq -r .id | grep -cxFf <(jq -r '.id, (.id | sub("d"; "copy"))' held.jsonl))" 0
is "its texts are in no training text" \
    "$(cut -d' ' -f2- a/round-*/train.txt | sed 's/ *$//' | grep -cxFf <(jq -r '.text | sub(" *$"; "")' held.jsonl))" 0
is "documents bring no labels" "$(cat a/round-*/train.txt | grep -c ' __label__')" 0
is "positives grow as told" "$(jq -s 'all(.harvest.docs + .train.seed_positives <=
    4 * (.train.seed_positives + .train.harvested))' a/rounds.jsonl)" true
is "groups are hosts" "$(jq -r '.harvest.groups[].group' a/rounds.jsonl | grep -vc '\.example$')" 0
is "over-represented ones stand out" \
    "$(jq '.harvest.groups | all(if (.group | startswith("school")) then .lift > 2 else true end)' "$d/round.json")" true

# ---- the same files, however they came to be ----
shuf --random-source=<(yes) pool.jsonl >mixed.jsonl
rc "another order, three threads" 0 "${R[@]}" -q -j3 mixed.jsonl -o b
rc "nothing differs" 0 diff -r a b
rc "from a pipe" 0 bash -c "cat pool.jsonl | '${R[0]}' ${R[*]:1} -q - -o c"
rc "nothing differs" 0 diff -r -x settings.json a c
rm -r b/round-02/round.json b/round-03 b/rounds.jsonl b/model.bin
rc "restart by round" 0 "${R[@]}" pool.jsonl -o b
has "the first round was found" err '^round 1 [(]found done[)]'
rc "nothing differs" 0 diff -r a b
for n in 1 9 20 35; do
    rm -rf k
    killed $n "${R[@]}" -q pool.jsonl -o k
    "${R[@]}" -q pool.jsonl -o k
    rm -f k/*.tmp-* k/*/*.tmp-*
    rc "killed at $n" 0 diff -r a k
done
is "killed" $kills 4
rc "another seed" 0 "${R[@]}" -q --seed 7 pool.jsonl -o s
differ "the seed counts" a/round-01/train.txt s/round-01/train.txt
rc "other options in the same folder" 2 "${R[@]}" -q --harvest 9% pool.jsonl -o a
has "named" err 'settings.json'
tail -n 9 seeds.jsonl >few.jsonl
rc "other seeds in the same folder" 2 "${R[@]}" -q --seeds few.jsonl pool.jsonl -o a

# ---- other ways to stop, other labels ----
rc "no held-out set" 0 "$KIJIL" model refine "${opts[@]:0:2}" "${opts[@]:4}" --epsilon 0.3 pool.jsonl -o n
has "stops by the pool" err '^stop: the share of positives in the pool is stable'
jq -c '.edu |= if . >= 3 then "good" else "bad" end' seeds.jsonl >words.jsonl
rc "labels that are words" 0 "${R[@]:0:3}" --seeds words.jsonl --positive good "${opts[@]:4}" --rounds 1 \
    pool.jsonl -o w
is "as many" "$(jq -c '.train | [.seed_positives, .seed_negatives]' w/rounds.jsonl)" "[6,6]"
rc "a cut that nothing reaches" 0 "${R[@]}" --precision 0 --min-score 1 --updates 0 --epoch 1 --lr 0.01 \
    pool.jsonl -o z
has "says so" err 'no document of the pool reaches'
rc "a precision that nothing has" 0 "${R[@]}" --precision 1 --updates 0 --epoch 1 --lr 0.01 pool.jsonl -o y
has "says so" err 'no cut has the precision'
is "nothing was taken" "$(jq -c '[.harvest.cut, .harvest.docs]' y/rounds.jsonl)" "[null,0]"

# ---- the ledger ----
round6='map(map(if type == "number" then . * 1e6 | round else . end))'
rc "rounds into a ledger" 0 "${R[@]}" -q pool.jsonl -o l --ledger l.db
rc "the same rounds" 0 diff -r a l
is "figures are those of the folder" "$(sqlite3 l.db "select json_group_array(json_array(round, seed_positives +
    harvested, seed_negatives + drawn, epoch, average_precision, precision, recall, cut, taken, stop)) from refine_rounds" | jq -c "$round6")" \
    "$(jq -sc 'map([.round, .train.seed_positives + .train.harvested, .train.seed_negatives + .train.drawn, .train.epoch,
        .held.average_precision, .held.at.precision, .held.at.recall, .harvest.cut, .harvest.docs, .stop])' l/rounds.jsonl | jq -c "$round6")"
is "and domains" "$(sqlite3 l.db "select name, taken, lift from refine_domains where round = 2 order by ordinal")" \
    "$(jq -r 'select(.round == 2) | .harvest.groups[] | "\(.group)|\(.harvest)|\(.lift)"' l/rounds.jsonl)"
is "and examples" "$(sqlite3 l.db "select border, id from refine_examples where round = 1 order by border, ordinal")" \
    "$(jq -r 'select(.round == 1) | .harvest | (.best[] | "0|" + .id), (.border[] | "1|" + .id)' l/rounds.jsonl)"
is "a model that can be told by its hash" "$(sqlite3 l.db "select path, hash like 'xxh128:%' from outputs")" "l/model.bin|1"
is "what was read" "$(sqlite3 l.db "select group_concat(path, ' ') from (select path from inputs order by path)")" "held.jsonl pool.jsonl seeds.jsonl"
rc "the report" 0 "$KIJIL" report l.db -o l.html
has "has the rounds" l.html '<h2>Learning in rounds</h2>'
has "has examples" l.html "$(sqlite3 l.db "select id from refine_examples where round = $rounds limit 1")"
rc "the short report" 0 "$KIJIL" report l.db
has "has them too" out "round  $rounds "
rm -r l/round-02/round.json l/round-03
rc "the same again in the same run" 0 "${R[@]}" -q pool.jsonl -o l --ledger l.db
is "each round once" "$(sqlite3 l.db 'select count(*), count(distinct run) from refine_rounds')" "$rounds|1"
rc "other options" 0 "${R[@]}" -q --seed 7 --rounds 2 pool.jsonl -o l7 --ledger l.db
is "another run" "$(sqlite3 l.db 'select count(distinct run) from refine_rounds')" 2
rc "the books balance" 0 "$KIJIL" check l.db
timeout -s INT 0.3 "${R[@]}" -q --seed 8 pool.jsonl -o l8 --ledger l8.db
rc "after an interrupt" 0 "${R[@]}" -q --seed 8 pool.jsonl -o l8 --ledger l8.db
is "the run ended" "$(sqlite3 l8.db 'select count(*), max(status) from runs')" "1|ok"
is "with all rounds" "$(sqlite3 l8.db 'select count(*) from refine_rounds')" "$(wc -l <l8/rounds.jsonl)"
rc "no ledger" 1 "${R[@]}" -q --rounds 1 pool.jsonl -o q --ledger /dev/full
rc "not for training" 2 "$KIJIL" model train "$d/train.txt" -o t.bin --ledger t.db

# ---- wrong use ----
rc "no seeds" 2 "$KIJIL" model refine pool.jsonl -o x
rc "no folder" 2 "$KIJIL" model refine --seeds seeds.jsonl pool.jsonl
rc "no pool" 2 "${R[@]}" -o x
rc "labels elsewhere" 1 "${R[@]}" --label-field nothing pool.jsonl -o x
has "named" err "'nothing'"
rc "no positive" 1 "${R[@]}" --positive-min 99 pool.jsonl -o x
rc "missing pool" 1 "${R[@]}" none.jsonl -o x
is "nothing is left" "$(ls -d x 2>/dev/null)" ""
(cat seeds.jsonl && echo '{"id":"bad') >bad.jsonl
rc "a damaged seed" 3 "${R[@]:0:3}" --seeds bad.jsonl "${opts[@]:4}" --rounds 1 pool.jsonl -o f
(cat pool.jsonl && echo '{"id":"bad') >bad.jsonl
rc "a damaged document of the pool" 3 "${R[@]}" bad.jsonl -o g
has "told once" err '^1 damaged line'
rm g/settings.json a/settings.json
rc "and it costs itself alone" 0 diff -r a g
done_testing
