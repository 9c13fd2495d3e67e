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

# On a GPU (an emulated one) rows are added in the same order: the same bytes.
emu=$(dirname "$KIJIL")/tests/cuda_emu/kijil-cuda.so
if [[ -e $emu ]]; then
    export KIJIL_CUDA_SO=$emu
    rc "on a GPU" 0 "${C[@]}" --device cuda in.jsonl -o outg.jsonl
    same "a GPU gives the same bytes" out.jsonl outg.jsonl
    rc "auto, a small model" 0 "$KIJIL" classify -m m.bin --as edu_score in.jsonl -o outg.jsonl
    has "stays with the processor, and says so" err '^kijil classify: on the CPU: its caches hold'
    head -n 60 in.jsonl >few.jsonl
    "$KIJIL" model train -q train.txt -o large.bin --dim 64 --epoch 1 --word-ngrams 2 --bucket 140000
    rc "auto, a large one" 0 "$KIJIL" classify -m large.bin --as edu_score few.jsonl -o outg.jsonl
    has "takes the GPU, and says so" err '^kijil classify: on the GPU: .* \(sm_'
    "$KIJIL" classify -q -m large.bin --as edu_score --device cpu few.jsonl -o outc.jsonl
    same "the same bytes" outc.jsonl outg.jsonl
    # 36 MB beside some 40 of a back end's own
    KJ_EMU_USABLE=70 rc "auto, a full GPU" 0 "$KIJIL" classify -m large.bin --as edu_score few.jsonl -o outf.jsonl
    has "leaves it, and says so" err '^kijil classify: on the CPU: no GPU: .*no GPU memory for'
    same "the same bytes again" outc.jsonl outf.jsonl
    unset KIJIL_CUDA_SO
else
    skip "no emulated GPU was built"
fi
KIJIL_CUDA_SO=/nowhere rc "no GPU" 2 "${C[@]}" --device cuda in.jsonl -o x
has "no GPU is said" err 'no GPU: '

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
rc "top 0 would keep all" 2 "${C[@]}" --keep-top 0 in.jsonl
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

# ---- the cut from a sample ----
rc "sample" 0 "${C[@]:0:2}" "${C[@]:3}" --keep-top 20% --sample 40% --seed 5 -j1 in.jsonl -o s1.jsonl --ledger s.db
has "sample: the cut" err 'edu_score: the best 20 % are those from 0\.[0-9]+ up; from a sample: with 95 % confidence'
has "sample: its interval" err 'the exact cut is in 0\.[0-9]+\.\.0\.[0-9]+, and [0-9.]+\.\.[0-9.]+ % of the documents'
has "sample: its size" err 'are above this one \(3[0-9]{2} of 900 documents looked at\)'
rc "sample -j4" 0 "${C[@]}" --keep-top 20% --sample 40% --seed 5 -j4 in.jsonl -o s4.jsonl
same "sample: -j4 gives the same bytes" s1.jsonl s4.jsonl
jq -r .id s1.jsonl | sort >ids
rc "sample, shuffled" 0 bash -c "shuf --random-source=<(yes) in.jsonl |
    '${C[0]}' ${C[*]:1} --keep-top 20% --sample 40% --seed 5 | jq -r .id | sort >ids2"
same "sample: the order does not matter" ids ids2
for i in 0 1 2; do "${C[@]}" --keep-top 20% --sample 40% --seed 5 --shard $i/3 in.jsonl; done | jq -r .id | sort >ids3
same "sample: shards together are the whole" ids ids3
rc "sample of all" 0 "${C[@]}" --keep-top 20% --sample 100% in.jsonl -o all.jsonl
same "sample of all: exact" all.jsonl top.jsonl
rc "exact" 0 "${C[@]:0:2}" "${C[@]:3}" --keep-top 20% in.jsonl -o top.jsonl
has "exact: the cut" err 'the best 20 % are those from 0\.[0-9]+ up \(900 of 900 documents looked at\)'
if command -v sqlite3 >/dev/null; then
    cut=$(jq .edu_score top.jsonl | sort -g | head -n1)
    held=0 share=0
    for seed in {1..40}; do
        rm -f s.db
        "${C[@]}" --keep-top 20% --sample 40% --seed "$seed" in.jsonl -o s.jsonl --ledger s.db
        n=$(wc -l <s.jsonl)
        read -r a b < <(sqlite3 -separator ' ' s.db "select $cut between low - 1e-9 and high + 1e-9,
            $n >= share_low * 900 - 0.01 and $n <= share_high * 900 + 0.01 from quantiles")
        held=$((held + a)) share=$((share + b))
    done
    # of 40 intervals of 95 %, 38; fewer than 33 come once in 100,000 times
    if [[ $held -ge 33 && $share -ge 33 ]]; then ok; else bad "sample: of 40 intervals $held and $share hold"; fi
fi
rc "sample alone" 2 "${C[@]}" --sample 40% in.jsonl
rc "sample with --min" 2 "${C[@]}" --min 0.3 --sample 40% in.jsonl
printf '{"id":"x","text":"w1"}\n' >one.jsonl
rc "sample without a document" 1 "${C[@]}" --keep-top 20% --sample 0.0001% one.jsonl
has "sample without a document: says so" err 'none of the 1 documents is in the --sample'
rc "no document at all" 0 "${C[@]}" --keep-top 20% --sample 1% /dev/null

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
