#!/bin/bash
# kijil dedup --index: a corpus against what earlier ones kept. The outcome is that
# of one run over all of them in which earlier ones come first.
. "$(dirname "$0")/lib.sh"

# Four corpora of words; every third document is a copy, edited or not, of any
# earlier one, in its own corpus or before it.
awk 'BEGIN { srand(12)
    for (i = 0; i < 800; i++) {
        if (i % 3 == 2) {
            n = split(text[int(rand() * i)], w, " ")
            for (e = int(rand() * 4); e > 0; e--) w[1 + int(rand() * n)] = "e" int(rand() * 9e6)
        } else {
            n = 40 + int(rand() * 60)
            for (k = 1; k <= n; k++) w[k] = "w" int(rand() * 5000)
        }
        t = ""
        for (k = 1; k <= n; k++) t = t (k > 1 ? " " : "") w[k]
        text[i] = t
        printf "{\"id\":\"d%04d\",\"text\":\"%s\",\"corpus\":%d,\"date\":\"2024-01-%02d\"}\n", i, t,
            int(i / 200), 1 + int(rand() * 28) > "c" int(i / 200) ".jsonl"
    } }' </dev/null
# In one run: an earlier corpus is the better one.
awk '{ print substr($0, 1, length($0) - 1) ",\"rank\":" (9 - substr(FILENAME, 2, 1)) "}" }' c?.jsonl >all.jsonl

ids() { grep -ho '^{"id":"[^"]*"' "$@" | sort; }
for method in minhash "minhash --bands 50 --rows 4 --ngram 1" exact; do
    rm -rf ix
    for k in 0 1 2 3; do
        # shellcheck disable=SC2086
        rc "$method, corpus $k" 0 "$KIJIL" dedup $method -q --keep first --index ix "c$k.jsonl" \
            -o "o$k.jsonl" --rejects "r$k.jsonl"
    done
    # shellcheck disable=SC2086
    rc "$method, all at once" 0 "$KIJIL" dedup $method -q --keep best=rank all.jsonl -o o.jsonl --rejects r.jsonl
    ids o?.jsonl >got
    ids o.jsonl >want
    same "$method: the same stay" got want
    pairs() { grep -ho '"cluster":{[^}]*}' "$@" | sed 's/.*"keeper":\("[^"]*"\),\("similarity":.*\)}/\1 \2/'; }
    paste <(grep -ho '^{"id":"[^"]*"' r?.jsonl) <(pairs r?.jsonl) | sort >got
    paste <(grep -ho '^{"id":"[^"]*"' r.jsonl) <(pairs r.jsonl) | sort >want
    # A document whose very set was dropped earlier shares that one's fate; the index
    # does not know of it, and may find a keeper that came later and is more similar.
    is "$method: with the same keepers, or better ones" \
        "$(paste got want | sed 's/"similarity"://g' | awk '$1 != $4 || ($2 != $5 || $3 != $6) && !($3 > $6)')" ""
    is "$method: nearly all the same" "$(($(comm -3 got want | wc -l) <= 6))" 1
    is "$method: some go for earlier corpora" "$(($(grep -c '"keeper":"d0[0-5]' r3.jsonl) > 3))" 1
done

# ---- again, in shards, in files, in another order: by the segments before its own ----
rm -rf ix
for k in 0 1 2; do
    rc "corpus $k" 0 "$KIJIL" dedup -q --index ix "c$k.jsonl" -o "o$k.jsonl" --rejects "r$k.jsonl"
done
print() { (cd ix && find . -type f ! -name lock -print0 | sort -z | xargs -0 md5sum); }
print >before
for j in 1 3; do
    rc "again, -j$j" 0 "$KIJIL" dedup -q -j$j --index ix c1.jsonl -o again.jsonl
    same "the same bytes" again.jsonl o1.jsonl
    rc "in files, -j$j" 0 env TMPDIR=. "$KIJIL" dedup -q -j$j --spill always --memory 100M --index ix c1.jsonl -o again.jsonl
    same "in files, the same bytes" again.jsonl o1.jsonl
done
for i in 0 1; do
    rc "shard $i" 0 "$KIJIL" dedup -q --shard $i/2 --index ix c2.jsonl -o s$i.jsonl
done
sort s0.jsonl s1.jsonl >got
sort o2.jsonl >want
same "shards together are the whole" got want
rc "dry run" 0 "$KIJIL" dedup --dry-run --index ix c3.jsonl
rc "dry run without an index" 0 "$KIJIL" dedup --dry-run --index not-yet c3.jsonl
is "makes none" "$(ls -d not-yet 2>/dev/null)" ""
print >after
same "none of them changed the index" before after
shuf --random-source=c1.jsonl c0.jsonl >m0.jsonl
shuf --random-source=c0.jsonl c1.jsonl >m1.jsonl
rm -rf iy
rc "another order" 0 "$KIJIL" dedup -q --index iy m0.jsonl -o m.jsonl
rc "another order" 0 env TMPDIR=. "$KIJIL" dedup -q --index iy --spill always m1.jsonl -o m.jsonl
sort m.jsonl >got
sort o1.jsonl >want
same "order does not matter" got want

# ---- killed: the index is what it was, or has one corpus more ----
cp -r ix good
for n in 1 2 3 5 8 12 16 20 25 30 35 40; do
    rm -rf ix
    cp -r good ix
    killed $n "$KIJIL" dedup -q --index ix c3.jsonl -o k.jsonl
    "$KIJIL" dedup -q --index ix c3.jsonl -o "k$n.jsonl" 2>err || bad "after kill $n"
    [[ -e k.first ]] || cp "k$n.jsonl" k.first
    same "the outcome after kill $n" "k$n.jsonl" k.first
    is "files after kill $n" "$(find ix -type f | wc -l)" 10
done
is "killed" $kills 12
if [[ $(id -u) -eq 0 ]] && mkdir small && mount -t tmpfs -o size=600K tmpfs small 2>err; then
    rc "a full disk" 1 "$KIJIL" dedup -q --index small c0.jsonl -o full.jsonl
    has "is named" err 'cannot write small/.*No space left'
    is "no output" "$(ls full.jsonl* 2>/dev/null)" ""
    mount -o remount,size=100M small
    rc "more space" 0 "$KIJIL" dedup -q --index small c0.jsonl -o full.jsonl
    same "and it goes on" full.jsonl o0.jsonl
    umount small
else
    skip "no file system of its own to fill"
fi

# ---- damage, other parameters ----
refused() { # NAME PATTERN OPTION...
    local name=$1 pattern=$2
    shift 2
    rc "$name" 1 "$KIJIL" dedup -q --index ix "$@" c3.jsonl -o never.jsonl
    has "$name: says why" err "$pattern"
    is "$name: no output" "$(ls never.jsonl* 2>/dev/null)" ""
}
fresh() { rm -rf ix && cp -r good ix; }
fresh
refused "another seed" 'ix/index: made with another seed or other parameters' --seed 2
refused "other bands" 'ix/index: made with' --bands 26 --rows 11
refused "another method" 'ix/index: made with' --method exact
for f in index 000001.keys 000002.sets; do
    size=$(stat -c %s good/$f)
    for at in 20 155 170 $((size - 9)); do
        fresh
        printf '\377\001' | dd of=ix/$f bs=1 seek="$at" conv=notrunc status=none
        cmp -s ix/$f good/$f || "$KIJIL" dedup -q --index ix c3.jsonl -o never.jsonl 2>err && bad "damage of $f at $at passes"
        grep -q "ix/$f" err || bad "damage of $f at $at: $(cat err)"
        rm -f never.jsonl
    done
    fresh
    truncate -s -1 ix/$f
    refused "$f, a byte short" "ix/$f: .*cut short"
    fresh
    rm ix/$f
    [[ $f == index ]] || refused "$f, missing" "ix/$f"
done
fresh
mv ix/000001.keys t
mv ix/000002.keys ix/000001.keys
mv t ix/000002.keys
refused "two files changed about" 'ix/000001.keys: made with'
rc "not with lines" 2 "$KIJIL" dedup exact --scope line --index ix c3.jsonl
rc "not with bloom" 2 "$KIJIL" dedup bloom --index ix c3.jsonl
rc "not with work" 2 "$KIJIL" dedup -q --work w --index ix c3.jsonl -o o
done_testing
