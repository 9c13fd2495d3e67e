#!/bin/bash
# `kijil decontaminate`: planted items are found, whatever was done to them on
# the way; clean text of the same words is not; what is found is shown.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Benchmarks in three shapes, and documents: clean ones, and ones with an item
# planted: verbatim, re-wrapped, lightly edited, with other spacing.
awk 'BEGIN {
    srand(11)
    ne = split("a baker a farmer the teacher her brother his neighbour bought sold counted carried lost painted built twelve seven forty ninety " \
        "apples bricks candles boxes letters horses before after during without " \
        "every second third Monday winter morning market river school village if each one costs weighs holds and then how many are left in all does she need to finish by noon on foot", en, " ")
    nk = split("농부가 선생님은 동생이 이웃과 시장에서 강가에서 학교까지 사과를 벽돌을 촛불을 상자에 편지를 열두 개씩 일곱 마리 사흘 동안 날마다 " \
        "나누어 담았다면 남은 것은 모두 몇 개인가 다음 중 옳은 설명을 고르시오 겨울에 처음으로 만든 제도는 무엇이며 그 까닭을 쓰시오 가장 알맞은 답은", ko, " ")
    for (i = 0; i < 300; i++) {
        q[i] = say(en, ne, 14 + rand() * 30) " " i "?"
        printf "{\"id\":\"g%d\",\"question\":\"%s\",\"answer\":\"%d\"}\n", i, q[i], i * 7 >"gsm.jsonl"
        k[i] = say(ko, nk, 8 + rand() * 15) "?"
        printf "{\"id\":%d,\"subject\":\"s\",\"question\":\"%s\",\"A\":\"%s\",\"B\":\"%s\",\"answer\":3}\n", i, k[i], say(ko, nk, 2), say(ko, nk, 2) >"kmmlu.jsonl"
        m[i] = say(en, ne, 6); for (c = 0; c < 4; c++) ch[i, c] = say(en, ne, 2)
        printf "{\"id\":\"m%d\",\"subject\":\"s\",\"question\":\"%s\",\"choices\":[\"%s\",\"%s\",\"%s\",\"%s\"],\"answer\":1}\n", i, m[i], ch[i, 0], ch[i, 1], ch[i, 2], ch[i, 3] >"mmlu.jsonl"
    }
    for (i = 0; i < 300; i++) {
        mm = m[i] "\\nA. " ch[i, 0] "\\nB. " ch[i, 1] "\\nC. " ch[i, 2] "\\nD. " ch[i, 3]
        put("g" i, "verbatim", en, ne, q[i]); put("m" i, "verbatim", en, ne, mm); put(i, "verbatim", ko, nk, k[i])
        put("g" i, "wrapped", en, ne, wrap(q[i])); put("m" i, "wrapped", en, ne, wrap(mm)); put(i, "wrapped", ko, nk, wrap(k[i]))
        put("g" i, "edited", en, ne, edit(q[i], "quickly")); put("m" i, "edited", en, ne, edit(mm, "quickly")); put(i, "edited", ko, nk, edit(k[i], "아주"))
        t = k[i]; gsub(/ /, (i % 2 ? "" : "  "), t); if (i % 3 == 0) gsub(/가/, "가 ", t)
        put(i, "spaced", ko, nk, t)
    }
    for (i = 0; i < 10000; i++)
        printf "{\"id\":\"c%d\",\"text\":\"%s\"}\n", i, i % 2 ? say(en, ne, 120) : say(ko, nk, 90) >"clean.jsonl"
}
function say(w, n, len,  t) { t = w[1 + int(rand() * n)]; while (--len > 0) t = t " " w[1 + int(rand() * n)]; return t }
function wrap(t) { gsub(/\\n/, " ", t); t = toupper(t); gsub(/ /, "\\n> ", t); return t }
function edit(t, word,  p, n, x, o) { # one word in 14
    n = split(t, p, " "); o = ""
    for (x = 1; x <= n; x++) { if (x % 14 == 7) p[x] = (n % 3 ? word : n % 2 ? p[x] " " word : ""); o = o (o == "" ? "" : " ") p[x] }
    return o
}
function put(id, how, w, n, t) {
    printf "{\"id\":\"%s/%s\",\"text\":\"%s\\n%s\\n%s\"}\n", id, how, say(w, n, 10 + rand() * 300), t, say(w, n, 200) >"leaks.jsonl"
}'
B=gsm.jsonl,kmmlu.jsonl,mmlu.jsonl
rc 'mark' 0 "$KIJIL" decontaminate -b $B --mark leaks.jsonl -o marked.jsonl
is 'mark keeps all' "$(wc -l <marked.jsonl)" "$(wc -l <leaks.jsonl)"
# recall HOW LEAST_PERCENT : the very item, not just any
recall() {
    local got all
    got=$(jq -r "select(.id | endswith(\"/$1\")) | (.id | split(\"/\")[0]) as \$i | select(any(.contamination[]?; (.id|tostring) == \$i)) | .id" marked.jsonl | wc -l)
    all=$(grep -c "/$1\"" leaks.jsonl)
    if [[ $((100 * got)) -ge $(($2 * all)) ]]; then ok; else bad "$1: found $got of $all"; fi
}
recall verbatim 98
recall wrapped 98
recall spaced 98
recall edited 90
rc 'clean' 0 "$KIJIL" decontaminate -b $B clean.jsonl --rejects rej.jsonl
if [[ $(wc -l <rej.jsonl) -le 1 ]]; then ok; else bad "clean: $(wc -l <rej.jsonl) of 10,000 dropped"; fi

# Evidence: bytes of the text that hold the item
rc 'drop' 0 "$KIJIL" decontaminate -b $B leaks.jsonl --rejects rej.jsonl -o left.jsonl
has 'evidence' rej.jsonl '"id":"g1/verbatim".*"contamination":\[\{"item":"gsm.jsonl:2","id":"g1","score":1,"start":[0-9]+,"end":[0-9]+,"text":"'
has 'reason' rej.jsonl '"drop":\{"stage":"decontaminate","rule":"decontaminate.overlap","value":1,"threshold":0.75'
is 'evidence is the item' \
    "$(jq -r 'select(.id == "g1/verbatim").contamination[0].text' rej.jsonl)" \
    "$(sed -n 2p gsm.jsonl | jq -r .question | tr -d '?')"
jq -c 'select(.id == "g1/verbatim") | .contamination[0] as $c | [(.text | @base64), $c.start, $c.end]' rej.jsonl |
    tr -d '[]"' | while IFS=, read -r b64 from to; do
    base64 -d <<<"$b64" | tail -c +$((from + 1)) | head -c $((to - from))
done >span
is 'span' "$(cat span)" "$(sed -n 2p gsm.jsonl | jq -r .question | tr -d '?')"

# Padding does not dilute; a part of an item is less than the item
item=$(sed -n 5p gsm.jsonl | jq -r .question)
for i in {1..4000}; do printf 'padding number %d of the page. ' "$i"; done >pad
{ printf '{"id":"p","text":"%s%s %s"}\n' "$(cat pad)" "$item" "$(cat pad)"
  printf '{"id":"h","text":"%s"}\n' "$(cut -d' ' -f1-7 <<<"$item")"
  printf '{"id":"nfd","text":"%s"}\n' "$(sed -n 3p kmmlu.jsonl | jq -r .question | python3 -c 'import sys,unicodedata as u;print(u.normalize("NFD",sys.stdin.read().strip()))' 2>/dev/null || sed -n 3p kmmlu.jsonl | jq -r .question)"
} >more.jsonl
"$KIJIL" decontaminate -q -b $B --mark more.jsonl >more.out
has 'padding' more.out '"id":"p".*"score":1,'
hasnt 'half an item' more.out '"id":"h".*contamination'
has 'jamo' more.out '"id":"nfd".*"item":"kmmlu.jsonl:3"'
has 'value of all' more.out '"id":"h".*"decontaminate.overlap":0\.'

# Below four words an item counts as a whole, between edges of words
printf '{"id":"s","sentence":"가격이 비싼 편입니다","label":1}\n' >senti.jsonl
{ printf '{"id":"in","text":"써 보니\\n가격이 비싼편입니다!\\n그래도 산다"}\n'
  printf '{"id":"end","text":"내게는 가격이 비싼 편입니다"}\n'
  printf '{"id":"part","text":"가격이 비싼 편이다"}\n'
  printf '{"id":"longer","text":"가격이 비싼 편입니다만 산다"}\n'
  printf '{"id":"inside","text":"저가격이 비싼 편입니다."}\n'
} >reviews.jsonl
"$KIJIL" decontaminate -q -b senti.jsonl reviews.jsonl --rejects rej.jsonl >left.jsonl
is 'short: found' "$(jq -r .id rej.jsonl | xargs)" 'in end'
is 'short: not in a longer word' "$(jq -r .id left.jsonl | xargs)" 'part longer inside'

# Code, and fields of any name
cat >code.jsonl <<'JSON'
{"task_id":"X/0","prompt":"def mid(xs):\n    \"\"\"Return the element that half of the others are below.\"\"\"\n","canonical_solution":"    return sorted(xs)[len(xs) // 2]\n","entry_point":"mid"}
{"frage":"Which river runs through the old town of Ulm?","loesung":"the Danube","quelle":"see https://a.example/x"}
JSON
{ printf '{"id":"code","text":"# tools\\nimport os\\n\\ndef mid(xs):\\n    \\"\\"\\"Return the element that half of the others are below.\\"\\"\\"\\n    xs = sorted(xs)\\n"}\n'
  printf '{"id":"qa","text":"Quiz! Q: Which river runs through the old town of Ulm? A: The Danube. Next one"}\n'
} >found.jsonl
rc 'any shape' 0 "$KIJIL" decontaminate -b code.jsonl --fields prompt,frage,loesung --mark found.jsonl
has 'code' "$T/out" '"id":"code".*"item":"code.jsonl:1","id":"X/0","score":1'
has 'any field' "$T/out" '"id":"qa".*"item":"code.jsonl:2","score":1'

# The shortest items are left out and counted; nothing to look for is an error
printf '{"id":1,"question":"How many?"}\n{"id":2,"question":"one two three four five six"}\n' >short.jsonl
rc 'short' 0 "$KIJIL" decontaminate -b short.jsonl more.jsonl --ledger run.db
is 'short: counted' "$(sqlite3 run.db "select about like '%(1 items; 1 too short%' from rules where name like 'decon%'")" 1
head -n 1 short.jsonl >none.jsonl
rc 'nothing to look for' 1 "$KIJIL" decontaminate -b none.jsonl more.jsonl
rc 'no benchmark' 2 "$KIJIL" decontaminate more.jsonl
printf '{"id":1,"question":"one two three four five six"}\n{"id":\n' >broken.jsonl
rc 'broken benchmark' 1 "$KIJIL" decontaminate -b broken.jsonl more.jsonl
has 'broken benchmark: where' "$T/err" 'broken.jsonl:2'
rc '--fields' 0 "$KIJIL" decontaminate -b $B --fields question --mark leaks.jsonl
"$KIJIL" decontaminate -q -j1 -b $B leaks.jsonl >j1
"$KIJIL" decontaminate -q -j4 -b $B leaks.jsonl >j4
same '-j1 = -j4' j1 j4
rc 'whatif' 0 "$KIJIL" decontaminate -q -b $B leaks.jsonl --ledger w.db
"$KIJIL" decontaminate -q -b $B --threshold 0.95 leaks.jsonl >strict.jsonl
rc 'whatif' 0 "$KIJIL" whatif w.db decontaminate.overlap=0.95
is 'whatif: as a run' "$(awk '/^kept now/ {gsub(",", "", $3); print $3}' "$T/out")" "$(wc -l <strict.jsonl)"
done_testing
