#!/bin/bash
# kijil lid: language, score and script of documents, with the built-in model.
. "$(dirname "$0")/lib.sh"

cat >in.jsonl <<'END'
{"id":"ko","text":"키질은 곡식을 바람에 날려 쭉정이를 골라내는 일이다.\n오늘은 날씨가 맑고 바람이 분다."}
{"id":"en","text":"Winnowing is the tossing of grain in a basket so that the wind takes the chaff away."}
{"id":"ja","text":"箕で穀物をあおり、風で籾殻を飛ばす作業のことを言います。"}
{"id":"zh","text":"用簸箕扬起谷物，让风把糠秕吹走，留下的就是粮食。"}
{"id":"de","text":"Beim Worfeln wirft man das gedroschene Getreide in die Luft, damit der Wind die Spreu fortträgt."}
{"id":"fr","text":"Le vannage consiste à lancer le grain en l'air pour que le vent emporte la balle."}
{"id":"ru","text":"Веяние зерна отделяет его от мякины: лёгкие частицы уносит ветер."}
{"id":"ar","text":"التذرية هي فصل الحبوب عن القش برميها في الهواء حتى تحمل الريح ما خف منها."}
{"id":"el","text":"Το λίχνισμα χωρίζει τον καρπό από το άχυρο με τη βοήθεια του ανέμου."}
{"id":"vi","text":"Sàng sảy là việc hất thóc lên để gió thổi bay trấu và giữ lại hạt."}
{"id":"th","text":"การฝัดข้าวคือการแยกเมล็ดข้าวออกจากแกลบโดยใช้ลมพัด"}
{"id":"none","text":"12345 67.8 -- 90 %"}
{"id":"empty","text":""}
END
rc "lid" 0 "$KIJIL" lid -q in.jsonl -o out.jsonl
is "languages" "$(jq -r 'select(.id != .language) | .id + "=" + .language' out.jsonl | tr '\n' ' ')" \
    "none=und empty=und "
is "scripts" "$(jq -r .language_script out.jsonl | tr '\n' ' ')" \
    "Hang Latn Jpan Hani Latn Latn Cyrl Arab Grek Latn Thai Zyyy Zyyy "
is "scores are shares" \
    "$(jq -r 'select(.language_score < 0 or .language_score > 1) | .id' out.jsonl | wc -l)" 0
is "Korean and English are sure" \
    "$(jq -r 'select((.id == "ko" or .id == "en") and .language_score > 0.5) | .id' out.jsonl | wc -l)" 2

for i in $(seq 300); do sed "s/\"id\":\"/&$i-/" in.jsonl; done >many.jsonl
rc "many" 0 "$KIJIL" lid -q -j1 many.jsonl -o one.jsonl
for j in 2 4; do
    rc "-j$j" 0 "$KIJIL" lid -q -j$j many.jsonl -o four.jsonl
    same "-j$j gives the same bytes" one.jsonl four.jsonl
done

rc "keep" 0 "$KIJIL" lid -q --keep ko,en in.jsonl -o kept.jsonl --rejects rej.jsonl
is "two are kept" "$(jq -r .id kept.jsonl | tr '\n' ' ')" "ko en "
is "the others have the rule" "$(grep -c '"rule":"lid.language","value":[01]' rej.jsonl)" 11
rc "min score" 0 "$KIJIL" lid -q --min-score 0.001 in.jsonl -o kept.jsonl --rejects rej.jsonl
is "only what has no language goes" "$(jq -r .id rej.jsonl | tr '\n' ' ')" "none empty "
has "with value and threshold" rej.jsonl '"rule":"lid.score","value":0,"threshold":0.001'
rc "first bytes only" 0 "$KIJIL" lid -q --max-bytes 60 \
    <(jq -c 'select(.id == "en") | .text += "\n" + (("한글 " * 200))' in.jsonl) -o cut.jsonl
is "the beginning counts" "$(jq -r '.language + .language_script' cut.jsonl)" "enLatn"

rc "unknown language" 2 "$KIJIL" lid --keep ko,xx in.jsonl
has "named" err "no language 'xx'"
echo "no model" >bad.ftz
rc "foreign model" 1 "$KIJIL" lid -m bad.ftz in.jsonl
head -c 1000 "$TOP/classify/lid.ftz" >cut.ftz
rc "truncated model" 1 "$KIJIL" lid -m cut.ftz in.jsonl
rc "the file is the built-in model" 0 "$KIJIL" lid -q -m "$TOP/classify/lid.ftz" in.jsonl -o file.jsonl
same "the same answers" out.jsonl file.jsonl

if [[ -r $SHARED/lid/lingua.tsv.zst ]]; then
    zstd -dcq "$SHARED/lid/lingua.tsv.zst" | grep -P '^(ko|en)\t' |
        jq -Rc 'split("\t") | {id: .[0], text: .[1]}' >lines.jsonl
    rc "real lines" 0 "$KIJIL" lid -q lines.jsonl -o lines.out
    for l in ko en; do
        is "$l lines found: 99 % or more" "$(jq -r "select(.id == \"$l\") | .language" lines.out |
            awk -v l=$l '{n += $0 == l} END {print (n >= 0.99 * NR)}')" 1
    done
else
    skip "no lingua sentences"
fi
done_testing
