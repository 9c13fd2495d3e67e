#!/bin/bash
# `kijil urls`: block lists as UT1 lays them out, FineWeb's word rules, take-down
# lists, and what pages say of their use.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

doc() { printf '{"id":"%s","text":"t","url":"%s"%s}\n' "$1" "$2" "${3:+,\"metadata\":$3}"; }
{
    doc plain https://news.example.kr/a/b?c=1
    doc domain http://Bad.Example/
    doc below https://user:pw@cdn.www.bad.example:8080/x
    doc notbelow https://notbad.example/
    doc address http://www.mixed.example/bad/page.html
    doc address2 https://mixed.example/bad?x=1#top
    doc notaddress https://mixed.example/badly/page
    doc word https://x.example/free-CASINO/1
    doc wordinside https://x.example/mycasinos/1
    doc soft1 https://x.example/poker/poker
    doc soft2 https://x.example/poker-Bonus
    doc sub https://x.example/a-ba-d_string/
    doc gone https://www.gone.example/page/#x
    doc notgone https://gone.example/page/2
    doc 'urn:1' https://y.example/
    printf '{"id":"nourl","text":"t"}\n'
    doc noindex https://z.example/1 '{"robots":"follow, NoIndex"}'
    doc none https://z.example/2 '{"robots":"googlebot: none"}'
    doc noai https://z.example/3 '{"title":"x","robots":"noai,noimageai"}'
    doc index https://z.example/4 '{"robots":"index, nofollow, noimageindex"}'
    doc tdm https://z.example/5 '{"tdm_reservation":"1"}'
    doc notdm https://z.example/6 '{"tdm_reservation":"0"}'
} >in.jsonl
mkdir -p ut1/adult ut1/mixed
printf '# comment\nbad.example\r\n\n' >ut1/adult/domains
printf 'mixed.example/bad\n' | gzip >ut1/mixed/urls.gz
printf 'casino\n' >hard
printf 'poker\nbonus\n' >soft
printf 'bad-string\n' >sub
printf 'http://gone.example/page\nurn:1\n' >takedown

# dropped OPTION... : "id:rule" of all that go, sorted
dropped() {
    "$KIJIL" urls -q "$@" in.jsonl --rejects rej.jsonl >kept.jsonl || return
    is "all there: $1" "$(cat kept.jsonl rej.jsonl | wc -l)" "$(wc -l <in.jsonl)"
    jq -r '.id + ":" + (.drop.rule | sub("url."; ""))' rej.jsonl | sort | paste -sd' '
}
dropped --blocklist ut1 >got
is 'block lists' "$(tail -n 1 got)" 'address2:address address:address below:domain domain:domain'
is 'one category' "$(dropped --blocklist ut1/adult | tail -n 1)" 'below:domain domain:domain'
is 'words' "$(dropped --banned-words hard --soft-words soft --banned-subwords sub | tail -n 1)" \
    'soft2:soft_words sub:banned_subwords word:banned_words'
is 'take-down' "$(dropped --takedown takedown | tail -n 1)" 'gone:takedown urn:1:takedown'
is 'respect robots' "$(dropped --respect robots | tail -n 1)" 'noindex:robots none:robots'
is 'respect all' "$(dropped --respect robots,noai,tdm | tail -n 1)" \
    'noai:noai noindex:robots none:robots tdm:tdm'
has 'signals of kept' kept.jsonl '"id":"plain".*"signals":\{"url.robots":0,"url.noai":0,"url.tdm":0\}'

# From the page to the verdict
mkdir site
words='<p>Long enough a sentence to be the main text of this page, and then one more of the same kind, so that it is kept whole.</p>'
for k in noai index; do
    printf '<html><head><title>t</title><meta name="robots" content="%s"></head><body><main>%s%s%s</main></body></html>' \
        $k "$words" "$words" "$words" >site/$k.html
done
"$KIJIL" pack -q site -o site.warc.gz --base-url https://s.example/
rc 'pages' 0 bash -c "'$KIJIL' extract -q site.warc.gz | '$KIJIL' urls -q --respect noai --ledger run.db | jq -r .url"
is 'pages: noai goes' "$(cat "$T/out")" https://s.example/index.html
rc 'whatif' 0 "$KIJIL" whatif run.db url.noai=off
has 'whatif: would stay' "$T/out" '^gained +1 '

# Headers, several of one name, and metas for one crawler
page() { # NAME HEADERS HEAD : a response record
    local body http
    body="<html><head><title>t</title>$3</head><body><main>$words$words$words</main></body></html>"
    http=$(printf 'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n%b\r\n%s' "$2" "$body")
    printf 'WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:x:%s>\r\nWARC-Target-URI: https://s.example/%s\r\n' "$1" "$1"
    printf 'Content-Type: application/http\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n' "${#http}" "$http"
}
{
    page noai-header 'X-Robots-Tag: noai, noimageai\r\n' ''
    page noai-second 'x-robots-tag: nofollow\r\nX-ROBOTS-TAG: NOAI\r\n' ''
    page noai-meta '' '<META NAME="Robots" CONTENT="max-snippet:5"><meta name="robots" content="NoAI">'
    page noindex-agent 'X-Robots-Tag: otherbot: noindex, nofollow\r\n' ''
    page noindex-header 'X-Robots-Tag: noindex\r\n' '<meta name="robots" content="index, follow">'
    page noindex-crawler '' '<meta name="GPTBot" content="noindex">'
    page tdm-header 'TDM-Reservation: 1\r\nTDM-Policy: https://s.example/p.json\r\n' ''
    page tdm-meta '' '<meta name="tdm-reservation" content="1">'
    page tdm-either 'tdm-reservation: 0\r\n' '<meta name="tdm-reservation" content="1">'
    page free-zero 'tdm-reservation: 0\r\n' '<meta name="viewport" content="noai">'
    page free-images 'X-Robots-Tag: noimageai\r\n' '<meta name="robots" content="noarchive">'
    page free-later 'X-Robots-Tag: unavailable_after: 25 Jun 2050 15:00:00 PST\r\n' ''
} >said.warc
"$KIJIL" extract -q said.warc >in.jsonl
is 'said: noai' "$(dropped --respect noai | tail -n 1 | sed 's/<urn:x:\([a-z-]*\)>/\1/g')" \
    'noai-header:noai noai-meta:noai noai-second:noai'
is 'said: noindex' "$(dropped --respect robots | tail -n 1 | sed 's/<urn:x:\([a-z-]*\)>/\1/g')" \
    'noindex-agent:robots noindex-crawler:robots noindex-header:robots'
is 'said: tdm' "$(dropped --respect tdm | tail -n 1 | sed 's/<urn:x:\([a-z-]*\)>/\1/g')" \
    'tdm-either:tdm tdm-header:tdm tdm-meta:tdm'
is 'said: all' "$(dropped --respect robots,noai,tdm | tail -n 1 | wc -w; jq -r .id kept.jsonl | sort | paste -sd' ')" \
    "9
<urn:x:free-images> <urn:x:free-later> <urn:x:free-zero>"

rc 'no lists' 2 "$KIJIL" urls in.jsonl
rc 'an empty folder' 2 "$KIJIL" urls --blocklist site in.jsonl
rc 'no such list' 1 "$KIJIL" urls --takedown nothing in.jsonl
rc 'respect what' 2 "$KIJIL" urls --respect everything in.jsonl
done_testing
