#!/bin/bash
# DCLM's filter as its code has it: " ".join(text.strip().splitlines()), the label that
# wins, its probability if that is hq and one minus it if it is cc, and kept is what is
# >= 0.018112. Model and predictions are those of Debian's fasttext, lines are Python's.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
if ! command -v fasttext >/dev/null || ! command -v python3 >/dev/null; then
    skip "no fasttext or python3 program"
    done_testing
fi

awk 'BEGIN {
    srand(8)
    for (i = 0; i < 1500; i++) {
        hq = rand() < 0.15
        printf "__label__%s", hq ? "hq" : "cc"
        for (n = 4 + int(rand() * 20); n > 0; n--)
            printf " %s%d", rand() < 0.7 ? "common" : hq ? "설명" : "click", rand() * 50
        print ""
    }
}' >train.txt
fasttext supervised -input train.txt -output dclm -dim 8 -wordNgrams 2 -bucket 5000 -epoch 12 -lr 0.5 \
    -minCount 1 -thread 1 >/dev/null 2>&1
# Texts with every line end and white space that Python knows, and what looks like labels
python3 - <<'P'
import json, random
random.seed(5)
ends = ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\n\n", " ", "\t",
        "\u3000", "\xa0", "\x1f"]
word = lambda hq: random.choice(["common", "common", "설명" if hq else "click"]) + str(random.randrange(55))
rows = []
for i in range(1200):
    hq = random.random() < 0.3
    t = "".join(word(hq) + random.choice(ends if random.random() < 0.3 else [" "]) for _ in range(random.randrange(2, 40)))
    rows.append(random.choice(["", "\n \u2028", "\xa0\n"]) + t + random.choice(["", "\n", "\r\n\r\n", " \x85"]))
rows += ["", "\n\n", "nothing known", "__label__hq common1", "common1 __label__cc click2", "</s>", "common3\x00click4",
         "\ufeffcommon5", "설명1 설명2\u200b설명3"]
with open("in.jsonl", "w") as out, open("lines", "w") as lines:
    for i, t in enumerate(rows):
        out.write(json.dumps({"id": f"d{i}", "text": t}) + "\n")
        line = " ".join(t.strip().splitlines())
        assert "\n" not in line
        # "</s>" ends a line of fasttext; its predict() looks at what is before it
        lines.write(line.split("</s>")[0] + "\n")
P
fasttext predict-prob dclm.bin lines 1 | awk '{printf "%.6f\n", $1 == "__label__hq" ? $2 : 1 - $2}' >theirs
is "a prediction for every line" "$(wc -l <theirs)" 1209
cut=0.018112
C=("$KIJIL" classify -q -m dclm.bin --as dclm_score)

rc "scores" 0 "${C[@]}" in.jsonl -o out.jsonl
jq .dclm_score out.jsonl >ours
is "scores are those of DCLM's code" \
    "$(paste ours theirs | awk '{d = $1 - $2; n += d > 1.2e-5 || d < -1.2e-5} END {print n + 0}')" 0
rc "the published cut" 0 "${C[@]}" --label __label__hq --min $cut in.jsonl -o kept.jsonl --rejects rej.jsonl
jq -r .id kept.jsonl | sort >got
awk -v cut=$cut '$1 >= cut {print "d" NR - 1}' theirs | sort >want
# the printed probabilities have six digits: what is that near the cut may go either way
awk -v cut=$cut '$1 - cut < 1.2e-5 && cut - $1 < 1.2e-5 {print "d" NR - 1}' theirs | sort >near
is "nearly no document is too near to tell" "$(($(wc -l <near) <= 2))" 1
same "kept is what DCLM's code keeps" <(comm -23 got near) <(comm -23 want near)
for f in kept rej; do
    if [[ $(wc -l <$f.jsonl) -gt 100 ]]; then ok; else bad "the cut decides nothing: $f $(wc -l <$f.jsonl)"; fi
done
rc "the label without its prefix" 0 "${C[@]}" --label hq --min $cut in.jsonl -o kept2.jsonl
same "the label without its prefix" kept.jsonl kept2.jsonl
"${C[@]}" --label cc in.jsonl | jq '1 - .dclm_score' >other
is "the other label is the rest" \
    "$(paste ours other | awk '{d = $1 - $2; n += d > 1e-6 || d < -1e-6} END {print n + 0}')" 0
# A score at the cut stays: >=, not >.
for i in 7 400 900; do
    s=$(sed -n "${i}p" ours)
    "${C[@]}" --min "$s" in.jsonl -o edge.jsonl
    is "a score at the cut $s stays" "$(jq -r .id edge.jsonl | grep -c "^d$((i - 1))$")" 1
    is "none below it" "$(jq "select(.dclm_score < $s)" edge.jsonl | wc -l)" 0
done
rc "a model with other labels" 2 "$KIJIL" classify -q -m dclm.bin --as s --label high in.jsonl
done_testing
