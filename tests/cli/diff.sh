#!/bin/bash
# `kijil diff`: what it says of two runs is what their outputs and rejects say.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Texts of 1 to 90 words in two languages and three sources; some ids come twice, some
# texts three times.
awk 'BEGIN {
    srand(11)
    split("the of and to have river mill house wind grain basket work", en, " ")
    split("그리고 키질은 바람에 곡식을 오늘 사람들 마을에서 ... 집", ko, " ")
    for (i = 0; i < 900; i++) {
        l = i % 3 ? "en" : "ko"; t = ""
        n = 1 + int(rand() * 90)
        for (k = 0; k < n; k++)
            t = t (k ? " " : "") (l == "ko" ? ko[1 + int(rand() * 9)] : en[1 + int(rand() * 12)])
        if (i % 7 == 0) t = same; else same = t
        printf "{\"id\":\"d%d\",\"text\":\"%s.\",\"url\":\"https://h%d.example/%d\",\"language\":\"%s\"}\n", \
            i - (i % 40 == 39), t, i % 3, i, l
    }
}' >in.jsonl
run() { # NAME FILE OPTION... : filter, then exact duplicates, with a ledger
    local name=$1 file=$2
    shift 2
    "$KIJIL" filter -q "$@" "$file" --ledger "$name.db" --rejects "$name.f" |
        "$KIJIL" dedup exact -q --ledger "$name.db" --rejects "$name.d" >"$name.jsonl"
}
run a in.jsonl --set gopher.min_words=20,gopher.max_words=60
run b in.jsonl --set gopher.min_words=30,gopher.max_words=80,gopher.ellipsis_ratio=0.1
# A document is its id and which one of that id it is; the rest of the url tells.
kept() { jq -r '.url' "$1.jsonl" | sort; }
kept a >a.kept
kept b >b.kept
rc 'diff' 0 "$KIJIL" diff a.db b.db --changed changed.jsonl
cp "$T/out" text
rc 'json' 0 "$KIJIL" diff a.db b.db --json
cp "$T/out" d.json
is 'some are gained, some lost' "$(jq '.gained.documents > 20 and .lost.documents > 20' d.json)" true
is 'before' "$(jq .before.documents d.json)" "$(wc -l <a.kept)"
is 'now' "$(jq .now.documents d.json)" "$(wc -l <b.kept)"
is 'both' "$(jq .both.documents d.json)" "$(comm -12 a.kept b.kept | wc -l)"
is 'text' "$(jq .now.bytes d.json)" "$(jq -rj .text b.jsonl | wc -c)"
jq -r 'select(.change == "gained") | .url' changed.jsonl | sort >got
comm -13 a.kept b.kept >want
same 'gained: the very documents' got want
jq -r 'select(.change == "lost") | .url' changed.jsonl | sort >got
comm -23 a.kept b.kept >want
same 'lost: the very documents' got want
cat b.f b.d | jq -r '"\(.url) \(.drop.rule) \(.drop.value // "")"' | sort >dropped
jq -r 'select(.change == "lost") | "\(.url) \(.now) \(.value // "")"' changed.jsonl | sort >got
join want dropped >want2
same 'lost: by the rules of the rejects, with their values' got want2
jq -r '.rules[] | select(.change == "lost") | "\(.now) \(.documents)"' d.json | sort >got
awk '{n[$2]++} END {for (r in n) print r, n[r]}' want2 | sort >want
same 'lost: by rule' got want
is 'gained: by rule' "$(jq '[.rules[] | select(.change == "gained") | .documents] | add' d.json)" "$(jq .gained.documents d.json)"
is 'by language' "$(jq '[.languages[] | .gained - .lost] | add' d.json)" "$(($(wc -l <b.kept) - $(wc -l <a.kept)))"
is 'by source' "$(jq '[.sources[] | .lost] | add' d.json)" "$(jq .lost.documents d.json)"
is 'stages' "$(jq -c '[.stages[] | select(.stage == "dedup") | .was, .now]' d.json)" "[$(wc -l <a.jsonl),$(wc -l <b.jsonl)]"
cat a.f a.d | jq -r '"\(.url) \(.drop.rule)"' | sort >a.out
cat b.f b.d | jq -r '"\(.url) \(.drop.rule)"' | sort >b.out
is 'out by another rule' "$(jq '[.rules[] | select(.change == "other_rule") | .documents] | add' d.json)" \
    "$(join a.out b.out | awk '$2 != $3' | wc -l)"
is 'cuts that differ' "$(jq -r '.settings[] | select(.key | test("min_words|ellipsis")) | "\(.was) -> \(.now)"' d.json | paste -sd'|')" \
    '< 20 -> < 30|null -> > 0.1'
has 'text: cuts' text 'filter: gopher.max_words +> 60 -> > 80$'
has 'text: totals' text "^gained +$(jq .gained.documents d.json) "
has 'text: an example' text 'gopher.min_words +2[0-9] +.*https://h[0-2].example/'
has 'text: what ran' text '^  run [12] .* ok  kijil dedup --method=exact '

rc 'with itself' 0 "$KIJIL" diff a.db a.db --json --changed none.jsonl
is 'with itself: nothing' "$(jq -c '[.gained.documents, .lost.documents, .rules, .settings, .only_read]' "$T/out")" '[0,0,[],[],[0,0]]'
is 'with itself: no document' "$(wc -l <none.jsonl)" 0

# Another input: told, and what was not read is not put down to a rule.
head -n 500 in.jsonl >less.jsonl
run c less.jsonl --set gopher.min_words=20,gopher.max_words=60
rc 'less' 0 "$KIJIL" diff a.db c.db --json
is 'less: not read' "$(jq -c '[.only_read, ([.rules[] | select(.change == "lost") | .now] | unique)]' "$T/out")" '[[400,0],[""]]'
rc 'less, as text' 0 "$KIJIL" diff a.db c.db
has 'less, as text: says so' "$T/out" '^400 of 900 documents read before were not read now'
# The newest run of a ledger that holds two.
run a in.jsonl --set gopher.min_words=30,gopher.max_words=80,gopher.ellipsis_ratio=0.1
rc 'newest' 0 "$KIJIL" diff a.db b.db --json
is 'newest: equal' "$(jq -c '[.gained.documents, .lost.documents, .rules]' "$T/out")" '[0,0,[]]'
# Masks change texts, not verdicts.
jq -c '.text += " mail@example.org"' in.jsonl >mail.jsonl
"$KIJIL" filter -q --set gopher.min_words=1 mail.jsonl --ledger m.db -o m.jsonl
"$KIJIL" filter -q -r pii --set gopher.min_words=1 mail.jsonl --ledger p.db -o p.jsonl
rc 'masks' 0 "$KIJIL" diff m.db p.db --json
differ 'masks: they do mask' m.jsonl p.jsonl
is 'masks: other texts' "$(jq -c '[.both.documents, .gained.documents, .other_text > 800]' "$T/out")" '[900,0,true]'

# Folders of runs
mkdir out1 out2
cp m.db out1/run.db
cp b.db out2/run.db
rc 'folders' 0 "$KIJIL" diff out1 out2 --json
is 'folders' "$(jq -c '[.before.documents, .now.documents]' "$T/out")" "[900,$(wc -l <b.jsonl)]"

rc 'one ledger' 2 "$KIJIL" diff a.db
rc 'no ledger' 1 "$KIJIL" diff a.db nothing.db
has 'no ledger: its name' "$T/err" 'nothing.db'
rc 'not a ledger' 1 "$KIJIL" diff a.db in.jsonl
done_testing
