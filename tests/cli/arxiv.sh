#!/bin/bash
# extract --source arxiv: tars of papers in, one document each out.
. "$(dirname "$0")/lib.sh"
command -v tar >/dev/null && command -v gzip >/dev/null || { skip "no tar"; done_testing; exit; }

# ---- a collection as arXiv packs it: tars, single files, what is no LaTeX ----
mkdir -p one two col/2101
cat >one/main.tex <<'TEX'
\documentclass{article}
\newcommand{\R}{\mathbb{R}}
\title{First}
\begin{document}
\maketitle
\input{intro} % comment
\include{parts/end}
\bibliography{refs}
\end{document}
TEX
mkdir one/parts
printf '\\section{Intro}\nOver $\\R^n$~\\cite{a}.\n' >one/intro.tex
printf '\\section{End}\nDone.\\input{lost}\n' >one/parts/end.tex
printf 'not text' >one/figure.png
tar -C one -czf col/2101/2101.00001.gz main.tex intro.tex parts figure.png
printf '\\documentclass{article}\\begin{document}\\section{Alone}One file.\\end{document}' |
    gzip >col/2101/hep-th9901002.gz
# Korean in EUC-KR
printf '\\documentclass{article}\\title{키질}\\begin{document}이것은 한국어로 쓴 논문의 본문이며 옛 부호를 쓴다.\\end{document}' |
    iconv -f UTF-8 -t EUC-KR | gzip >col/2101/2101.00003.gz
printf '%%PDF-1.4\n\0\1\2' >col/2101/2101.00004.pdf
tar -cf arXiv_src_2101_001.tar --format=ustar -C col 2101/2101.00001.gz \
    2101/hep-th9901002.gz 2101/2101.00003.gz 2101/2101.00004.pdf

rc collection 0 "$KIJIL" extract --source arxiv arXiv_src_2101_001.tar -o got.jsonl
has records err '4 records: paper 4'
has pdf err 'extract.not_latex +1'
is documents "$(wc -l <got.jsonl)" 3
has id got.jsonl '"id":"arxiv:2101.00001"'
has url got.jsonl '"url":"https://arxiv.org/abs/2101.00001".*"source":"arxiv"'
has old-id got.jsonl '"id":"arxiv:hep-th/9901002","text":"## Alone\\n\\nOne file."'
want='"text":"# First\n\n## Intro\n\nOver $\\mathbb{R}^n$ [1].\n\n## End\n\nDone."'
grep -aFq "$want" got.jsonl && ok || bad "paper: $(head -n 1 got.jsonl)"
has metadata got.jsonl '"metadata":\{"title":"First","main":"main.tex","missing":1\}'
has korean got.jsonl '"text":"# 키질\\n\\n이것은 한국어로 쓴 논문의 본문이며'

rc auto 0 "$KIJIL" extract arXiv_src_2101_001.tar -o auto.jsonl
same "known without --source" auto.jsonl got.jsonl

# ---- one paper, packed in any way ----
text() { grep -ao '"text":"[^"]*"' "$1"; }
head -n 1 got.jsonl >first.jsonl
text first.jsonl >want
tar -C one -cf paper.tar main.tex intro.tex parts figure.png
gzip -k paper.tar
for f in paper.tar paper.tar.gz col/2101/2101.00001.gz; do
    rc "$f" 0 "$KIJIL" extract -q --source arxiv "$f" -o paper.jsonl
    text paper.jsonl >got
    same "$f" got want
done
"$KIJIL" extract -q paper.tar.gz | text - >got
same "known without --source" got want
"$KIJIL" extract -q --source arxiv - <paper.tar.gz >paper.jsonl
text paper.jsonl >got
same stdin got want
rc tex 0 "$KIJIL" extract -q --source arxiv one/intro.tex
has tex out '"text":"## Intro\\n\\nOver'

# ---- damage costs itself ----
size=$(stat -c %s col/2101/2101.00001.gz)
mkdir -p bad/2101
head -c $((size / 2)) col/2101/2101.00001.gz >bad/2101/2101.00001.gz
cp col/2101/hep-th9901002.gz bad/2101/
tar -cf bad.tar -C bad 2101/2101.00001.gz 2101/hep-th9901002.gz
rc damage 3 "$KIJIL" extract -q --source arxiv bad.tar -o bad.jsonl --rejects rejects
has damage rejects '"rule":"extract.file".*2101.00001'
is "the others stay" "$(wc -l <bad.jsonl)" 1

# ---- the same bytes at every thread count, and in parts ----
mkdir -p many/2102
for i in $(seq -w 1 60); do
    {
        printf '\\documentclass{article}\\title{P %s}\\begin{document}' "$i"
        awk -v s="$i" 'BEGIN { srand(s); for (k = 0; k < 9000; k++)
            printf "%s", rand() }'
        printf '\\end{document}'
    } | gzip >"many/2102/2102.000$i.gz"
done
tar -cf many.tar -C many 2102
for j in 1 4; do
    "$KIJIL" extract -q -j$j --source arxiv many.tar paper.tar >"j$j"
done
same threads j1 j4
is many "$(wc -l <j1)" 61
printf 'steps:\n  - extract: {source: arxiv}\n' >r.yaml
rc run 0 "$KIJIL" run -q r.yaml -i many.tar -i paper.tar -o run --part-size 8K
[[ $(find run/1-extract -name 'part-*' | wc -l) -ge 2 ]] && ok || bad "parts of a collection"
for f in run/1-extract/part-*; do zstd -dcq "$f"; done >run.jsonl
same "parts and the whole" run.jsonl j1
done_testing
