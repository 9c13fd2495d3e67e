#!/bin/bash
# `kijil why`: of each document what the stages' outputs and rejects say of it.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

awk 'BEGIN {
    srand(5)
    split("the of and to have river mill house wind grain basket work", en, " ")
    split("그리고 키질은 바람에 곡식을 오늘 사람들 마을에서 많이 집", ko, " ")
    for (i = 0; i < 300; i++) {
        l = i % 3 ? "en" : "ko"; t = ""
        n = 1 + int(rand() * 60)
        for (k = 0; k < n; k++)
            t = t (k ? " " : "") (l == "ko" ? ko[1 + int(rand() * 9)] : en[1 + int(rand() * 12)])
        if (i % 5 == 0) t = same; else same = t
        printf "{\"id\":\"<urn:uuid:d%d>\",\"text\":\"%s.\",\"url\":\"https://h%d.example/%d\",\"language\":\"%s\"}\n", i, t, i % 3, i, l
    }
}' >in.jsonl
cat >groups.yaml <<'YAML'
rules:
  - gopher.dup_lines: 0.3
  - gopher.stop_words: 2
  - gopher.min_words: 30
  - when: {language: ko}
    rules:
      - gopher.min_words: 10
YAML
"$KIJIL" filter -q -r ./groups.yaml in.jsonl --ledger run.db --rejects f.jsonl -o kept.jsonl
"$KIJIL" dedup exact -q kept.jsonl --ledger run.db --rejects d.jsonl -o out.jsonl

# All documents at once, as objects
mapfile -t ids < <(jq -r .id in.jsonl)
rc 'all' 0 "$KIJIL" why run.db "${ids[@]}" --json
cp "$T/out" all.jsonl
is 'all: each once' "$(jq -r .id all.jsonl | paste -sd' ')" "${ids[*]}"
jq -r 'select(.kept == 1) | .id' all.jsonl >got
jq -r .id out.jsonl >want
same 'kept: those of the output' got want
jq -r 'select(.kept == 0) | .id as $id | .stages[] | select(.kept == 0) |
    "\($id) \(.stage) \(.rule) \(.value) \(.threshold)"' all.jsonl | sort >got
cat f.jsonl d.jsonl | jq -r '"\(.id) \(.drop.stage) \(.drop.rule) \(.drop.value) \(.drop.threshold)"' | sort >want
same 'out: as the rejects say' got want
is 'both stages drop some' "$(cut -d' ' -f2 want | sort -u | paste -sd' ')" 'dedup filter'
jq -c '[.id, (.values | map(select(.stage == "filter") | {(.rule): .value}) | add)]' all.jsonl | sort >got
cat f.jsonl kept.jsonl | jq -c '[.id, (.signals | with_entries(select(.key | test("gopher"))))]' | sort >want
jq -cS . got >got.s
jq -cS . want >want.s
same 'values: those of the stream' got.s want.s
# A rule that fails, by the cut that was for this document's group
is 'cut: of its group' "$(jq -c '[.language, (.values[] | select(.rule == "gopher.min_words") | .threshold)]' all.jsonl | sort -u | paste -sd' ')" \
    '["en",30] ["ko",10]'
is 'fails: where it is beyond its cut' "$(jq -r '.values[] | select(.rule == "gopher.min_words") | "\(.fails) \(.value < .threshold)"' all.jsonl | sort -u | paste -sd'|')" \
    'false false|true true'
is 'the first rule that fails is the reason' "$(jq '.stages[0] as $f | select($f.kept == 0) | $f.rule == [.values[] | select(.fails) | .rule][0]' all.jsonl | sort -u)" true
jq -r '.duplicates | select(. != null) | .keeper' all.jsonl | sort -u >got
is 'duplicates: their keepers are kept' "$(grep -cvxFf <(jq -r .id out.jsonl) got)" 0
is 'duplicates: one for each dropped' "$(jq -r 'select(.stages[-1].stage == "dedup" and .kept == 0) | .duplicates.keeper != null' all.jsonl | sort -u)" true

# As text; by id without its frame, by URL, by the beginning of one
out=$(jq -r .id f.jsonl | head -n1)
short=${out#<urn:uuid:}
rc 'text' 0 "$KIJIL" why run.db "${short%>}"
has 'text: out' "$T/out" "^$out: out$"
has 'text: by what' "$T/out" "^  run 1 +filter: OUT by $(jq -r '.drop.rule' f.jsonl | head -n1) [0-9.]+, dropped [<>] "
has 'text: the cut that fails' "$T/out" 'drops [<>] [0-9.]+   FAILS$'
rc 'url' 0 "$KIJIL" why run.db https://h1.example/1 --json
is 'url: this one only' "$(jq -r .url "$T/out")" https://h1.example/1
rc 'site' 0 "$KIJIL" why run.db https://h1.example/ --most 4 --json
is 'site: four' "$(jq -r .url "$T/out" | grep -c '^https://h1.example/')" 4
has 'site: says that there are more' "$T/err" 'more documents match'
dup=$(jq -r .id d.jsonl | head -n1)
rc 'duplicate' 0 "$KIJIL" why run.db "$dup"
has 'duplicate: who stays' "$T/out" '^  one of [0-9]+ duplicates; kept: <urn:uuid:d[0-9]+> \(https://h'

mkdir dir
cp run.db dir/run.db
rc 'a folder' 0 "$KIJIL" why dir "$dup"
rc 'unknown' 1 "$KIJIL" why run.db nobody
has 'unknown: says so' "$T/err" "has the id or URL 'nobody'"
rc 'no word' 2 "$KIJIL" why run.db
rc 'no ledger' 1 "$KIJIL" why nothing.db x
done_testing
