#!/bin/bash
# `kijil filter`: pipeline, options, recipes and their faults, -j1 = -j4.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Documents: 3 x 200 in turn, long enough to survive gopher, too short, repeated.
good='The history of the village begins with the river, and most of its houses still stand near the water that gave it work.'
good+=' People have told this story to each of their children for many years, because it explains why the mill was built where it is and not on the hill above.'
for i in {1..200}; do
    printf '{"id":"good-%d","text":"%s %d","language":"en","language_score":0.9}\n' "$i" "$good" "$i"
    printf '{"id":"short-%d","text":"only a few words %d","language":"en","language_score":0.9}\n' "$i" "$i"
    printf '{"id":"dup-%d","text":"%s\\n\\n%s\\n\\n%s","language":"en","language_score":0.9}\n' "$i" "$good" "$good" "$good"
done >in.jsonl

rc 'gopher' 0 "$KIJIL" filter -r gopher in.jsonl -o out.jsonl --rejects rej.jsonl
is 'kept' "$(wc -l <out.jsonl)" 200
hasnt 'kept are good' out.jsonl '"id":"(short|dup)'
is 'rejected' "$(wc -l <rej.jsonl)" 400
has 'reason' rej.jsonl '"id":"short-1".*"drop":\{.*"rule":"gopher.top_2gram","value":0.33+,"threshold":0.2'
has 'first rule in order' rej.jsonl '"id":"dup-1".*"rule":"gopher.dup_paras"'
has 'signals of kept' out.jsonl '"signals":\{"gopher.dup_paras":0,'
has 'signals of dropped: later rules too' rej.jsonl '"id":"short-1".*"gopher.stop_words":0'
has 'summary' "$T/err" '600 documents in, 200 kept'

# Documents that no group is for are no proof of quality: it says so.
rc 'no language' 0 "$KIJIL" filter -r web-ko-en -o none.jsonl <<<'{"id":"a","text":"one"}
{"id":"b","text":"two words","language":"en"}'
has 'no language: a warning' "$T/err" '^kijil filter: warning: 1 of 2 documents are in no group'
rc 'all in groups' 0 "$KIJIL" filter -r web-ko-en -o none.jsonl <<<'{"id":"b","text":"two","language":"en"}'
hasnt 'all in groups: no warning' "$T/err" 'warning'

"$KIJIL" filter -q -r gopher <in.jsonl >pipe.jsonl
same 'from standard input' out.jsonl pipe.jsonl
# One document in each language that all recipes keep
{
    kept() { printf '{"id":"%s","language":"%s","language_score":0.9,"text":"%s"}\n' "$1" "$1" "$(awk -v ORS='\\n' 1)"; }
    kept en <<'E2'
The mill was built where two streams meet, and that is why it never stood still.
For eighty years the miller of the village took one bag of every ten as his wage.
When the railway came, flour from the plain was cheaper than what could be ground here.
His grandson sold the stones to a museum and let the building to a painter.
She has kept the great wheel, which still turns slowly after a week of rain.
Visitors may write to mill@village.org before they come, because there is only one chair.
E2
    kept ko <<'E2'
물레방아는 두 개울이 만나는 곳에 세워졌고, 그래서 한 번도 멈춘 적이 없었다.
여든 해 동안 방앗간 주인은 열 자루마다 한 자루를 품삯으로 받았다.
철도가 들어오자 들판에서 온 밀가루가 여기서 빻은 것보다 값이 쌌다.
손자는 맷돌을 박물관에 팔고 건물은 어느 화가에게 빌려주었다.
화가는 커다란 바퀴를 그대로 두었는데, 비가 한 주 동안 내리면 지금도 천천히 돈다.
의자가 하나뿐이니 찾아오려는 사람은 먼저 mill@village.kr 로 편지를 보내야 한다.
마을 사람들은 그 소리를 들으며 저녁을 먹고 아이들은 물가에서 해가 질 때까지 논다.
E2
} >kept.jsonl
cat in.jsonl kept.jsonl >more.jsonl
"$KIJIL" filter -q -j1 -r fineweb,pii more.jsonl -o j1.jsonl --rejects r1.jsonl
"$KIJIL" filter -q -j4 -r fineweb,pii more.jsonl -o j4.jsonl --rejects r4.jsonl
same '-j1 = -j4' j1.jsonl j4.jsonl
same '-j1 = -j4, rejects' r1.jsonl r4.jsonl

# --set: another threshold, off, a rule that the recipe has not, a list
"$KIJIL" filter -q -r gopher --set gopher.min_words=5,gopher.dup_paras=off \
    --set gopher.stop_words=off,fineweb.line_punct=0.5 in.jsonl --rejects rej.jsonl >set.jsonl
hasnt '--set threshold' rej.jsonl '"rule":"gopher.min_words"'
hasnt '--set off' rej.jsonl 'gopher.dup_paras'
has '--set a new rule' rej.jsonl '"id":"short-1".*"rule":"(gopher[^"]*|fineweb.line_punct)"'
"$KIJIL" filter -q --set lang.keep=ko,fr in.jsonl >set.jsonl
is '--set list' "$(wc -l <set.jsonl)" 0
"$KIJIL" filter -q --set lang.keep=ko,en in.jsonl >set.jsonl
is '--set list with en' "$(wc -l <set.jsonl)" 600

# --mark keeps all and says what would have been
rc '--mark' 0 "$KIJIL" filter -r gopher --mark in.jsonl -o mark.jsonl
is '--mark keeps' "$(wc -l <mark.jsonl)" 600
is '--mark kept' "$(grep -c '"filter":{"keep":true}' mark.jsonl)" 200
has '--mark verdict' mark.jsonl \
    '"id":"short-1".*"filter":\{"keep":false,"rule":"gopher.top_2gram","value":0.33+,"threshold":0.2,"failed":\["gopher.top_2gram",.*"gopher.min_words",.*"gopher.stop_words"\]\}'

rc '--list' 0 "$KIJIL" filter --list
has '--list rules' "$T/out" '^gopher.min_words +whole number +< +words with'
has '--list masks' "$T/out" '^pii.ipv4 '
is '--list is complete' "$(grep -cE '^(lang|gopher|fineweb)\.' "$T/out")" 29
has '--list cleaning rules' "$T/out" '^c4.citations +clean or count +- '

# A cleaning rule works at its place; counted only, it leaves the text
printf '{"id":"a","text":"This is a line [1] here.\\nshort\\nA last line stands here."}\n' >c4.jsonl
"$KIJIL" filter -q --set c4.citations=clean --set c4.min_line_words=3 c4.jsonl >c4.out
has 'cleaning rules' c4.out '"text":"This is a line  here.\\nA last line stands here."'
has 'cleaning rules count' c4.out '"c4.citations":1,"c4.min_line_words":1'
"$KIJIL" filter -q --set c4.citations=count c4.jsonl >c4.out
has 'count leaves the text' c4.out 'line \[1\] here.*"c4.citations":1'
printf 'rules:\n  - c4.citations: 3\n' >bad.yaml
rc 'cleaning rule with a number' 2 "$KIJIL" filter -r ./bad.yaml c4.jsonl
has 'cleaning rule with a number: says so' "$T/err" 'bad.yaml:2: c4.citations takes clean, count or off'

# Masks
printf '{"id":"a","text":"write to a.b@c.org or d@e.org from 8.8.8.8, not 10.0.0.1"}\n' >pii.jsonl
"$KIJIL" filter -q -r pii pii.jsonl >masked.jsonl
has 'masks' masked.jsonl 'write to email@example.com or firstname.lastname@example.org from 22.214.171.124, not 10.0.0.1'
has 'counts' masked.jsonl '"pii.email":2,"pii.ipv4":1'
"$KIJIL" filter -q --set pii.email=count pii.jsonl >counted.jsonl
has 'count only' counted.jsonl 'a.b@c.org.*"pii.email":2'

# Groups: two languages in one pass
cat >two.yaml <<'YAML'
rules:
  - gopher.min_words: 50
  - when: {language: ko}
    words: whitespace
    rules:
      - gopher.min_words: 2
YAML
printf '{"id":"k","text":"두 낱말","language":"ko"}\n{"id":"e","text":"two words","language":"en"}\n' >two.jsonl
"$KIJIL" filter -q -r ./two.yaml two.jsonl >two.out
has 'group: ko by its own threshold' two.out '"id":"k"'
hasnt 'group: en by the common one' two.out '"id":"e"'

# Korean: what the two recipes take for words
printf '{"id":"m","language":"ko","language_score":0.9,"text":"학교에서는 학생이 책을 읽었다."}\n' >ko.jsonl
"$KIJIL" filter -q --mark -r fineweb2-kor ko.jsonl >ko.out
has 'morphemes' ko.out '"gopher.min_words":10,'
has 'morphemes: all reasons' ko.out '"gopher.top_4gram","gopher.min_words"]'
has 'morphemes: stop words' ko.out '"gopher.stop_words":5,'
"$KIJIL" filter -q --mark -r fineweb-ko-eojeol ko.jsonl >ko.out
has 'eojeol' ko.out '"gopher.min_words":4,'
"$KIJIL" filter -q --mark -r fineweb2-kor <<<'{"id":"m","language":"ko","language_score":0.84,"text":"a"}' >ko.out
has 'the score is asked first' ko.out '"rule":"lang.min_score","value":0.84,"threshold":0.842'

# --first: the same documents, by the same rules; less measured of those that go
"$KIJIL" filter -q --mark -r fineweb2-kor --first ko.jsonl >first.out
has 'first: the rule' first.out '"rule":"gopher.top_2gram",.*"failed":\["gopher.top_2gram"\]'
has 'first: what was measured' first.out '"gopher.top_2gram":0[.0-9]*,"pii.email"'
"$KIJIL" filter -q -r gopher --rejects all.rejects in.jsonl >all.kept
"$KIJIL" filter -q -r gopher --first --rejects first.rejects in.jsonl >first.kept
same 'first: keeps the same' all.kept first.kept
# Where nobody sees the values of what goes it is as quick, and nothing else changes
mixed='{"id":"m1","text":"\u1112\u1161\u11ab short {[1] a@b.com"}'
for r in gopher fineweb,pii kanana-ko dclm-baseline c4; do
    { cat more.jsonl ko.jsonl; echo "$mixed"; } |
        "$KIJIL" filter -r "$r" -o seen.kept --rejects seen.rejects 2>seen.err
    { cat more.jsonl ko.jsonl; echo "$mixed"; } |
        "$KIJIL" filter -r "$r" -o blind.kept 2>blind.err
    same "unseen values, $r: keeps the same" seen.kept blind.kept
    is "unseen values, $r: the same counts" "$(grep -E '^  [a-z0-9_.]+ +[0-9]' blind.err)" \
        "$(grep -E '^  [a-z0-9_.]+ +[0-9]' seen.err)"
    has "unseen values, $r: there are some" blind.err '^  [a-z0-9_.]+ +[1-9]'
done
is 'first: drops by the same rules' "$(grep -o '"drop":{[^}]*}' first.rejects)" "$(grep -o '"drop":{[^}]*}' all.rejects)"

# Where recipes are found, and what is refused
mkdir recipes elsewhere
printf 'rules:\n  - gopher.min_words: 1\n' >recipes/mine.yaml
printf 'include: mine\n' >elsewhere/far.yaml
rc './recipes' 0 "$KIJIL" filter -q -r mine in.jsonl
rc '--recipes-dir' 0 "$KIJIL" filter -q -r far --recipes-dir elsewhere in.jsonl
rc 'KIJIL_RECIPES' 0 env KIJIL_RECIPES=elsewhere "$KIJIL" filter -q -r far in.jsonl
rc 'not found' 2 "$KIJIL" filter -r nowhere in.jsonl
has 'not found: says so' "$T/err" "no recipe 'nowhere'"
printf 'about: x\nrules:\n  - gopher.min_wrods: 1\n' >bad.yaml
rc 'unknown rule' 2 "$KIJIL" filter -r ./bad.yaml in.jsonl
has 'unknown rule: file and line' "$T/err" 'bad.yaml:3: .*gopher.min_wrods'
is 'refused before reading' "$(wc -c <"$T/out")" 0
printf 'rules:\n  - fineweb.short_lines: 30\n' >bad.yaml
rc 'wrong unit' 2 "$KIJIL" filter -r ./bad.yaml in.jsonl
has 'wrong unit: file and line' "$T/err" 'bad.yaml:2: fineweb.short_lines is a share'
printf 'include: ./b.yaml\n' >a.yaml
printf 'about: x\ninclude: ./a.yaml\n' >b.yaml
rc 'include loop' 2 "$KIJIL" filter -r ./a.yaml in.jsonl
has 'include loop: file and line' "$T/err" 'b.yaml:2: .*includes itself'
rc 'no recipe' 2 "$KIJIL" filter in.jsonl
rc 'bad --set' 2 "$KIJIL" filter -r gopher --set gopher.min_words in.jsonl
for r in "$TOP"/recipes/{gopher,c4,c4-dclm,refinedweb,dclm-baseline,fineweb,fineweb2-kor,fineweb-ko-eojeol,pii,pii-ko,kanana-en,kanana-ko,demo-filter}.yaml; do
    rc "recipe $r" 0 "$KIJIL" filter -q -r "$r" in.jsonl
done

# A damaged line costs itself only
{ head -n 3 in.jsonl; echo '{"id":'; tail -n 3 in.jsonl; } >damaged.jsonl
rc 'damaged line' 3 "$KIJIL" filter -r gopher damaged.jsonl -o d.jsonl
is 'damaged line: the rest' "$(wc -l <d.jsonl)" 2

done_testing
