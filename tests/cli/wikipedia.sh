#!/bin/bash
# extract --source wikipedia: dumps in, articles out, in both languages.
. "$(dirname "$0")/lib.sh"

page() { # TITLE NS ID REVISION BODY [REDIRECT]
    printf '  <page>\n    <title>%s</title>\n    <ns>%s</ns>\n    <id>%s</id>\n' "$1" "$2" "$3"
    [[ -n ${6:-} ]] && printf '    <redirect title="%s" />\n' "$6"
    printf '    <revision>\n      <id>%s</id>\n      <parentid>1</parentid>\n' "$4"
    printf '      <timestamp>2024-05-01T02:03:04Z</timestamp>\n      <contributor>'
    printf '<username>x</username><id>7</id></contributor>\n'
    printf '      <text bytes="9" xml:space="preserve">%s</text>\n' "$5"
    printf '      <sha1>abc</sha1>\n    </revision>\n  </page>\n'
}
dump() { # LANG MAIN-PAGE
    printf '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" '
    printf 'xml:lang="%s">\n  <siteinfo>\n    <dbname>%swiki</dbname>\n' "$1" "$1"
    printf '    <base>https://%s.wikipedia.org/wiki/%s</base>\n  </siteinfo>\n' "$1" "$2"
    cat
    printf '</mediawiki>\n'
}
{
    page '아인슈타인 방정식 & 물리' 0 11 111 "{{물리 정보|이름=가}}
'''아인슈타인 방정식'''({{llang|en|Einstein equations}})은 &lt;math&gt;G_{\\mu\\nu}&lt;/math&gt;로 쓴다.&lt;ref&gt;출처&lt;/ref&gt;
== 유도 ==
[[일반 상대성이론|상대론]]에서
=== 세부 ===
&lt;math&gt;a &amp;lt; b&lt;/math&gt;이고 끝.
== 각주 ==
{{각주}}
[[분류:물리학]]"
    page '넘김' 0 12 112 '#넘겨주기 [[가]]' '가'
    page '토론:가' 1 13 113 '토론'
    page '배' 0 14 114 "'''배'''는 다음을 뜻한다. {{동음이의}}"
    page '도시 목록' 0 15 115 '* [[서울]]
* [[부산]]'
    page '빈 글' 0 16 116 '{{토막글}}'
} | dump ko '위키백과:대문' >kowiki-pages.xml
{
    page 'Energy' 0 21 211 "'''Energy''' is &lt;math&gt;E=mc^2&lt;/math&gt;.
== Units ==
{| class=&quot;wikitable&quot;
! Unit !! Symbol
|-
| [[joule]] || J
|}
=== Others ===
See {{convert|5|km|mi}}.
== See also ==
* [[Work]]"
    page 'Template:X' 10 22 212 'x'
} | dump en 'Main_Page' >enwiki-pages.xml

rc ko 0 "$KIJIL" extract --source wikipedia kowiki-pages.xml -o ko.jsonl
has records err '6 records: article 4 redirect 1 other-namespace 1'
has dropped err 'extract.wiki_disambiguation +1'
has empty err 'extract.empty +1'
is documents "$(wc -l <ko.jsonl)" 2
has id ko.jsonl '"id":"wikipedia-ko:11:111"'
has url ko.jsonl '"url":"https://ko.wikipedia.org/wiki/%EC%95%84%EC%9D%B8[^"]*_%26_[^"]*"'
has date ko.jsonl '"date":"2024-05-01T02:03:04Z"'
has language ko.jsonl '"language":"ko".*"source":"wikipedia-ko"'
has title ko.jsonl '"metadata":\{"title":"아인슈타인 방정식 & 물리","lang":"ko"\}'
want='아인슈타인 방정식(영어: Einstein equations)은 $G_{\\mu\\nu}$로 쓴다.'
want+='\n\n## 유도\n\n상대론에서\n\n### 세부\n\n$a &lt; b$이고 끝."'
grep -aFq "\"text\":\"$want" ko.jsonl && ok || bad "korean text: $(head -n 1 ko.jsonl)"
has lists-kept ko.jsonl '"text":"- 서울\\n- 부산"'
rc auto 0 "$KIJIL" extract -q kowiki-pages.xml -o auto.jsonl
same "known without --source" auto.jsonl ko.jsonl
rc lists 0 "$KIJIL" extract --source wikipedia --skip-lists kowiki-pages.xml -o few.jsonl
has lists err 'extract.wiki_list +1'
rc name 0 "$KIJIL" extract -q --source wikipedia --source-name wiki kowiki-pages.xml
has name out '"source":"wiki"'

rc en 0 "$KIJIL" extract -q --source wikipedia enwiki-pages.xml -o en.jsonl
want='Energy is $E=mc^2$.\n\n## Units\n\n| Unit | Symbol |\n| joule | J |'
want+='\n\n### Others\n\nSee 5 km."'
grep -aFq "\"text\":\"$want" en.jsonl && ok || bad "english text: $(cat en.jsonl)"
has en-id en.jsonl '"id":"wikipedia-en:21:211","text"'

# ---- compressed as the dumps are: many streams, one behind the other ----
norm() { sed 's/"file_path":"[^"]*",//; s/"warc":{[^}]*}//' "$1"; }
norm ko.jsonl >want
if command -v bzip2 >/dev/null; then
    { head -c 700 kowiki-pages.xml | bzip2 -c; tail -c +701 kowiki-pages.xml | bzip2 -c; } \
        >kowiki-pages.xml.bz2
    rc bz2 0 "$KIJIL" extract -q --source wikipedia kowiki-pages.xml.bz2 -o got.jsonl
    norm got.jsonl >got
    same bz2 got want
    size=$(stat -c %s kowiki-pages.xml.bz2)
    head -c $((size - 60)) kowiki-pages.xml.bz2 >cut.xml.bz2
    for j in 2 8; do # streams are unpacked ahead
        "$KIJIL" extract -q -j$j --source wikipedia kowiki-pages.xml.bz2 | norm - >got
        same "bz2 at -j$j" got want
    done
    rc cut-bz2 3 "$KIJIL" extract -q --source wikipedia cut.xml.bz2
else
    skip "bz2: no bzip2"
fi
"$KIJIL" extract -q --source wikipedia - <kowiki-pages.xml >got.jsonl
norm got.jsonl >got
same stdin got want
for j in 1 4; do
    "$KIJIL" extract -q -j$j --source wikipedia kowiki-pages.xml enwiki-pages.xml >"j$j"
done
same threads j1 j4

# ---- damage ----
head -c 1000 kowiki-pages.xml >cut.xml
rc cut 3 "$KIJIL" extract -q --source wikipedia cut.xml --rejects rejects
has cut rejects '"rule":"extract.wiki_cut"'
echo '<html>no dump</html>' >none.xml
rc none 3 "$KIJIL" extract -q --source wikipedia none.xml
rc bad-source 2 "$KIJIL" extract --source wiki kowiki-pages.xml

# ---- in a recipe, in parts, with a restart at each ----
{
    for i in $(seq 1 400); do
        page "문서 $i" 0 "$i" "9$i" "'''문서 $i'''의 본문이다. $(head -c 9000 /dev/zero |
            tr '\0' x)"
    done
} | dump ko '위키백과:대문' >big.xml
cat >r.yaml <<'YAML'
steps:
  - extract: {source: wikipedia}
YAML
rc run 0 "$KIJIL" run -q r.yaml -i big.xml -o run --part-size 1M
[[ $(find run/1-extract -name 'part-*' | wc -l) -ge 3 ]] && ok || bad "parts of a dump"
for f in run/1-extract/part-*; do zstd -dcq "$f"; done >run.jsonl
"$KIJIL" extract -q --source wikipedia big.xml >big.jsonl
same "parts and the whole" run.jsonl big.jsonl
done_testing
