#!/bin/bash
# pack, extract, cat: a tree of files to an archive and back.
. "$(dirname "$0")/lib.sh"

# ---- a small site: UTF-8, EUC-KR, plain text, and what is no text ----
mkdir -p site/sub
para='This is a paragraph of text, with commas, that is long enough to be taken for text.'
ko='이 문단은 본문으로 볼 만큼 길게 쓴 글이며, 쉼표도 있고 마침표도 있습니다.'
for i in $(seq -w 1 40); do
    {
        printf '<html lang=en><head><title>Page %s</title></head><body>' "$i"
        printf '<nav><a href=/>MENU</a></nav><h1>Head %s</h1><p>%s</p>' "$i" "$para"
        printf '<p>Number %s. %s</p><footer>FOOT</footer></body></html>\n' "$i" "$para"
    } >"site/page$i.html"
done
printf '<html lang=ko><head><meta charset=euc-kr><title>%s</title></head><body>
<h1>%s</h1><p>%s</p><p>%s</p></body></html>\n' 제목 제목 "$ko" "$ko" |
    iconv -f UTF-8 -t EUC-KR >site/sub/ko.html
printf 'plain text, as it stands\r\nsecond line\r\n' >site/sub/a.txt
printf 'body { color: red }' >site/style.css
printf '\x89PNG\r\n' >site/sub/picture.png
: >site/empty.html
ln -s . site/sub/circle
touch -d 2020-01-02T03:04:05Z site/*.* site/sub/*.*

rc pack 0 "$KIJIL" pack site -o site.warc.gz --base-url https://example.org/x
has pack-summary err '45 files'
mkdir again
rc pack-again 0 "$KIJIL" pack site/ -o again/site.warc.gz --base-url https://example.org/x/
same "the same files give the same archive" site.warc.gz again/site.warc.gz
zcat site.warc.gz >site.warc
is "records" "$(grep -ac '^WARC/1.1' site.warc)" 46
has uri site.warc '^WARC-Target-URI: https://example.org/x/sub/ko.html'
has date site.warc '^WARC-Date: 2020-01-02T03:04:05Z'
has type site.warc '^Content-Type: text/html.$'
hasnt "no charset is invented" site.warc '^Content-Type: text/html;'
rc include 0 "$KIJIL" pack site -o few.warc --include '*.txt,style.*' --date 2021-01-01T00:00:00Z
is include "$(grep -ac '^WARC-Type: response' few.warc)" 2
has date few.warc '^WARC-Date: 2021-01-01T00:00:00Z'
rc no-file 1 "$KIJIL" pack site -o none.warc --include '*.none'
rc no-dir 2 "$KIJIL" pack -o none.warc
rc bad-date 2 "$KIJIL" pack site -o none.warc --date yesterday

# ---- and back ----
rc extract 0 "$KIJIL" extract site.warc.gz -o site.jsonl
has summary err '45 documents in, 42 kept'
has rules err 'extract.not_html +2'
has empty err 'extract.empty +1'
has records err '46 records: warcinfo 1 response 45'
is documents "$(wc -l <site.jsonl)" 42
has korean site.jsonl "\"text\":\"제목\\\\n$ko\\\\n$ko\""
has enc site.jsonl '"enc":\{"declared":"euc-kr","detected":"EUC-KR","used":"EUC-KR","replaced":0\}'
has meta site.jsonl '"metadata":\{"title":"Page 07","lang":"en","confidence":0\.[0-9]+\}'
has plain site.jsonl '"text":"plain text, as it stands\\nsecond line"'
has url site.jsonl '"url":"https://example.org/x/page07.html"'
has id site.jsonl '"id":"<urn:uuid:[0-9a-f-]{36}>"'
has place site.jsonl '"warc":\{"file":"site.warc.gz","offset":[0-9]+,"length":[0-9]+'
hasnt menu site.jsonl 'MENU|FOOT'

# an address leads to its record
if command -v jq >/dev/null; then
    place='select(.url | endswith("page23.html")) | "\(.warc.offset) \(.warc.length)"'
    read -r off len < <(jq -r "$place" site.jsonl)
    tail -c +$((off + 1)) site.warc.gz | head -c "$len" | zcat >record
    has "offset and length" record '^WARC-Target-URI: https://example.org/x/page23.html'
else
    skip "offset and length: no jq"
fi

# ---- every form of the archive, every number of threads ----
norm() { sed 's/"file_path":"[^"]*",//; s/"warc":{[^}]*}//' "$1"; }
norm site.jsonl >want
zstd -q site.warc -o site.warc.zst 2>/dev/null && cp site.warc.zst odd-name
cat site.warc | gzip >one-member.warc.gz
for f in site.warc odd-name one-member.warc.gz; do
    [[ -e $f ]] || { skip "$f: no zstd"; continue; }
    rc "extract $f" 0 "$KIJIL" extract -q "$f" -o got.jsonl
    norm got.jsonl >got
    same "$f" got want
done
"$KIJIL" extract -q - <site.warc.gz >got.jsonl
norm got.jsonl >got
same stdin got want
for j in 1 2 4 8; do
    "$KIJIL" extract -q -j$j site.warc.gz site.warc few.warc >"j$j"
done
same j2 j1 j2
same j4 j1 j4
same "j8, which unpacks ahead" j1 j8
for i in 0 1 2; do
    "$KIJIL" extract -q --shard $i/3 site.warc.gz >"shard$i"
    [[ -s shard$i ]] && ok || bad "shard $i is empty"
done
sort site.jsonl >want.sorted
sort shard0 shard1 shard2 >got.sorted
same shards got.sorted want.sorted
rc limit 0 "$KIJIL" extract -q --limit 3 site.warc.gz
is "limit (one of the three is empty)" "$(wc -l <out)" 2

# ---- options ----
rc markdown 0 "$KIJIL" extract -q --format markdown site.warc.gz
has markdown out '"text":"# Head 07\\n\\nThis'
rc min-chars 0 "$KIJIL" extract --min-chars 50 site.warc.gz -o /dev/null
has min-chars err 'extract.empty +2'
rc whole 0 "$KIJIL" extract -q --whole-page site.warc.gz
has whole out 'MENU'
rc page 0 "$KIJIL" extract -q site/page07.html
has page out '"text":"Head 07'
has page-id out '"id":"xxh128:[0-9a-f]{32}"'
rc page-stdin 0 "$KIJIL" extract -q --source html - <site/page07.html
has page-stdin out '"text":"Head 07'
rc wet 0 "$KIJIL" extract -q --source wet site.warc.gz
is "wet takes conversion records only" "$(wc -c <out)" 0
rc bad-option 2 "$KIJIL" extract --format pdf site.warc.gz
rc no-file 1 "$KIJIL" extract no-such-file.warc.gz
rc dry-run 0 "$KIJIL" extract --dry-run site.warc.gz
has dry-run out 'format: text'

# ---- damage costs itself ----
size=$(stat -c %s site.warc.gz)
head -c $((size / 2)) site.warc.gz >cut.warc.gz
rc cut 3 "$KIJIL" extract cut.warc.gz -o cut.jsonl --rejects cut.rejects
has cut cut.rejects '"rule":"extract.warc_(member|cut)"'
has cut-share err '^  cut.warc.gz: [0-9]+ faults?, 9[0-9]\.[0-9][0-9] % of '"$((size / 2))"' bytes recovered$'
has cut-lost cut.rejects '"drop":\{[^}]*"value":[0-9]+,"damaged":true'
has cut-place cut.rejects '"warc":\{"file":"cut.warc.gz","offset":[0-9]+'
n=$(wc -l <cut.jsonl)
[[ $n -gt 10 && $n -lt 42 ]] && ok || bad "cut: $n documents"
# one broken byte in the middle of one member
cp site.warc.gz broken.warc.gz
printf '\xff\xff\xff\xff' | dd of=broken.warc.gz bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
rc broken 3 "$KIJIL" extract -q broken.warc.gz -o broken.jsonl
is "one page is lost" "$(($(wc -l <broken.jsonl) >= 40))" 1
{ cat site.warc; echo garbage; cat site.warc; } >garbage.warc
rc garbage 3 "$KIJIL" extract -q garbage.warc -o garbage.jsonl --rejects garbage.rejects
is garbage "$(wc -l <garbage.jsonl)" 84
has garbage garbage.rejects 'bytes outside any record'
has "lost bytes" garbage.rejects '"value":8,"damaged"'
rc sound 0 "$KIJIL" extract site.warc.gz -o /dev/null
hasnt "no damage, no word of it" err recovered
printf 'no archive' >none
rc none 3 "$KIJIL" extract -q none
for j in 1 4 8; do
    "$KIJIL" extract -q -j$j cut.warc.gz broken.warc.gz garbage.warc --rejects "r$j" >"d$j"
done
same "damage at -j4" d1 d4
same "rejects at -j4" r1 r4
same "damage at -j8" d1 d8
same "rejects at -j8" r1 r8

# ---- cat ----
rc cat 0 "$KIJIL" cat site.jsonl
has cat out '^url +https://example.org/x/page07.html$'
has cat out "^$ko\$"
id=$(grep -a page07 site.jsonl | sed 's/.*<urn:uuid:\([0-9a-f-]*\)>.*/\1/')
rc cat-id 0 "$KIJIL" cat site.jsonl "$id"
is cat-id "$(grep -ac '^id ' out)" 1
has cat-id out '^Head 07$'
rc cat-bare 0 "$KIJIL" cat --bare site.jsonl "<urn:uuid:$id>"
is cat-bare "$(head -n 1 out)" 'Head 07'

# ---- real archives ----
if [[ -d $SHARED/warc ]] && command -v python3 >/dev/null; then
    find "$SHARED/warc" -type f ! -name MANIFEST.tsv ! -name '*.py' | sort >list
    mapfile -t files <list
    rc real 3 "$KIJIL" extract "${files[@]}" -o real.jsonl
    is "real records" "$(grep -a ' records:' err)" \
        "$(python3 - "$SHARED/warc/MANIFEST.tsv" "$(grep -a ' records:' err)" <<'PY'
import collections, csv, sys
want = collections.Counter()
for r in csv.DictReader(open(sys.argv[1]), delimiter="\t", quoting=csv.QUOTE_NONE):
    for t in r["records_by_type"].split():
        if t != "-":
            k, n = t.rsplit(":", 1)
            want[k] += int(n)
words = sys.argv[2].split()
order = words[2::2]
print(sum(want.values()), "records:", *["%s %d" % (k, want.pop(k, 0)) for k in order], *want)
PY
)"
else
    skip "no real archives in ../shared/data, or no python3"
fi
done_testing
