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

printf '{"text":"%s"}\n' "naneun oneul hakgyoe gatda" "oneul nalssiga jotseumnida, barami bunda" >roman.jsonl
rc "romanised Korean" 0 "$KIJIL" lid -q roman.jsonl -o roman.out
is "is a class of its own" "$(jq -r .language roman.out | tr '\n' ' ')" "ko-Latn ko-Latn "

rc "unknown language" 2 "$KIJIL" lid --keep ko,xx in.jsonl
has "named" err "no language 'xx'"
echo "no model" >bad.ftz
rc "foreign model" 1 "$KIJIL" lid -m bad.ftz in.jsonl
head -c 1000 "$TOP/classify/lid.ftz" >cut.ftz
rc "truncated model" 1 "$KIJIL" lid -m cut.ftz in.jsonl
rc "the file is the built-in model" 0 "$KIJIL" lid -q --by-script -m "$TOP/classify/lid.ftz" \
    in.jsonl -o file.jsonl
same "the same answers" out.jsonl file.jsonl

# Labels as GlotLID has them: ISO 639-3 and script.
jq -r 'select(.text != "" and .id != "none") | .id + " " + (.text | gsub("\n"; " "))' in.jsonl |
    awk 'BEGIN { split("ko kor_Hang en eng_Latn ja jpn_Jpan zh zho_Hans de deu_Latn fr fra_Latn " \
                       "ru rus_Cyrl ar arb_Arab el ell_Grek vi vie_Latn th tha_Thai", w, " ")
                 for (i = 1; i in w; i += 2) name[w[i]] = w[i + 1] }
         { l = $1; $1 = ""; for (k = 0; k < 20; k++) print "__label__" name[l] $0 }
         END { for (k = 0; k < 20; k++) print "__label__hin_Latn yah kitaab bahut acchi hai"
               for (k = 0; k < 20; k++) print "__label__zho_Hant 用簸箕揚起穀物"
               for (k = 0; k < 20; k++) print "__label__ceb_Latn ang hangin sa kabukiran" }' >glot.txt
rc "GlotLID's labels: train" 0 "$KIJIL" model train -q glot.txt -o glot.bin --dim 8 --minn 1 \
    --maxn 3 --bucket 20000 --epoch 20 --lr 0.5
rc "GlotLID's labels" 0 "$KIJIL" lid -q -m glot.bin in.jsonl -o glot.jsonl
is "are ours" "$(jq -r 'select(.id != .language) | .id + "=" + .language' glot.jsonl | tr '\n' ' ')" \
    "none=und empty=und "
printf '{"text":"%s"}\n' "yah kitaab bahut acchi hai" "用簸箕揚起穀物" "ang hangin sa kabukiran" >few.jsonl
rc "others" 0 "$KIJIL" lid -q -m glot.bin few.jsonl -o few.out
is "script kept where unusual, variants one, three letters" \
    "$(jq -r .language few.out | tr '\n' ' ')" "hi-Latn zh ceb "
rc "keep by our codes" 0 "$KIJIL" lid -q -m glot.bin --keep ko,zh in.jsonl -o kept.jsonl
is "kept" "$(jq -r .id kept.jsonl | tr '\n' ' ')" "ko zh "
if command -v fasttext >/dev/null; then
    jq -r 'select(.text != "") | .text | gsub("\n"; " ")' in.jsonl | fasttext predict-prob glot.bin - |
        awk '{ printf "%.5f\n", ($2 > 1 ? 1 : $2) }' >want
    jq -r 'select(.text != "") | if .language == "und" then -1 else .language_score end' glot.jsonl >got
    is "scores are fasttext's" "$(paste want got | awk 'NF != 2 || $2 >= 0 && ($1 - $2) ^ 2 > 1e-9' | wc -l)" 0
else
    skip "no fasttext program"
fi

# Pages in several languages.
cat >mixed.jsonl <<'END'
{"id":"mixed","text":"키질은 곡식을 바람에 날려 쭉정이를 골라내는 일이다.\nBeim Worfeln wirft man das gedroschene Getreide in die Luft.\n\nThe wind takes the chaff away from the grain.\n2024-01-01\nLogin\n오늘은 날씨가 맑다."}
{"id":"german","text":"Beim Worfeln wirft man das gedroschene Getreide in die Luft.\nDer Wind trägt die Spreu fort, und das Korn fällt zurück."}
{"id":"plain","text":"키질은 곡식을 고르는 일이다.\n"}
{"id":"menu","text":"Login\n키질은 곡식을 바람에 날려 고르는 일이다."}
END
rc "per line" 0 "$KIJIL" lid -q --per-line mixed.jsonl -o lines.jsonl
is "texts stay" "$(jq -c .text lines.jsonl)" "$(jq -c .text mixed.jsonl)"
is "languages of the mixed page" "$(jq -r 'select(.id == "mixed") | .languages | keys | join(" ")' lines.jsonl)" \
    "de en ko"
is "shares by characters, largest first" \
    "$(jq -c 'select(.id == "mixed") | .languages' lines.jsonl)" \
    '{"de":0.4,"en":0.3333,"ko":0.2667}'
is "one language" "$(jq -c 'select(.id == "plain") | .languages' lines.jsonl)" '{"ko":1}'
is "a word in another script than the page" "$(jq -c 'select(.id == "menu") | .languages' lines.jsonl)" \
    '{"ko":0.8214,"und":0.1786}'
rc "keep lines" 0 "$KIJIL" lid -q --keep-lines ko,en mixed.jsonl -o lines.jsonl --rejects rej.jsonl
is "others go, empty lines and dates stay" "$(jq -c 'select(.id == "mixed") | .text' lines.jsonl)" \
    "$(jq -c 'select(.id == "mixed") | .text | gsub("Beim[^\n]*\n"; "")' mixed.jsonl)"
is "the share that stays" "$(jq -r '.signals."lid.lines" * 1000 | round' lines.jsonl | tr '\n' ' ')" "600 1000 1000 "
is "nothing left: dropped whole" "$(jq -c '[.id, .drop.rule, .drop.value, .text]' rej.jsonl)" \
    "$(jq -c 'select(.id == "german") | [.id, "lid.lines", 0, .text]' mixed.jsonl)"
rc "keep only Korean lines" 0 "$KIJIL" lid -q --keep-lines ko --keep ko --per-line mixed.jsonl -o lines.jsonl
is "the document is what stayed" "$(jq -c '[.id, .language, .text]' lines.jsonl | head -1)" \
    '["mixed","ko","키질은 곡식을 바람에 날려 쭉정이를 골라내는 일이다.\n\n2024-01-01\n오늘은 날씨가 맑다."]'
rc "unknown language of lines" 2 "$KIJIL" lid --keep-lines xx mixed.jsonl

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
