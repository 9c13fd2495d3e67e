# report and check: over a ledger that two filters of a pipe wrote.
# shellcheck shell=bash
source "$(dirname "$0")/lib.sh"

# 300 documents; every third is too short, some are copies, all are hostile.
awk 'function word(n,  s) {
    for (s = "w"; n > 0; n = int(n / 26)) s = s sprintf("%c", 97 + n % 26)
    return s
}
BEGIN {
    evil = "</q><script>alert(1)</script><img src=x onerror=alert(2)> "
    for (i = 0; i < 300; i++) {
        t = evil
        n = i % 3 ? 60 + i % 7 : 10 + i % 30
        for (k = 0; k < n; k++)
            t = t word((i % 40 == 1 ? 1 : i) * 100 + k) " "
        printf "{\"id\":\"doc-%03d\",\"text\":\"%s\",\"url\":\"https://h%d.example/%d?%s\"}\n",
            i, t, i % 5, i, "\\\"><script>alert(3)</script>"
    }
    print "this is no document"
}' >docs.jsonl
cat >few.yaml <<'END'
rules:
  - gopher.min_words: 50
  - gopher.alpha_words: 0.8
END

"$KIJIL" filter -r ./few.yaml --ledger run.db docs.jsonl -q |
    "$KIJIL" dedup --ledger run.db -q -o out.jsonl.zst
is "no journal is left" "$(echo run.db*)" "run.db"

rc "report" 0 "$KIJIL" report run.db
cp out text
has "report: stages" text '^filter +[0-9]+ +[0-9.]+ %'
has "report: damage" text 'input\..* 1 .*damaged'
has "report: rule" text 'gopher\.min_words'
has "report: books" text '^books balance'

rc "page" 0 "$KIJIL" report run.db -o page.html
is "page: nothing on stdout" "$(cat out)" ""
has "page: whole" page.html '</html>$'
hasnt "page: no script" page.html '<script'
hasnt "page: no image" page.html '<img'
hasnt "page: nothing from elsewhere" page.html '<[a-z]+ [^>]*(src|href)='
has "page: escaped text" page.html '&lt;script&gt;alert\('
has "page: histogram with its cut" page.html 'class="cut"'
has "page: books" page.html 'books balance'
if [[ $(wc -c <page.html) -lt 1000000 ]]; then ok; else bad "page: too large"; fi
has "page: damage" page.html '<h2>Damage.*'
has "page: damage, by fault" page.html '<tr><td>input\.[a-z_]*</td><td class="n">1</td>'

# Groups with thresholds of their own: a card for each, over its documents
cat >groups.yaml <<'END'
rules:
  - when: {language: ko}
    rules: [gopher.min_words: 20, gopher.max_words: 1000]
  - when: {language: en}
    rules: [gopher.min_words: 40, gopher.max_words: 1000]
END
awk 'BEGIN { for (i = 0; i < 200; i++) {
    t = ""; for (k = 0; k < 1 + i % 80; k++) t = t "word" k " "
    printf "{\"id\":\"%d\",\"language\":\"%s\",\"text\":\"%s\"}\n", i, i % 4 ? "en" : "ko", t } }' >two.jsonl
"$KIJIL" filter -q -r ./groups.yaml --ledger two.db two.jsonl -o two.out
"$KIJIL" report two.db -o two.html
is "groups: cards" "$(grep -o '<h3>gopher[^/]*/span>[^/]*/' two.html | sed 's/<[^>]*>/ /g;s/[<\/]//g;s/  */ /g;s/^ //;s/ $//' | sort | paste -sd,)" \
    'gopher.max_words language=ko language=en,gopher.min_words language=en,gopher.min_words language=ko'
has "groups: cuts" two.html '&lt; 20 or 40'
for at in '20 ko' '40 en'; do
    read -r cut lang <<<"$at"
    want=$(jq -r "select(.language == \"$lang\") | .text | split(\" \") | length - 1 | select(. < $cut)" two.jsonl | wc -l)
    is "groups: drops of $lang" "$(sqlite3 two.db "select sum(h.dropped), sum(h.docs) from histograms h join cuts c using (cut) where c.threshold = $cut")" \
        "$want|$(grep -c "\"$lang\"" two.jsonl)"
done
is "groups: values once" "$(sqlite3 two.db 'select (select count(*) from signals) - (select sum(docs) from histograms)')" 0
has "groups: far examples" two.html 'dropped, farthest beyond it'

rc "page is the same again" 0 "$KIJIL" report run.db -o page2.html
same "page is the same again" page.html page2.html

printf '{"step":%d,"loss":%d,"lr":0.1,"tokens":%d,"tokens_per_s":5}\n' \
    1 9 10 2 7 20 3 5 30 >m.jsonl
rc "curve" 0 "$KIJIL" report run.db --metrics m.jsonl -o curve.html
has "curve: drawn" curve.html 'Loss by step'
hasnt "curve: not without" page.html 'Loss by step'

rc "report: no such file" 1 "$KIJIL" report none.db
has "report: no such file" err 'none\.db'
is "report makes no file" "$(echo none.db*)" "none.db*"
rc "report: no ledger" 1 "$KIJIL" report docs.jsonl
rc "report: usage" 2 "$KIJIL" report

# ---- check ----
rc "check" 0 "$KIJIL" check run.db
has "check: closing line" err '1 files, .* 0 mismatches'
mkdir d && cp run.db out.jsonl.zst d/
rc "check: folder" 0 bash -c "cd d && '$KIJIL' check ."
printf x >>d/out.jsonl.zst
rc "check: changed file" 1 bash -c "cd d && '$KIJIL' check ."
has "check: names the file" err 'out\.jsonl\.zst: content is'
rm d/out.jsonl.zst
rc "check: missing file" 1 bash -c "cd d && '$KIJIL' check ."
has "check: missing file" err 'out\.jsonl\.zst: missing'
rc "check: nothing there" 1 "$KIJIL" check "$(mktemp -d -p .)"
rc "check: no folder" 1 "$KIJIL" check nowhere
rc "check: progress" 0 "$KIJIL" check run.db --progress json
has "check: progress" err '^\{"command":"check"'

# ---- shards, and whether their documents came through ----
if "$KIJIL" tokenize --help >/dev/null 2>&1; then
    mkdir whole
    "$KIJIL" tokenizer train --vocab-size 300 -o whole/t.json --jsonl docs.jsonl -q 2>err
    "$KIJIL" filter -r ./few.yaml --ledger whole/run.db docs.jsonl -q |
        "$KIJIL" tokenize -t whole/t.json -o whole/shards --ledger whole/run.db -q
    rc "check: shards" 0 "$KIJIL" check whole
    has "check: shards" err ' 1 shards with [1-9][0-9]* tokens: 0 mismatches'
    mkdir other
    cp whole/run.db whole/t.json other/
    "$KIJIL" filter -r ./few.yaml docs.jsonl -q | jq -c '.text |= .[0:-1] + "~"' |
        "$KIJIL" tokenize -t whole/t.json -o other/shards -q
    rc "check: shards of other texts" 1 "$KIJIL" check other
    has "check: shards of other texts" err 'manifest\.jsonl: made from other documents'
    rc "check: shards alone" 0 "$KIJIL" check whole/shards
    rc "report: tokens" 0 "$KIJIL" report whole/run.db -o page.html
    has "report: tokens" page.html '[0-9,]+</b><span>tokens kept'
    if command -v sqlite3 >/dev/null; then
        sqlite3 whole/run.db "UPDATE documents SET id = 'other' WHERE doc = (SELECT doc
            FROM decisions GROUP BY doc HAVING min(kept) = 1 LIMIT 1)"
        rc "check: lineage" 1 "$KIJIL" check whole
        has "check: lineage" err 'docs\.jsonl\.zst: document doc-[0-9]+ is not in the ledger'
    fi
    printf '\377\377' | dd of=whole/shards/shard-00000.bin bs=1 seek=100 conv=notrunc 2>/dev/null
    rc "check: changed shard" 1 "$KIJIL" check whole/shards
    has "check: changed shard" err 'shard-00000\.bin: content is'
else
    skip "tokenize is not there"
fi

if command -v sqlite3 >/dev/null; then
    # A file that a later tool rewrote whole, hash and all: the documents tell.
    zstd -dcq out.jsonl.zst 2>/dev/null | head -n 20 >d/cut.jsonl
    if [[ -s d/cut.jsonl ]]; then
        cp run.db d/run.db
        rc "filter into file" 0 "$KIJIL" filter -r ./few.yaml --ledger d/2.db -o d/f.jsonl out.jsonl.zst
        head -n 20 d/f.jsonl >d/g && mv d/g d/f.jsonl
        sqlite3 d/2.db "UPDATE outputs SET hash = NULL"
        rc "check: documents gone" 1 "$KIJIL" check d/2.db
        has "check: documents gone" err 'f\.jsonl: 20 documents, by the ledger'
    fi
    sqlite3 run.db "UPDATE stages SET docs_kept = docs_kept - 1 WHERE name = 'dedup'"
    rc "check: books" 1 "$KIJIL" check run.db
    has "check: books" err 'stage dedup: .* 1 missing'
    rc "report: books" 0 "$KIJIL" report run.db -o page.html
    has "report: books" page.html 'books do not balance'

    # The questions in the documentation are answered without error.
    "$KIJIL" filter -r ./few.yaml --ledger q.db docs.jsonl -q -o q.jsonl
    awk '/^```sql$/ {on = 1; n++; next} /^```$/ {on = 0}
         on {print > ("q" n ".sql")}' "$TOP/docs/formats/ledger.md"
    n=0
    for q in q[0-9]*.sql; do
        [[ -e $q ]] || continue
        rc "documentation: $q" 0 sqlite3 -bail q.db ".read $q"
        if [[ -s out ]]; then n=$((n + 1)); fi
    done
    if [[ $n -ge 5 ]]; then ok; else bad "documentation: only $n examples gave rows"; fi
else
    skip "no sqlite3 here: tampering and the examples of the documentation"
fi
done_testing
