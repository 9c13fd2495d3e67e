#!/bin/bash
# kijil model annotate against a server of our own that misbehaves.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

command -v python3 >/dev/null || { skip "no python3"; done_testing; }
python3 "$TOP/tests/cli/annotate_server.py" log port &
server=$!
trap 'kill $server; rm -rf "$T"' EXIT
for _ in $(seq 100); do [[ -e port ]] && break; sleep 0.05; done
url=http://127.0.0.1:$(cat port)/v1
# doc NAME WHAT ANSWER
doc() { printf '{"id":"%s","text":"name=%s; %s; points=%s; text","extra":[1]}\n' "$1" "$1" "$2" "$3"; }
# What the file says of a document: score, outcome, tries.
of() { jq -c "select(.id == \"$2\") | [.edu_score, .edu_note.outcome, .edu_note.tries]" "$1"; }
A=("$KIJIL" model annotate --url "$url/" --llm judge --backoff 0.02 --timeout 20 --tries 3)

for i in 0 1 2 3 4 5; do doc plain$i - "Score: $i"; done >in.jsonl
{
    doc ko - '점수: 4점'
    doc stars - '**Score:** 3/5'
    doc stop - 'Score: 2.'
    for w in 500 502 408 malformed nothing truncated noscore refusal six two cut huge; do
        doc once_$w do=$w:1 'Score: 5'
    done
    doc limited do=429:1 'Score: 1'
    doc refused do=refusal:9 'Score: 1'
    doc refused_field do=refusal_field:9 'Score: 1'
    doc filtered do=filter:9 'Score: 1'
    doc noscore do=noscore:9 'Score: 1'
    doc long do=400:9 'Score: 1'
    doc gone do=500:9 'Score: 1'
    doc broken do=malformed:9 'Score: 1'
    printf '{"id":"empty","text":""}\nno document\n'
    doc plain0 - 'Score: 5'
} >>in.jsonl
export KIJIL_API_KEY=secret
rc "some fail" 3 "${A[@]}" in.jsonl -o out.jsonl
for i in 0 1 2 3 4 5; do is "score $i" "$(of out.jsonl plain$i)" "[$i,\"scored\",1]"; done
is "점수" "$(of out.jsonl ko)" '[4,"scored",1]'
is "asterisks" "$(of out.jsonl stars)" '[3,"scored",1]'
is "a full stop" "$(of out.jsonl stop)" '[2,"scored",1]'
for w in 500 502 408 malformed nothing truncated noscore refusal six two cut huge; do
    is "again after $w" "$(of out.jsonl once_$w)" '[5,"scored",2]'
done
is "again after 429" "$(of out.jsonl limited)" '[1,"scored",2]'
is "429: not before Retry-After" \
    "$(awk '$2 == "limited" {t[$3] = $1} END {print (t[2] - t[1] >= 0.99)}' log)" 1
is "a refusal" "$(of out.jsonl refused)" '[null,"refused",3]'
is "a refusal that says so" "$(of out.jsonl refused_field)" '[null,"refused",3]'
is "the server's filter" "$(of out.jsonl filtered)" '[null,"refused",3]'
is "no score" "$(of out.jsonl noscore)" '[null,"invalid",3]'
is "a request that is not taken" "$(of out.jsonl long)" '[null,"rejected",1]'
is "no answer: not written" "$(of out.jsonl gone)$(of out.jsonl broken)" ""
is "counts" "$(grep -oE '[0-9]+ (scored|refused|invalid|malformed|rejected|failed)' err | tr '\n' ' ')" \
    "22 scored 3 refused 1 invalid 1 malformed 1 rejected 1 failed "
has "requests are counted" err "^$(wc -l <log) requests, $(awk '$3 > 1' log | wc -l) of them again, 1 answered 429"
has "tokens are counted" err 'tokens: [1-9][0-9]* in, [1-9][0-9]* out'
has "damage is told" err '^1 damaged line'
has "the key is sent" log 'Bearer_secret'
hasnt "and stands nowhere else" out.jsonl secret
is "by language" "$(awk '$2 == "plain1" {print $6}' log)" en
is "other fields stay" "$(jq -c 'select(.id == "plain3") | [.extra, .edu_note.by, .edu_note.prompt]' out.jsonl)" \
    '[[1],"judge","en"]'
doc slow do=slow:1 'Score: 3' >slow.jsonl
rc "slower than --timeout" 0 "${A[@]}" --timeout 1 --tries 9 slow.jsonl -o slow.out
is "is asked again" "$(jq -c '[.edu_score, .edu_note.tries > 1]' slow.out)" '[3,true]'
doc closed do=closed:1 'Score: 5' >closed.jsonl
rc "a connection closed without a word" 0 "${A[@]}" closed.jsonl -o closed.out
is "again after it" "$(jq .edu_score closed.out)" 5
has "the reason is kept" out.jsonl '"reason":"까닭: \\"points\\""'

# ---- once more: only what is missing ----
sort out.jsonl >before
: >log
rc "once more" 3 "${A[@]}" in.jsonl -o out.jsonl -q
is "asks for what had no answer" "$(awk '{print $2}' log | sort -u | tr '\n' ' ')" "broken gone "
sort out.jsonl >after
same "and changes nothing else" before after
rc "its output trains" 0 "$KIJIL" model train -q --jsonl --label-field edu_score out.jsonl -o m.bin --dim 2
is "with no label for null" "$(grep -aoE '__label__[a-z0-9]*' m.bin | sort -u | tr '\n' ' ')" \
    "__label__0 __label__1 __label__2 __label__3 __label__4 __label__5 "

# ---- killed anywhere ----
for i in $(seq 300); do doc k$i - "Score: $((i % 6))"; done >many.jsonl
for n in 20 90 3 60; do
    killed $n "${A[@]}" -q many.jsonl -o killed.jsonl --concurrency 4
    [[ -e killed.jsonl ]] && printf '{"id":"torn","te' >>killed.jsonl
done
is "killed" $kills 4
rc "goes on" 0 "${A[@]}" -q many.jsonl -o killed.jsonl
is "each once" "$(jq -r .id killed.jsonl | sort -u | wc -l) $(wc -l <killed.jsonl)" "300 300"
is "each right" "$(jq -c 'select(.edu_score != (.id[1:] | tonumber) % 6)' killed.jsonl | wc -l)" 0
is "never more at once than told" "$(awk '$2 ~ /^k/ && $4 > m {m = $4} END {print (m <= 8 + 12)}' log)" 1
: >log
: >int.jsonl
timeout -s INT 0.4 "${A[@]}" -q many.jsonl -o int.jsonl --concurrency 2
is "interrupted" "$(jq -c . int.jsonl | wc -l)" "$(wc -l <int.jsonl)"

# ---- rate, prompts, cost ----
: >log
head -n 5 many.jsonl >five.jsonl
rc "a rate" 0 "${A[@]}" -q five.jsonl -o rate.jsonl --rpm 600
is "is kept" "$(awk 'NR == 1 {first = $1} END {print NR, ($1 - first > 0.2)}' log)" "5 1"
echo '{"id":"k","text":"이 글은 한국어로 쓰인 글이다 name=korean; points=점수: 1; 그렇다"}' >ko.jsonl
rc "Korean" 0 "${A[@]}" -q ko.jsonl -o ko.out
is "is asked in Korean" "$(awk '$2 == "korean" {print $6}' log)" ko
rc "told English" 0 "${A[@]}" -q --prompt-language en ko.jsonl -o ko2.out
is "is asked in English" "$(awk '$2 == "korean" {print $6}' log | tail -n 1)" en
printf 'Judge: {text} End.' >own.txt
rc "a prompt of one's own" 0 "${A[@]}" -q --prompt own.txt --as fun --max-chars 45 ko.jsonl -o own.out
is "the text is cut by characters" "$(awk '{n = $7} END {print n}' log)" 57
rc "no place for the text" 2 "${A[@]}" --prompt port ko.jsonl -o x
rc "dry run" 0 "$KIJIL" model annotate --dry-run --price-in 1e6 --price-out 1e6 --rpm 10 five.jsonl -o rate.jsonl
has "knows what is done" out '^done_already: 5$'
rc "dry run" 0 "$KIJIL" model annotate --dry-run --price-in 1000000 --max-tokens 7 --rpm 10 five.jsonl -o new.jsonl
has "requests" out '^estimate_requests: 5$'
has "time by the rate" out '^estimate_minutes: 0[.]5$'
has "tokens out" out '^estimate_tokens_out: at most 35$'
is "cost in" "$(awk -F': ' '/tokens_in/ {t = $2} /cost/ {sub(/at most /, "", $2); d = $2 - t; print (d < 1 && d > -1)}' out)" 1
is "nothing is made" "$(ls new.jsonl 2>/dev/null)" ""

# ---- ends ----
doc no do=401:9 x >no.jsonl
rc "a wrong key" 1 "${A[@]}" no.jsonl -o no.out
has "with what the server says" err 'answers 401: .*401'
rc "no server" 3 "$KIJIL" model annotate --url http://127.0.0.1:1/v1 --llm x --tries 2 --backoff 0 five.jsonl -o dead.out
is "nothing is written" "$(wc -c <dead.out)" 0
rc "no server for many" 1 "$KIJIL" model annotate --url http://127.0.0.1:1/v1 --llm x --tries 1 many.jsonl -o dead.out
has "gives up" err 'in a row'
rc "no such protocol" 2 "$KIJIL" model annotate --url file:///etc --llm x five.jsonl -o dead.out
rc "no url" 2 "$KIJIL" model annotate five.jsonl -o x
rc "compressed output" 2 "${A[@]}" five.jsonl -o x.zst
cp port foreign
rc "a foreign file" 1 "${A[@]}" five.jsonl -o foreign
has "named" err 'foreign'
same "which is left alone" port foreign
done_testing
