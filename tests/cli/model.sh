#!/bin/bash
# kijil model: train, test and quantize, from fastText's format and from JSONL.
. "$(dirname "$0")/lib.sh"

# Two topics over words of their own and words in common.
awk 'BEGIN {
    srand(3)
    for (i = 0; i < 1200; i++) {
        c = i % 3 == 0
        printf "__label__%s", c ? "rare" : "common"
        for (n = 4 + int(rand() * 12); n > 0; n--)
            printf " %s%d", rand() < 0.5 ? "w" : c ? "한글" : "latin", rand() * 90
        print ""
    }
}' >all.txt
awk 'NR % 4 != 0' all.txt >train.txt
awk 'NR % 4 == 0' all.txt >held.txt
opts=(--dim 12 --epoch 8 --lr 0.5 --word-ngrams 2 --bucket 3000)

rc "train" 0 "$KIJIL" model train train.txt -o a.bin "${opts[@]}"
has "says what it did" err 'model train: [0-9]+ tokens, [0-9]+ words, 2 labels'
rc "train again" 0 "$KIJIL" model train -q train.txt -o b.bin "${opts[@]}"
same "the same text gives the same bytes" a.bin b.bin
rc "from a pipe" 0 bash -c "zstd -qc train.txt | '$KIJIL' model train -q - -o c.bin ${opts[*]}"
same "compressed input, the same bytes" a.bin c.bin
rc "another seed" 0 "$KIJIL" model train -q train.txt -o d.bin "${opts[@]}" --seed 5
differ "the seed counts" a.bin d.bin
rc "two threads" 0 "$KIJIL" model train -q -j2 train.txt -o t.bin "${opts[@]}"

rc "test" 0 "$KIJIL" model test a.bin held.txt
cp out report
is "lines counted" "$(head -n1 report)" $'N\t300'
is "it learned" "$(awk '$1 == "P@1" {print ($2 > 0.95)}' report)" 1
is "one label a line: precision is recall" \
    "$(awk '$1 == "P@1" {print $2}' report)" "$(awk '$1 == "R@1" {print $2}' report)"
has "per label" report $'^__label__rare\t[01][.][0-9]+\t[01][.][0-9]+\t0[.][0-9]+\t100\t[0-9]+$'
rc "test k 2" 0 "$KIJIL" model test -k 2 a.bin held.txt
has "two of two labels find all" out $'^R@2\t1[.]0000$'
has "half of them are wrong" out $'^P@2\t0[.]5000$'

# ---- curves ----
rc "curve" 0 "$KIJIL" model test --curve rare --curve __label__common a.bin held.txt
same "follows the table" <(head -n "$(wc -l <report)" out) report
has "a plot of it" out $'^[01][.][0-9]+\t1[.]0000\t0[.][0-9]{4}\t[01][.][0-9]{4}\t#{30}$'
has "both labels" out '^precision and recall of __label__common, 200 of 300 lines$'
rc "as JSON" 0 "$KIJIL" model test --json --curve rare a.bin held.txt
cp out curve.json
is "lines in the bins" "$(jq '[.reliability[].lines] | add' curve.json)" 300
is "recall rises, the cut falls" "$(jq '[.curve[].recall] == ([.curve[].recall] | sort) and
    [.curve[].cut] == ([.curve[].cut] | sort | reverse) and (.curve[-1].recall == 1)' curve.json)" true
if command -v fasttext >/dev/null && command -v python3 >/dev/null; then
    cut -d' ' -f2- held.txt | fasttext predict-prob a.bin - -1 >probs
    is "as counted from fasttext's probabilities" "$(python3 - <<'P'
import json
gold = [x.startswith("__label__rare ") for x in open("held.txt", encoding="utf-8")]
rows = [x.split() for x in open("probs", encoding="utf-8")]
score = [float(r[r.index("__label__rare") + 1]) for r in rows]
c = json.load(open("curve.json", encoding="utf-8"))
# of two labels the one that loses scores 1 minus the other, as `classify` has it
score = [s if s >= 0.5 else 1 - float(r[r.index("__label__common") + 1]) for s, r in zip(score, rows)] \
    if len(rows[0]) == 4 else score
# fasttext prints six digits, so a cut may fall a little to the side
def near(cut): return [(s >= cut - 2e-6, g) for s, g in zip(score, gold)]
bad = 0
for q in c["curve"]:
    t = [g for s, g in near(q["cut"]) if s]
    bad += abs(sum(t) / len(t) - q["precision"]) > 0.011 or abs(sum(t) / sum(gold) - q["recall"]) > 0.011
order = sorted(zip(score, gold), reverse=True)
right, ap = 0, 0
for i, (s, g) in enumerate(order):
    right += g
    ap += g * right / (i + 1)
bad += abs(ap / sum(gold) - c["average_precision"]) > 2e-3
ece = 0
for k in range(10):
    b = [(min(s, 1), g) for s, g in zip(score, gold) if min(9, int(min(s, 1) * 10)) == k]
    if b:
        ece += abs(sum(s for s, _ in b) - sum(g for _, g in b)) / len(score)
bad += abs(ece - c["calibration_error"]) > 5e-3
print(bad)
P
)" 0
fi
# A cut is what `classify --min` keeps the same lines with, to the last digit.
awk '{label = $1; sub(/^[^ ]+ /, ""); gsub(/["\\]/, ""); printf "{\"id\":\"%d\",\"text\":\"%s\",\"gold\":\"%s\"}\n", NR, $0, label}' held.txt >held.jsonl
bad_cuts=0
while read -r cut recall precision; do
    "$KIJIL" classify -q -m a.bin --as s --label rare --min "$cut" held.jsonl -o at.jsonl
    [[ $(jq -s --argjson all "$(grep -c '^__label__rare ' held.txt)" \
        '[.[] | select(.gold == "__label__rare")] | length / $all * 1e6 | round' at.jsonl) == "$recall" &&
        $(jq -s '([.[] | select(.gold == "__label__rare")] | length) / length * 1e6 | round' at.jsonl) == "$precision" ]] ||
        bad_cuts=$((bad_cuts + 1))
done < <(jq -r '.curve[] | "\(.cut) \(.recall * 1e6 | round) \(.precision * 1e6 | round)"' curve.json)
is "cuts are those of classify" "$bad_cuts" 0
grep -v '^__label__rare ' held.txt >common.txt
rc "one label only" 0 "$KIJIL" model train common.txt -o one.bin --dim 2 --epoch 1
has "one label only: a warning" "$T/err" 'warning: there is one label only'
rc "a label that no line has" 1 "$KIJIL" model test --curve rare a.bin common.txt
has "a label that no line has: says so" "$T/err" "no line has the label 'rare'"
rc "an absent label" 2 "$KIJIL" model test --curve none a.bin held.txt
rc "JSON of nothing" 2 "$KIJIL" model test --json a.bin held.txt

# ---- autotune ----
T4=("$KIJIL" model autotune train.txt --validation held.txt --lr 0.01 --epoch 1 --dim 4 --bucket 2000)
rc "the given options alone" 0 "${T4[@]}" --trials 1 -o t1.bin
rc "are train's" 0 "$KIJIL" model train -q train.txt --lr 0.01 --epoch 1 --dim 4 --bucket 2000 -o t1.train
same "the same model" t1.bin t1.train
rc "autotune" 0 "${T4[@]}" --trials 16 -o t8.bin
cp err tune
f1=$(awk '/model autotune: F1/ {print $6}' tune)
rc "its model" 0 "$KIJIL" model test t8.bin held.txt
is "is as good as it says" "$(awk '$1 == "P@1" {print $2}' out)" "$f1"
is "it is the best of the trials" "$(awk '/^trial/ {if ($4 > m) m = $4} END {print m}' tune)" "$f1"
is "better than what was given" "$(awk -v f="$f1" '/^trial 1:/ {print (f > $4 + 0.05)}' tune)" 1
# shellcheck disable=SC2046
rc "the options it names" 0 "$KIJIL" model train -q train.txt -o t8.train \
    $(grep 'model autotune: F1' tune | sed 's/.* with //')
rc "autotune again" 0 "${T4[@]}" -q --trials 16 -o t8b.bin
same "the same trials, the same bytes" t8.bin t8b.bin
rc "one label" 0 "${T4[@]}" -q --trials 2 --tune-metric f1:rare -o tl.bin
rc "by time" 0 "${T4[@]}" -q --trials 0 --duration 0.1 -o td.bin
rc "an absent label" 2 "${T4[@]}" --tune-metric f1:none -o tx.bin
rc "no validation" 2 "$KIJIL" model autotune train.txt -o tx.bin
rc "no end" 2 "${T4[@]}" --trials 0 -o tx.bin
rc "not searched" 2 "${T4[@]}" --fix ws -o tx.bin
rc "the loss is searched" 0 "${T4[@]}" --trials 12 --fix lr,dim -o tf.bin
is "more than one" "$(sed -n 's/^trial.*--loss \([a-z]*\).*/\1/p' err | sort -u | wc -l | awk '{print ($1 > 1)}')" 1
is "what is fixed stays" "$(sed -n 's/^trial.*--lr \([^ ]*\).*--dim \([^ ]*\).*/\1 \2/p' err | sort -u)" "0.01 4"
rc "a loss that is fixed" 0 "${T4[@]}" --trials 12 --loss ova --fix loss -o tf.bin
is "stays too" "$(sed -n 's/^trial.*--loss \([a-z]*\).*/\1/p' err | sort -u)" ova

# ---- autotune to a size: the model fits, is as good as it says, and can be made again ----
TS=("${T4[@]}" --trials 6 --autotune-modelsize)
for size in 20K 60K 10M; do
    rc "at most $size" 0 "${TS[@]}" $size -o ts.ftz
    cp err tune
    is "$size: it fits" "$(($(stat -c %s ts.ftz) <= $(numfmt --from=si "$size")))" 1
    f1=$(awk '/model autotune: F1/ {print $6}' tune)
    rc "$size: its model" 0 "$KIJIL" model test ts.ftz held.txt
    is "$size: is as good as it says" "$(awk '$1 == "P@1" {print $2}' out)" "$f1"
    # shellcheck disable=SC2046
    rc "$size: train with the options it names" 0 "$KIJIL" model train -q train.txt -o ts.bin \
        $(grep 'model autotune: F1' tune | sed 's/.* with //')
    # shellcheck disable=SC2046
    rc "$size: and quantize" 0 "$KIJIL" model quantize -q ts.bin train.txt -o again.ftz \
        $(sed -n 's/.*as by model quantize //p' tune)
    same "$size: the same model" ts.ftz again.ftz
    if command -v fasttext >/dev/null; then
        rc "$size: fastText reads it" 0 fasttext test ts.ftz held.txt
        is "$size: and agrees" "$(awk '$1 == "P@1" {printf "%.3f", $2}' out)" "$(printf %.3f "$f1")"
    fi
done
is "sub-vectors are searched" "$(sed -n 's/^trial.*--dsub \([0-9]*\).*/\1/p' tune | sort -u | wc -l | awk '{print ($1 > 1)}')" 1
rc "a larger one uses its room" 0 "${T4[@]}" -q --trials 1 --dim 16 --minn 2 --maxn 4 --bucket 50000 \
    --autotune-modelsize 60K -o tr.ftz
is "nearly all of it" "$(($(stat -c %s tr.ftz) > 50000))" 1
rc "too small a size" 1 "${TS[@]}" 2K -o tx.bin
has "named" err 'no trial made a model of at most 2000 bytes'
is "nothing is left" "$(ls tx.bin 2>/dev/null)" ""

# ---- JSONL ----
jq -Rc 'split(" ") | {id: "x", text: (.[1:] | join("\n")), topic: (.[0] | ltrimstr("__label__"))}' \
    train.txt >train.jsonl
rc "train from documents" 0 "$KIJIL" model train -q --jsonl --label-field topic train.jsonl \
    -o j.bin "${opts[@]}"
same "lines of a document become one line" a.bin j.bin
printf '{"id":"1","text":"a b","topic":["x y","z"]}\n{"id":"2","text":"c d","topic":3}\nbad\n' >odd.jsonl
rc "odd labels" 3 "$KIJIL" model train -q --jsonl --label-field topic odd.jsonl -o odd.bin --dim 2
has "a list gives several labels" odd.bin '__label__x_y'
has "a number is a label" odd.bin '__label__3'
has "the bad line is told" err '1 damaged line'
rc "a label by the name that the documents have" 0 "$KIJIL" classify -q -m odd.bin --as s --label 'x y' train.jsonl -o odd.jsonl

# ---- quantize ----
rc "quantize" 0 "$KIJIL" model quantize a.bin -q -o q.ftz --cutoff 400 --qnorm
rc "again" 0 "$KIJIL" model quantize a.bin -q -o q2.ftz --cutoff 400 --qnorm
same "quantize gives the same bytes" q.ftz q2.ftz
is "it is smaller" $(($(stat -c %s q.ftz) * 4 < $(stat -c %s a.bin))) 1
rc "test the small one" 0 "$KIJIL" model test q.ftz held.txt
is "it still knows" "$(awk '$1 == "P@1" {print ($2 > 0.9)}' out)" 1
rc "retrain" 0 "$KIJIL" model quantize a.bin train.txt -q -o r.ftz --cutoff 400 --retrain
rc "test the retrained one" 0 "$KIJIL" model test r.ftz held.txt
is "it knows too" "$(awk '$1 == "P@1" {print ($2 > 0.9)}' out)" 1

if command -v fasttext >/dev/null; then
    fasttext test a.bin held.txt >theirs
    is "fasttext test agrees on N" "$(grep -a '^N' theirs)" "$(grep '^N' report)"
    is "fasttext test agrees on P@1" "$(awk '/^P@1/ {print $2}' theirs)" \
        "$(awk '/^P@1/ {printf "%.3g", $2}' report)"
    fasttext predict q.ftz held.txt >p.theirs && ok
    is "fasttext reads the small one" "$(sort -u p.theirs | tr '\n' ' ')" \
        "__label__common __label__rare "
else
    skip "no fasttext program"
fi

# ---- wrong use ----
head -c 500 a.bin >cut.bin
rc "a truncated model" 1 "$KIJIL" model test cut.bin held.txt
has "with its place" err 'cut\.bin:[0-9]+: .*fastText model'
rc "no model" 1 "$KIJIL" model test none.bin held.txt
rc "no verb" 2 "$KIJIL" model
rc "unknown verb" 2 "$KIJIL" model learn
rc "no labels" 1 "$KIJIL" model train -q -o x.bin <(echo no labels here)
has "says so" err '__label__'
rc "bad option" 2 "$KIJIL" model train -q --dim 0 train.txt -o x.bin
rc "n-grams without buckets" 2 "$KIJIL" model train -q --word-ngrams 2 --bucket 0 train.txt -o x.bin
rc "quantize a small one" 1 "$KIJIL" model quantize q.ftz -o x.ftz
rc "retrain without text" 2 "$KIJIL" model quantize a.bin --cutoff 9 --retrain -o x.ftz
if [[ -e x.bin || -e x.ftz ]]; then bad "a failed command left a file"; else ok; fi
rc "foreign text" 1 "$KIJIL" model test a.bin <(echo "word alone")
done_testing
