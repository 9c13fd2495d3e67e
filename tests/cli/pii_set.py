"""A labelled set for the pii. rules: made items in Korean and English, hard negatives.

pii_set.py make > set.jsonl                    2,400 items, always the same
pii_set.py score set.jsonl out.jsonl [MIN_P MIN_R]
    out.jsonl is `kijil filter -r pii-ko` of the set. Prints precision and recall by
    kind (a find counts when start, end and kind are right); status 1 when the
    total, or any kind's recall less 0.05, is lower than asked for.
"""
import json
import random
import sys
from collections import Counter

R = random.Random(20240915)


def digits(n):
    return "".join(R.choice("0123456789") for _ in range(n))


def check_rrn(d, add):
    s = sum(int(a) * b for a, b in zip(d, [2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]))
    return str((add - s % 11) % 10)


def birth():
    return f"{R.randint(50, 99):02}{R.randint(1, 12):02}{R.randint(1, 28):02}"


def rrn():
    d = birth() + R.choice("12") + digits(5)
    return f"{d[:6]}-{d[6:]}{check_rrn(d, 11)}"


def foreigner():
    d = birth() + R.choice("56") + digits(5)
    return f"{d[:6]}-{d[6:]}{check_rrn(d, 13)}"


def rrn_new():
    return f"2{R.randint(1, 4)}{R.randint(1, 12):02}{R.randint(1, 28):02}-{R.choice('34')}{digits(6)}"


def luhn(d):
    s = 0
    for i, c in enumerate(reversed(d)):
        v = int(c) * (1 if i % 2 else 2)
        s += v - 9 if v > 9 else v
    return d + str(-s % 10)


def card(sep="-"):
    d = luhn(R.choice(["4", "51", "55", "9410", "6243", "3560"]).ljust(4, "0") + digits(11))
    return sep.join(d[i:i + 4] for i in range(0, 16, 4))


def amex():
    d = luhn("37" + digits(12))
    return f"{d[:4]}-{d[4:10]}-{d[10:]}"


def business(good=True):
    d = str(R.randint(101, 620)) + f"{R.randint(1, 88):02}" + digits(4)
    s = sum(int(a) * b for a, b in zip(d, [1, 3, 7, 1, 3, 7, 1, 3, 5])) + 5 * int(d[8]) // 10
    last = -s % 10
    d += str(last if good else (last + R.randint(1, 9)) % 10)
    return f"{d[:3]}-{d[3:5]}-{d[5:]}"


def sub(n=4):
    return f"{R.randint(2, 9)}{digits(n - 1)}"


def some4():
    return f"{R.randint(1000, 9999)}"


def mobile():
    return R.choice([
        f"010-{sub()}-{some4()}", f"010{sub()}{some4()}", f"010 {sub()} {some4()}",
        f"010.{sub()}.{some4()}", f"011-{sub(3)}-{some4()}", f"010 - {sub()} - {some4()}", f"010_{sub()}_{some4()}",
        f"010)-{sub()}-{some4()}"])


def landline():
    return R.choice([
        f"02-{sub(3)}-{some4()}", f"02-{sub()}-{some4()}", f"02){sub(3)}-{some4()}",
        f"(02) {sub(3)}-{some4()}", f"031-{sub(3)}-{some4()}", f"(051){sub(3)}-{some4()}",
        f"064-{sub(3)}-{some4()}", f"070-{sub()}-{some4()}", f"042.{sub(3)}.{some4()}"])


def abroad():
    return R.choice([
        f"+82-10-{sub()}-{some4()}", f"+82 10-{sub()}-{some4()}", f"+82 2 {sub(3)} {some4()}",
        f"+82-2-{sub(3)}-{some4()}", f"+82(0)10-{sub()}-{some4()}", f"+8210{sub()}{some4()}"])


def name():
    return R.choice(["minsu.kim", "jiyoung_lee", "hong", "park.sj", "info", "j-choi", "sales01",
                     "dev+list", "anna.smith", "b.jones", "webmaster", "kms1987"])


def email():
    host = R.choice(["naver.com", "daum.net", "gmail.com", "snu.ac.kr", "hani.co.kr",
                     "mail.co.uk", "startup.io", "lists.debian.org"])
    return f"{name()}@{host}"


def ipv4():
    return R.choice(["211", "58", "121", "8", "203"]) + "." + ".".join(
        str(R.randint(1, 99)) for _ in range(3))


def ipv6():
    return R.choice(["2001:4860:4860::{:x}", "2400:cb00:2048:1::{:x}", "2606:4700::{:x}:1",
                     "2001:2d8:e0d3:1a00:50b:98ff:fe10:{:x}"]).format(R.randint(256, 65535))


def account():
    return R.choice([f"{digits(3)}-{sub(4)}-{digits(4)}-{digits(2)}",
                     f"{R.randint(100, 999)}-{digits(2)}-{digits(6)}",
                     f"{R.randint(110, 999)}-{digits(3)}-{digits(6)}", f"3333-{digits(2)}-{digits(7)}",
                     f"{R.randint(100, 999)}{digits(9)}", f"{R.randint(1000, 9999)}{digits(10)}"])


def passport():
    return R.choice([f"M{R.randint(10000000, 99999999)}",
                     f"M{R.randint(100, 999)}{R.choice('ABCDE')}{digits(4)}"])


def driver():
    return f"{R.randint(11, 26)}-{R.randint(80, 99)}-{digits(6)}-{digits(2)}"


# Kind, maker, templates. {} is what is to be found.
POSITIVE = [
    ("email_any", email, [
        "문의는 {}로 보내 주세요.", "기자 홍길동 {}", "이메일:{}", "제보{} 저작권자",
        "Write to {} for details.", "Contact: <{}>", "({}) wrote:", "Send it to {}.",
        "메일 주소는 {}입니다.", "From: {}, Subject: hello"]),
    ("ipv4_alone", ipv4, ["접속 주소 {} 에서 차단되었습니다.", "IP: {}", "작성자 ({}) 2015.03.02",
                    "Connection from {} port 22", "Host {} is up."]),
    ("ipv6", ipv6, ["서버 주소는 {} 입니다.", "AAAA record {} was added.", "ping6 {}",
                    "접속 IP: {}", "Listening on [{}]:443"]),
    ("rrn", rrn, ["주민등록번호: {}", "홍길동({}) 님", "원고 김철수 ({})", "주민번호는 {}이며",
                  "{} 확인됨", "RRN {} belongs to her."]),
    ("rrn", rrn_new, ["주민등록번호 {} (2020년 이후 출생)", "아이 주민번호: {}",
                      "Resident registration number: {}"]),
    ("rrn", foreigner, ["외국인등록번호 {} 기재", "외국인 등록 번호: {}", "체류자 {}",
                        "alien registration number {}"]),
    ("card", card, ["카드번호 {}", "결제 카드: {} (유효기간 08/27)", "{} 로 결제했습니다.",
                    "My card is {}.", "Visa {} exp 09/26"]),
    ("card", lambda: card(" "), ["신용카드 {} 입니다", "card number {}, please", "카드 {} 승인"]),
    ("card", lambda: card(""), ["카드번호 {}", "credit card {}", "VISA {}"]),
    ("card", amex, ["American Express {}", "아멕스 카드 {}"]),
    ("business", business, ["사업자등록번호: {}", "사업자번호 {} 대표 김영희", "상호 가나상회 | {}",
                            "Business registration no. {}", "(주)하늘 {} 통신판매업"]),
    ("driver", driver, ["운전면허번호 {}", "면허 {} 취소", "driver's license {}", "면허증: {}"]),
    ("phone", mobile, ["연락처 {}", "전화번호는 {}입니다", "{}으로 문자 주세요", "H.P: {}",
                       "Call {} any time.", "예약문의 ☎ {}", "카톡이나 {} 로 연락 바랍니다."]),
    ("phone", landline, ["전화 {}", "문의: {}", "TEL. {}", "☎{}", "Phone: {}", "대표전화 {} 팩스"]),
    ("phone", abroad, ["Phone: {}", "해외에서는 {}", "Tel {}.", "International: {} (Seoul)"]),
    ("account", account, ["국민은행 {} 홍길동", "입금계좌: 농협 {}", "카카오뱅크 {} (예금주 김민수)",
                          "신한은행 {}으로 입금", "계좌번호 {}", "우체국 {} 예금주 이영희",
                          "Bank account: {}", "Shinhan Bank {}"]),
    ("passport", passport, ["여권번호 {}", "여권 번호: {}", "Passport No. {}", "passport {} was lost"]),
]

# Nothing is to be found in these.
NEGATIVE = [
    lambda: f"버전 {R.randint(1, 9)}.{R.randint(0, 20)}.{R.randint(0, 300)} 이 나왔습니다.",
    lambda: f"Linux {R.randint(4, 6)}.{R.randint(0, 19)}.0-{R.randint(10, 99)}-generic",
    lambda: f"Chrome/{R.randint(80, 120)}.0.{R.randint(4000, 6000)}.{R.randint(300, 999)} Safari/537.36",
    lambda: f"{R.randint(1990, 2024)}-{R.randint(1, 12):02}-{R.randint(1, 28):02} {R.randint(0, 23):02}:{R.randint(0, 59):02}:{R.randint(0, 59):02}",
    lambda: f"{R.randint(1990, 2024)}.{R.randint(1, 12):02}.{R.randint(1, 28):02} 기준",
    lambda: f"기간: {R.randint(2000, 2024)}.{R.randint(1, 12)}.{R.randint(1, 28)}~{R.randint(2000, 2024)}.12.31",
    lambda: f"가격은 {R.randint(1, 99)},{digits(3)},{digits(3)}원입니다.",
    lambda: f"The price is ${R.randint(1, 99)},{digits(3)},{digits(3)}.{digits(2)}.",
    lambda: f"ISBN 978-89-{digits(4)}-{digits(3)}-{digits(1)}",
    lambda: f"ISBN 979{digits(10)} 03810",
    lambda: f"ISBN-10: 89-{digits(4)}-{digits(3)}-{digits(1)}",
    lambda: f"좌표 {R.randint(33, 38)}.{digits(6)}, {R.randint(125, 130)}.{digits(6)}",
    lambda: f"Location: {R.randint(10, 80)}.{digits(5)},-{R.randint(10, 120)}.{digits(5)}",
    lambda: f"대표번호 {R.choice(['1588', '1544', '1600', '1899'])}-{some4()}",
    lambda: f"수신자부담 080-{sub(3)}-{some4()}",
    lambda: f"call 1-800-{sub(3)}-{some4()} or {R.randint(201, 989)}-{sub(3)}-{some4()}",
    lambda: f"UK office: +44 20 {some4()} {some4()}",
    lambda: f"내부망 주소 192.168.{R.randint(0, 255)}.{R.randint(1, 254)} 와 10.0.{R.randint(0, 9)}.{R.randint(1, 254)}",
    lambda: f"router at fe80::{R.randint(256, 65535):x} and 2001:db8::{R.randint(1, 99):x}",
    lambda: f"MAC 00:1a:{R.randint(16, 99)}:{R.randint(16, 99)}:fe:{R.randint(16, 99)}",
    lambda: "std::vector<int> a; abc::def::face(); use crate::bee;",
    lambda: f"상영시간 {R.randint(1, 2)}:{R.randint(10, 59)}:{R.randint(10, 59)}",
    lambda: f"주문번호 {R.randint(2015, 2024)}{R.randint(1, 12):02}{R.randint(1, 28):02}-{digits(7)}",
    lambda: f"송장번호 {some4()}-{digits(4)}-{digits(4)} 조회",
    lambda: f"tracking number {R.randint(2, 9)}{digits(11)}",
    lambda: f"타임스탬프 16{digits(11)}",
    lambda: f"epoch {R.randint(15, 17)}{digits(8)} seconds",
    lambda: f"대법원 {R.randint(1990, 2023)}다{R.randint(1000, 99999)} 판결",
    lambda: f"특허 제10-{R.randint(1000000, 2000000)}호",
    lambda: f"출원번호 10-{R.randint(1995, 2023)}-{R.randint(1000000, 1099999)}",
    lambda: f"모델명 AB-{R.randint(100, 999)}-{R.randint(10, 99)}X-{digits(5)}",
    lambda: f"Part No. M{R.randint(10000000, 99999999)} in stock",
    lambda: f"점수 {R.randint(0, 9)}-{R.randint(0, 9)}, {R.randint(10, 99)}-{R.randint(10, 99)}",
    lambda: f"통신판매업신고 제{R.randint(2005, 2023)}-서울강남-0{digits(4)}호",
    lambda: f"사업자 {business(False)} (잘못된 번호)",
    lambda: f"우편번호 {digits(3)}-{digits(3)}, {R.randint(10000, 63999)}",
    lambda: f"pi 3.14159265358979 e 2.71828182845904 {R.random()}",
    lambda: f"1, 2, 3, {R.randint(4, 99)} 10 20 30 40 1000 2000 {some4()} {some4()} {some4()}",
    lambda: f"표 {some4()} {some4()} {some4()} {some4()} {some4()} 합계",
    lambda: f"@user{digits(3)} 님 안녕하세요, me@ home",
    lambda: f"git@{digits(7)} a@b x@localhost",
    lambda: f"2x 해상도 image@2x.png icon@3x.png",
    lambda: "Mail user@example.com or admin@example.org.",
    lambda: f"section {R.randint(1, 9)}.{R.randint(1, 9)}.{R.randint(1, 9)}.{R.randint(1, 3)}.2.1",
    lambda: f"버전 {R.randint(1, 9)}.{R.randint(0, 20)}.{R.randint(0, 30)}.{R.randint(1, 200)} 설치",
    lambda: f"SHA {R.randint(10**9, 10**10):x}:{R.randint(1, 99)}",
    lambda: f"인구 {R.randint(1, 50)},{digits(3)},{digits(3)}명, 면적 {R.randint(100, 999)}.{digits(2)}㎢",
    lambda: f"회차 {R.randint(100, 999)}-{R.randint(10, 99)}",
    lambda: f"은행나무 {R.randint(10, 99)}그루, 2024-01-{R.randint(10, 28)}-00{digits(2)}",
    lambda: f"한국은행 기준금리 {R.randint(1, 5)}.{digits(2)}% ({R.randint(2010, 2024)}년)",
    lambda: f"카드뉴스 {R.randint(2015, 2024)}{R.randint(1, 12):02}{R.randint(10, 28)}",
    lambda: f"여권 발급 {R.randint(10000, 99999)}건, 면허 {R.randint(10, 99)}종",
]


def items():
    n = 0
    for kind, make, templates in POSITIVE:
        for k in range(80):
            value, t = make(), templates[k % len(templates)]
            start = t.index("{}")
            yield {"id": f"p{n}", "text": t.replace("{}", value),
                   "gold": [[kind, start, start + len(value)]]}
            n += 1
    for k in range(22):
        for i, make in enumerate(NEGATIVE):
            yield {"id": f"n{i}-{k}", "text": make(), "gold": []}


def found(doc):
    shift = 0
    for s in doc.get("pii", []):
        start = s["start"] - shift
        yield s["rule"][4:], start, start + s["was"]
        shift += s["end"] - s["start"] - s["was"]


def score(before, after, least_p=0.0, least_r=0.0):
    gold, out, right = Counter(), Counter(), Counter()
    lang = {True: [0, 0, 0], False: [0, 0, 0]}
    items_n = shown = 0
    docs = {}
    for line in open(after, encoding="utf-8"):
        d = json.loads(line)
        docs[d["id"]] = d
    for line in open(before, encoding="utf-8"):
        item = json.loads(line)
        items_n += 1
        want = {tuple(g) for g in item["gold"]}
        got = set(found(docs[item["id"]]))
        korean = lang[any("가" <= c <= "힣" for c in item["text"])]
        for group, counter in ((want, gold), (got, out), (want & got, right)):
            for g in group:
                counter[g[0]] += 1
        for i, group in enumerate((want, got, want & got)):
            korean[i] += len(group)
        if want != got and shown < 40:
            shown += 1
            print("differs:", item["text"], "want", sorted(want), "got", sorted(got),
                  file=sys.stderr)
    print("| kind | items | found | precision | recall |\n| --- | --- | --- | --- | --- |")
    bad = False
    for k in sorted(gold | out):
        r = right[k] / max(1, gold[k])
        bad |= r < float(least_r) - 0.05
        print(f"| {k} | {gold[k]} | {out[k]} | {right[k] / max(1, out[k]):.3f} | {r:.3f} |")
    rows = [("Korean", *lang[True]), ("English", *lang[False]),
            ("all", sum(gold.values()), sum(out.values()), sum(right.values()))]
    for what, g, o, r in rows:
        print(f"| {what} | {g} | {o} | {r / max(1, o):.3f} | {r / max(1, g):.3f} |")
    print(f"{items_n} items")
    g, o, r = rows[-1][1:]
    return bad or r / max(1, o) < float(least_p) or r / max(1, g) < float(least_r)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        for x in items():
            print(json.dumps(x, ensure_ascii=False))
    else:
        sys.exit(score(*sys.argv[2:]))
