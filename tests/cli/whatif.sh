#!/bin/bash
# `kijil whatif`: the answer from stored values equals a real re-run with --set,
# for every kind of rule, in groups, behind other stages; and what it refuses.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Texts of all sizes, with repeated lines, symbols and long words, in three
# languages; some come twice, some are damaged.
awk 'BEGIN {
    srand(7)
    split("the of and to have with be that river mill house wind grain basket tosses winnowing mail@example.org #tag ... work", en, " ")
    split("그리고 키질은 바람에 곡식을 까부는 일이다. 오늘 사람들 마을에서 오래 전부터 10.1.2.3 ㅋㅋㅋ ... 집", ko, " ")
    for (i = 0; i < 1500; i++) {
        l = i % 3 == 0 ? "ko" : i % 3 == 1 ? "en" : "de"
        n = int(exp(rand() * 5.2)); t = ""; line = ""
        for (k = 0; k < n; k++) {
            w = l == "ko" ? ko[1 + int(rand() * 15)] : en[1 + int(rand() * (rand() < 0.3 ? 4 : 20))]
            line = line (line == "" ? "" : " ") w
            r = rand()
            if (r < 0.06) { t = t line ".\\n"; last = line; line = "" }
            else if (r < 0.09) { t = t line "\\n\\n"; line = "" }
            else if (r < 0.10) t = t last "\\n"
        }
        printf "{\"id\":\"d%d\",\"text\":\"%s\",\"url\":\"https://h%d.example/%d\",\"language\":\"%s\",\"language_score\":%.4f}\n", \
            i - (i % 50 == 49), t line, i % 5, i, l, 0.5 + rand() / 2
        if (i % 400 == 399) print "{\"id\":"
    }
}' >in.jsonl
cat >groups.yaml <<'YAML'
words: whitespace
rules:
  - lang.keep: [ko, en]
  - lang.min_score: 0.6
  - gopher.min_words: 40
  - fineweb.line_punct: 0.2
  - gopher.dup_lines: 0.3
  - when: {language: ko}
    rules:
      - gopher.min_words: 12
      - gopher.dup_lines: off
      - gopher.max_mean_word_len: 4
  - gopher.top_2gram: 0.2
  - pii.email: mask
YAML
ids() { jq -r .id "$1" | sort; }
kept() { # kept OUT OPTION... : ids that a real run keeps
    local out=$1
    shift
    "$KIJIL" filter -q -r ./groups.yaml "$@" in.jsonl | jq -r .id | sort >"$out"
}
kept now.ids
rc 'the run' 3 "$KIJIL" filter -q -r ./groups.yaml in.jsonl --ledger run.db -o out.jsonl

# try NAME SETS... : each RULE=VALUE through both
try() {
    local name=$1 word sets=()
    shift
    for word in "$@"; do sets+=(--set "$word"); done
    kept then.ids "${sets[@]}"
    rc "$name" 0 "$KIJIL" whatif run.db "$@" --changed changed.jsonl
    comm -13 now.ids then.ids >gained.want
    comm -23 now.ids then.ids >lost.want
    jq -r 'select(.change == "gained").id' changed.jsonl | sort >gained
    jq -r 'select(.change == "lost").id' changed.jsonl | sort >lost
    equal "$name: gained" gained gained.want
    equal "$name: lost" lost lost.want
    has "$name: kept now" "$T/out" "^kept now +$(printf "%'d" "$(wc -l <then.ids)" | sed ':a;s/\B[0-9]\{3\}\>/,&/;ta') "
    changes=$((changes + $(wc -l <changed.jsonl)))
}
changes=0
try 'looser' gopher.min_words=5
try 'stricter' gopher.min_words=60
try 'off' gopher.min_words=off
try 'share' fineweb.line_punct=0.05
try 'share in %' fineweb.line_punct=35%
try 'only in a group' gopher.max_mean_word_len=3.5
try 'several' gopher.min_words=20 lang.min_score=0.7 gopher.top_2gram=0.5
try 'list off' lang.keep=off
try 'several off' lang.keep=off gopher.top_2gram=off fineweb.line_punct=off
try 'at a value that occurs' lang.min_score="$(head -n 1 out.jsonl | jq .language_score)"
if [[ $changes -gt 500 ]]; then ok; else bad "only $changes changes: the test is weak"; fi

# A real re-run turns on what the recipe has off for a group: said, not guessed.
rc 'off in a group' 0 "$KIJIL" whatif run.db gopher.dup_lines=0.1
has 'off in a group: says so' "$T/out" 'belong to no group that measured it'

# The relation is what stays; names without min_ and max_.
rc 'relation' 0 "$KIJIL" whatif run.db 'gopher.min_words >= 30'
has 'relation: both groups' "$T/out" 'gopher.min_words: dropped < 40, < 12; now < 30'
rc 'short name' 0 "$KIJIL" whatif run.db 'gopher.mean_word_len<=3.5'
has 'short name' "$T/out" 'gopher.max_mean_word_len: dropped > 4; now > 3.5'
has 'languages' "$T/out" '^ko +[0-9]'
has 'sources' "$T/out" '^h0.example +[0-9]'
has 'examples: lost' "$T/out" '^    3\.[5-9][0-9]* +lost +ko +https://h[0-9].example/'
has 'examples: stay' "$T/out" '^    3\.[0-5][0-9]* +stays +ko +https://h[0-9].example/'
hasnt 'examples nearest first' "$T/out" 'gained +ko'
for bad in 'gopher.min_words<=30' 'gopher.min_words>30' 'nothing.here=1' 'gopher.min_words' \
    'gopher.min_words=2.5' 'fineweb.line_punct=30' 'lang.keep=ko' 'pii.email=1' 'fineweb.newlines=0.3'; do
    rc "refuse $bad" 2 "$KIJIL" whatif run.db "$bad"
done
rc 'refuse a rule twice' 2 "$KIJIL" whatif run.db gopher.min_words=3 'gopher.min_words>=4'
rc 'refuse a budget alone' 2 "$KIJIL" whatif run.db --budget 2B
rc 'no ledger' 1 "$KIJIL" whatif nothing.db

# Without a question: dropped first as the run counted, alone as --set ... off gives.
rc 'cuts' 0 "$KIJIL" whatif run.db
kept off.ids --set gopher.top_2gram=off
is 'cuts: alone' "$(awk '$1 == "gopher.top_2gram" {print $5}' "$T/out")" "$(comm -13 now.ids off.ids | wc -l)"
is 'cuts: first' "$(awk '$1 == "gopher.top_2gram" {print $4}' "$T/out")" \
    "$(sqlite3 run.db "select docs from reasons join rules using (rule) where name = 'gopher.top_2gram'")"

"$KIJIL" report run.db -o report.html
has 'report: alone' report.html "dropped first \([0-9.]+ %\), <b>$(comm -13 now.ids off.ids | wc -l)</b> alone \("

# The curve: every row is what a run at that cut keeps.
rc 'sweep' 0 "$KIJIL" whatif run.db --sweep gopher.min_words lang.min_score=0.7
awk '/^gopher.min_words/ {on = 1; next} on && $1 == "<" {gsub(",", "", $3); print $2, $3}' "$T/out" >curve
if [[ $(wc -l <curve) -gt 15 ]]; then ok; else bad "sweep: $(wc -l <curve) rows"; fi
while read -r cut n; do
    kept then.ids --set gopher.min_words="$cut" --set lang.min_score=0.7
    is "sweep at $cut" "$n" "$(wc -l <then.ids)"
done < <(sed -n '2p;8p;15p' curve)
cp "$T/out" sweep.txt
rc 'a ledger without documents' 0 "$KIJIL" filter -q -r gopher --ledger none.db -o none.jsonl /dev/null
rc 'sweep over nothing' 0 "$KIJIL" whatif none.db --sweep gopher.min_words
has 'sweep over nothing: says so' "$T/out" 'no document is decided by this rule'
rc 'json' 0 "$KIJIL" whatif run.db --sweep gopher.min_words lang.min_score=0.7 --json --budget 20K --bytes-per-token 3
cp "$T/out" sweep.json
is 'json: the same curve' "$(jq -r '.sweep.curve[] | "\(.cut) \(.kept.documents)"' sweep.json)" "$(cat curve)"
is 'json: the same counts' "$(jq -r '"\(.before.documents) \(.now.documents) \(.lost.documents) \(.gained.documents)"' sweep.json)" \
    "$(awk '/^(kept before|kept now|gained|lost) / {gsub(",", ""); v[$0 ~ /^kept/ ? $2 : $1] = $0 ~ /^kept/ ? $3 : $2}
        END {print v["before"], v["now"], v["lost"], v["gained"]}' sweep.txt)"
is 'json: by language' "$(jq '[.languages[] | .lost.documents] | add' sweep.json)" "$(jq .lost.documents sweep.json)"
is 'json: by source' "$(jq '[.sources[] | .lost.documents] | add' sweep.json)" "$(jq .lost.documents sweep.json)"
has 'curve: drawn' sweep.txt '█.* <- now'
rc 'budget' 0 "$KIJIL" whatif run.db --sweep gopher.min_words --budget 20K --bytes-per-token 3
cut=$(awk '/<- budget/ {print $2}' "$T/out")
tokens() { # bytes of text that a run at this cut keeps, in thirds
    "$KIJIL" filter -q -r ./groups.yaml --set gopher.min_words="$1" in.jsonl | jq -rj .text | wc -c | awk '{print int($1 / 3)}'
}
is 'json: budget' "$("$KIJIL" whatif run.db --sweep gopher.min_words --budget 20K --bytes-per-token 3 --json | jq -r .sweep.within.cut)" "$cut"
if [[ -n $cut && $(tokens "$cut") -le 20000 && $(tokens $((cut - 1))) -gt 20000 ]]; then ok; else
    bad "budget: cut [$cut] keeps $(tokens "$cut"), one less $(tokens $((cut - 1)))"
fi

# Scores: a language's and a classifier's, as another run would cut them
"$KIJIL" lid -q --keep ko,en --min-score 0.6 in.jsonl --ledger lid.db -o lid.jsonl
rc 'lid' 0 "$KIJIL" whatif lid.db 'lid.score>=0.9'
"$KIJIL" lid -q --keep ko,en --min-score 0.9 in.jsonl -o lid9.jsonl
is 'lid: as a run' "$(awk '/^kept now/ {gsub(",", "", $3); print $3}' "$T/out")" "$(wc -l <lid9.jsonl)"
rc 'lid: looser' 0 "$KIJIL" whatif lid.db lid.score=0.2
"$KIJIL" lid -q --keep ko,en --min-score 0.2 in.jsonl -o lid2.jsonl
is 'lid: looser, as a run' "$(awk '/^kept now/ {gsub(",", "", $3); print $3}' "$T/out")" "$(wc -l <lid2.jsonl)"
if [[ $(wc -l <lid9.jsonl) -lt $(wc -l <lid2.jsonl) ]]; then ok; else bad 'lid: the cuts make no difference'; fi
jq -r '(if .language == "ko" then "__label__hq " else "__label__lq " end) + (.text | gsub("\\s+"; " "))' lid.jsonl >train.txt
rc 'a classifier' 0 "$KIJIL" model train -q train.txt -o model.bin --dim 8 --epoch 2 --lr 0.05
"$KIJIL" classify -q -m model.bin --as edu --min 0.3 in.jsonl --ledger edu.db -o edu.jsonl
for min in 0.1 0.7; do
    "$KIJIL" classify -q -m model.bin --as edu --min $min in.jsonl -o edu2.jsonl
    rc "classify $min" 0 "$KIJIL" whatif edu.db "classify.edu>=$min"
    is "classify $min: as a run" "$(awk '/^kept now/ {gsub(",", "", $3); print $3}' "$T/out")" "$(wc -l <edu2.jsonl)"
done
rc 'classify: budget' 0 "$KIJIL" whatif edu.db --sweep classify.edu --budget 5K
has 'classify: budget' "$T/out" '<- budget'

# --mark: the verdicts change, no document does
"$KIJIL" filter -q --mark -r ./groups.yaml in.jsonl --ledger mark.db >mark.jsonl
rc 'mark' 0 "$KIJIL" whatif mark.db gopher.min_words=5 --changed changed.jsonl
kept then.ids --set gopher.min_words=5
is 'mark: changes' "$(wc -l <changed.jsonl)" "$(comm -3 now.ids then.ids | wc -l)"

# Behind and before other stages, in one ledger; restarted thresholds of a run
{ "$KIJIL" filter -q --set gopher.max_words=60 in.jsonl --ledger pipe.db |
    "$KIJIL" filter -q -r ./groups.yaml --ledger pipe.db |
    "$KIJIL" dedup exact -q --ledger pipe.db; } >pipe.jsonl
rc 'cuts of a pipe' 0 "$KIJIL" whatif pipe.db
has 'cuts of a pipe: the first filter too' "$T/out" '^gopher.max_words +> 60 '
# A rule that stands in several groups: each of its cuts has its own share.
is 'cuts of groups: first' "$(awk '$1 == "gopher.min_words" {n++; sum += $4} END {print (n > 1), sum}' "$T/out")" \
    "1 $(sqlite3 pipe.db "select sum(docs) from reasons join rules using (rule) where name = 'gopher.min_words'")"
# The same where the second process was the first to be there.
{ sleep 0.5; "$KIJIL" filter -q --set gopher.max_words=60 in.jsonl --ledger late.db; } |
    "$KIJIL" filter -q -r ./groups.yaml --ledger late.db >/dev/null
rc 'cuts of a pipe: begun late' 0 "$KIJIL" whatif late.db
has 'cuts of a pipe: begun late' "$T/out" '^stage filter of run 1 '
"$KIJIL" report pipe.db >report.txt
has 'report: the cuts of all groups' report.txt "^  gopher.min_words .* < 12 or 40$|^  gopher.min_words .* < 40 or 12$"
rc 'pipe' 0 "$KIJIL" whatif pipe.db fineweb.line_punct=0.5 --changed changed.jsonl
has 'pipe: later stages' "$T/out" 'later stages \(dedup\) are not replayed. Of the lost, [0-9]+ had'
"$KIJIL" filter -q --set gopher.max_words=60 in.jsonl >short.jsonl
"$KIJIL" filter -q -r ./groups.yaml short.jsonl | jq -r .id | sort >a.ids
"$KIJIL" filter -q -r ./groups.yaml --set fineweb.line_punct=0.5 short.jsonl | jq -r .id | sort >b.ids
comm -23 a.ids b.ids >lost.want
jq -r .id changed.jsonl | sort >lost
same 'pipe: what earlier stages dropped stays out' lost lost.want
# The same rule measured again later, on other text: an error and no estimate.
sqlite3 run.db "update signals set value = 1000 where rule = (select rule from rules where name = 'gopher.min_words') and doc < 50"
rc 'values that do not fit' 1 "$KIJIL" whatif run.db gopher.min_words=5
has 'values that do not fit: says so' "$T/err" 'do not give the decisions on [0-9]+ documents'

# Shards of one run count together
for i in 0 1; do
    "$KIJIL" filter -q -r ./groups.yaml --shard $i/2 in.jsonl --ledger shards.db >/dev/null
done
rc 'shards' 0 "$KIJIL" whatif shards.db gopher.min_words=5 --changed changed.jsonl
is 'shards: changes' "$(jq -r .id changed.jsonl | sort | md5sum)" "$(comm -3 now.ids then.ids | tr -d '\t' | sort | md5sum)"

# Fewer values
"$KIJIL" filter -q -r ./groups.yaml in.jsonl --ledger part.db --signals sample=0.3 >/dev/null
rc 'sample' 0 "$KIJIL" whatif part.db gopher.min_words=5
has 'sample: says so' "$T/out" 'ESTIMATE: values were kept of [3-6][0-9][0-9] of 1[0-9]{3} documents'
"$KIJIL" filter -q -r ./groups.yaml in.jsonl --ledger none.db --signals none >/dev/null
is 'none' "$(sqlite3 none.db 'select count(*) from signals')" 0
rc 'none: refused' 1 "$KIJIL" whatif none.db gopher.min_words=5
has 'none: says why' "$T/err" 'kept no values'
rc 'bad --signals' 2 "$KIJIL" filter -r ./groups.yaml in.jsonl --signals sample=2

done_testing
