# pages.awk - writes a small site for the tests: -v dir=D -v n=N -v seed=S.
# Pages are Korean, English or German prose made of word lists, in turn, with
# navigation around it; every seventh page repeats the one before it nearly
# word for word, every eleventh is too short to pass any quality rule.
function pick(list, k) { return list[1 + int(rand() * k)] }
function sentence(lang,    i, s, len) {
    len = 8 + int(rand() * 10)
    s = ""
    for (i = 0; i < len; i++)
        s = s (i ? " " : "") (lang == "ko" ? pick(ko, nko) : lang == "en" ? pick(en, nen) : pick(de, nde))
    return s (lang == "ko" ? "다." : ".")
}
BEGIN {
    srand(seed)
    nko = split("문서를 사용자가 파일을 저장하고 그림을 그린 다음 메뉴에서 선택한 항목이 나타나면 서버를 설정하는 방법은 여러 가지가 있으며 처음에는 기본값을 그대로 두는 것이 좋습니 프로그램은 데이터를 읽어 화면에 보여 주고 필요한 때에 다시 계산한 결과를 표에 적어 넣는 일을 반복하므로 시간이 걸릴 수 있", ko, " ")
    nen = split("the server reads a file and writes the result to a table when the user asks for it because most of the settings have good values it is best to leave them as they are until there is a reason to change what they do with your data in this window of the program that opens after the menu was used", en, " ")
    nde = split("der Server liest eine Datei und schreibt das Ergebnis in eine Tabelle wenn der Benutzer es verlangt weil die meisten Einstellungen gute Werte haben sollte man sie lassen wie sie sind bis es einen Grund gibt sie zu ändern", de, " ")
    for (p = 0; p < n; p++) {
        lang = p % 4 == 3 ? "de" : p % 2 ? "en" : "ko"
        if (p % 7 != 6) {
            body = ""
            paras = p % 11 == 10 ? 1 : 5 + int(rand() * 6)
            for (i = 0; i < paras; i++) {
                body = body "<p>"
                count = p % 11 == 10 ? 1 : 4 + int(rand() * 4)
                for (j = 0; j < count; j++)
                    body = body sentence(lang) " "
                body = body "</p>\n"
            }
            last = lang
        } else {
            body = body "<p>" (p % 2 ? "one more" : "하나 더") "</p>\n"
            lang = last
        }
        file = sprintf("%s/page%04d.html", dir, p)
        printf "<!DOCTYPE html><html lang=\"%s\"><head><meta charset=\"utf-8\"><title>Page %d</title></head><body>\n<nav><ul><li><a href=\"/\">Home</a></li><li><a href=\"/a\">About us</a></li></ul></nav>\n<main><h1>Page %d</h1>\n%s</main>\n<footer><a href=\"/c\">Contact</a> <a href=\"/t\">Terms</a></footer></body></html>\n", lang, p, p, body > file
        close(file)
    }
}
