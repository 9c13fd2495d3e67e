#!/bin/bash
# kijil classify: scores, cuts, and that what is kept depends on nothing but
# the documents.
. "$(dirname "$0")/lib.sh"

awk 'BEGIN {
    srand(4)
    for (i = 0; i < 900; i++) {
        c = rand() < 0.3
        printf "%s\t", c ? "hq" : "cc"
        for (n = 3 + int(rand() * 12); n > 0; n--)
            printf "%s%d ", rand() < 0.6 ? "w" : c ? "한글" : "latin", rand() * 60
        print ""
    }
}' >rows
awk -F'\t' '{print "__label__" $1, $2}' rows >train.txt
# every third document shares its text with another: equal scores
awk -F'\t' '{t = NR % 3 == 0 ? last : $2; last = $2
    gsub(/ /, "\\n", t)
    printf "{\"id\":\"d%d\",\"text\":\"%s\",\"extra\":%d}\n", NR, t, NR}' rows >in.jsonl
"$KIJIL" model train -q train.txt -o m.bin --dim 8 --epoch 3 --lr 0.3 --word-ngrams 2 --bucket 2000
C=("$KIJIL" classify -q -m m.bin --as edu_score)

rc "score" 0 "${C[@]}" in.jsonl -o out.jsonl
is "nothing is dropped" "$(wc -l <out.jsonl)" 900
is "each has a score in 0..1" \
    "$(jq -r 'select(.edu_score >= 0 and .edu_score <= 1) | .id' out.jsonl | wc -l)" 900
has "other fields stay" out.jsonl '"extra":900,"edu_score":[0-9.e-]+'
for j in 2 4; do
    rc "-j$j" 0 "${C[@]}" -j$j in.jsonl -o outj.jsonl
    same "-j$j gives the same bytes" out.jsonl outj.jsonl
done
rc "a pipe" 0 bash -c "cat in.jsonl | '${C[0]}' ${C[*]:1} >outp.jsonl"
same "a pipe gives the same bytes" out.jsonl outp.jsonl

if command -v fasttext >/dev/null; then
    jq -r '.text | gsub("\n"; " ")' in.jsonl | fasttext predict-prob m.bin - 1 |
        awk '{printf "%.5f\n", $1 == "__label__hq" ? ($2 > 1 ? 1 : $2) : 1 - $2}' >theirs
    jq -r .edu_score out.jsonl | awk '{printf "%.5f\n", $1}' >ours
    is "scores are those of fasttext" \
        "$(paste ours theirs | awk '{d = $1 - $2; n += d > 2e-5 || d < -2e-5} END {print n + 0}')" 0
else
    skip "no fasttext program"
fi

# ---- cuts ----
rc "min" 0 "${C[@]}" --min 0.4 in.jsonl -o cut.jsonl --rejects rej.jsonl
is "in = kept + dropped" $(($(wc -l <cut.jsonl) + $(wc -l <rej.jsonl))) 900
is "kept are above" "$(jq 'select(.edu_score < 0.4)' cut.jsonl | wc -l)" 0
is "dropped are below" "$(jq 'select(.edu_score >= 0.4)' rej.jsonl | wc -l)" 0
has "with rule and value" rej.jsonl \
    '"drop":\{"stage":"classify","rule":"classify.edu_score","value":0\.[0-9]+,"threshold":0\.4\}'
is "the value is the score" \
    "$(jq -c 'select(.drop.value != .edu_score)' rej.jsonl | wc -l)" 0

for p in 10% 33.3% 0.5 100%; do
    rc "top $p" 0 "${C[@]}" --keep-top $p in.jsonl -o top.jsonl
    is "exactly $p" "$(wc -l <top.jsonl)" \
        "$(awk -v p="$p" 'BEGIN {p = p ~ /%/ ? p / 100 : p; n = p * 900
            print int(n) == n ? n : int(n) + 1}')"
done
rc "top" 0 "${C[@]}" --keep-top 20% in.jsonl -o top.jsonl --rejects rej.jsonl
worst=$(jq .edu_score top.jsonl | sort -g | head -n1)
best=$(jq .edu_score rej.jsonl | sort -g | tail -n1)
is "none dropped is better than one kept" \
    "$(awk -v w="$worst" -v b="$best" 'BEGIN {print b <= w}')" 1
jq -r .id top.jsonl | sort >ids
rc "top, shuffled, 4 threads" 0 bash -c "shuf --random-source=<(yes) in.jsonl |
    '${C[0]}' ${C[*]:1} -j4 --keep-top 20% >top2.jsonl"
jq -r .id top2.jsonl | sort >ids2
same "the order does not matter" ids ids2
for i in 0 1 2; do
    rc "shard $i" 0 "${C[@]}" --keep-top 20% --shard $i/3 in.jsonl -o shard$i.jsonl
done
cat shard?.jsonl | jq -r .id | sort >ids3
same "shards together are the whole" ids ids3

# ---- odd documents ----
printf '%s\n' '{"id":"a","text":""}' '{"id":"b","text":"unknown only"}' 'damage' \
    '{"id":"c","text":"한글3 한글4 </s> latin5"}' >odd.jsonl
rc "odd documents" 3 "${C[@]}" odd.jsonl -o odd.out
is "the rest goes on" "$(wc -l <odd.out)" 3

# ---- wrong use ----
rc "no model" 2 "$KIJIL" classify in.jsonl
rc "absent label" 2 "${C[@]}" --label none in.jsonl
has "named" err "no label 'none'"
rc "name of a field" 2 "$KIJIL" classify -m m.bin --as text in.jsonl
rc "two cuts" 2 "${C[@]}" --min 0.1 --keep-top 5% in.jsonl
rc "share over 1" 2 "${C[@]}" --keep-top 110% in.jsonl
head -c 300 m.bin >cut.bin
rc "truncated model" 1 "$KIJIL" classify -m cut.bin --as s in.jsonl
has "with file and place" err 'cut\.bin:[0-9]+'
is "and no document was read" "$(wc -c <out)" 0
done_testing
