"""A second labelled set for the pii. rules, written without a look at their code.

pii_fresh.py make > set.jsonl; scored by `pii_set.py score`. Each line below is one
item: a kind and a text whose <...> is what is to be found (two of them where there
are two), or "-" and a text in which nothing is. {rrn:D} completes D by the check digit of
a resident, {frn:D} of a foreigner, {biz:D} of a business number, {card:D} of a card.
"""
import json
import re
import sys

import pii_set

ITEMS = """
phone	문의 <010-3391-7725>번으로 주세요
phone	연락은 <010 8842 1093> 으로만
phone	휴대폰<01077231948>입니다
phone	☎ <02)2133-5114>
phone	TEL:<031-8008-4114>/FAX:<031-8008-4119>
phone	전화 <+82-2-555-0199>, 영업시간 9-18시
phone	Mobile: <+82 10 4821 7733>
phone	from abroad dial <+821048217733>
phone	(문의: 김과장 <010-2210-8891>)
phone	<010.5512.7740>
phone	<016-455-2291>(문자)
phone	서울 사무소(<02-739-7001>)
phone	예약<053-421-9980>동성로점
phone	카톡아이디 없음, 폰은 <010-9918-2201>이에요.
phone	인터넷전화 <070-7012-3344>
phone	P. <+82.10.3321.9087>
phone	call me at <010-7766-2121>!!
phone	연락처 : <010-4412-0098>, <010-4412-0099>
phone	<0505-300-1122> (안심번호)
phone	fax <063)280-2114>
phone	전화번호:<0415521900>
phone	제보 <02 781 1234>
email_any	제 메일은 <hanbit.lee@postech.ac.kr>이고요
email_any	mailto:<a.b-c_d@sub.mail.example-host.co.kr>
email_any	[<reporter77@newsis.com>]
email_any	보내실 곳:<q1w2e3@nate.com>.
email_any	contact <O'Neil.pat@uni-koeln.de>
email_any	김기자<kimgija@yna.co.kr>
email_any	e-mail＝<x@y.kr>
email_any	<FIRST.LAST@KAIST.AC.KR>
email_any	<dev+spam-filter@protonmail.ch>, thanks
email_any	메일(<hello_1@kakao.com>)로 연락
email_any	이메일은<admin1@seoul.go.kr>，전화는 없음
ipv4_alone	접속자 <175.223.38.12> 님의 글
ipv4_alone	ping <8.8.4.4> 해보니 됩니다
ipv4_alone	from <114.108.157.19>:51514 to 10.0.0.3
ipv4_alone	글쓴이 (<59.6.44.128>)
ipv4_alone	차단된 IP=<211.234.100.9>
ipv4_alone	http://<13.124.77.201>/index.html
ipv4_alone	Remote host <45.33.32.156> closed connection
ipv6	AAAA <2404:6800:4004:80b::200e>
ipv6	dig says <2001:4860:4860::8888>.
ipv6	http://[<2606:2800:220:1:248:1893:25c8:1946>]/
ipv6	원격지 <2405:4802:9017:a30:c4f2:1188:ab01:77de> 접속
rrn	주민번호 <{rrn:820715-107553}>
rrn	<{rrn:910322-228841}> 본인 확인
rrn	주민등록번호(<{rrn:750101-154321}>)
rrn	주민등록번호 <{rrn:680229-101133}>
rrn	주민번호: <{rrn:031112-322110}>
rrn	외국인등록번호 <{frn:880412-512345}>
rrn	주민번호 <210405-3123456> 신생아
rrn	주민등록번호: <230918-4765432>
rrn	주민번호 <{rrn:8905051087654}>
rrn	주민등록번호 <{rrn:900101 - 104432}>
rrn	주민등록번호 <{rrn:790303 144321}>
rrn	resident registration number <{rrn:850620-210101}>
card	카드번호 <{card:4579 7300 1122 334}>
card	<{card:5521-0099-8877-665}> 로 결제
card	신용카드:<{card:944020009988776}>
card	Amex <{card:3782-822463-1000}>
card	card no. <{card:4111-1111-2222-333}> exp 11/27
card	체크카드 <{card:6243 0012 3456 789}> 분실
business	사업자등록번호 <{biz:220-81-6251}>
business	사업자 <{biz:1208147521}>
business	등록번호: <{biz:104-86-5633}> 대표이사 홍길동
business	Biz. No. <{biz:211-88-7926}>
account	국민 <004702-04-118823> 홍길순
account	우리은행 <1002-332-551177>
account	카카오뱅크 <3333-02-4451982> 이OO
account	농협 <302-0114-8821-51> 예금주 박
account	기업은행 <012-228991-01-013>
account	하나은행 <620-220011-442> 으로 보내주세요
account	토스뱅크 <1000-1234-5678>
account	후원계좌: 신한 <100-031-445566>
account	새마을금고 <9002-1234-5678-9>
account	계좌 <110 332 448812> (신한)
account	SC제일은행 <225-20-118844>
account	부산은행 <101-2033-4455-06>
account	입금: 케이뱅크 <100118822734>
passport	여권번호 <M70992213>
passport	passport number: <M123B4567>
passport	여권(<M48801922>) 분실 신고
driver	운전면허 <11-04-123456-60>
driver	면허번호: <26-98-001122-31>
-	아이폰 16.4.1.2 업데이트
-	Python 3.11.4.1 사용
-	버전은 12.0.5.7입니다
-	v2.40.1.8 로 올렸습니다
-	kernel 5.15.0.91 patched
-	FW 1.2.3.4 릴리스
-	Chapter 10.2.3.4 of the manual
-	RFC 4.5.6.7 항 참조
-	OID 1.3.6.1.4.1.311
-	2023.11.20.19 작성
-	1.1.2024.15 문서 개정
-	소요시간 00:12:33:07
-	방송 10:30:00:12 타임코드
-	시간 12:00::13:00
-	Foo::Bar::Baz 와 a::b
-	비율 1:2:3:4:5:6:7:8
-	MAC 주소 3c:22:fb:91:0a:7e
-	MAC 3C-22-FB-91-0A-7E 확인
-	지문 SHA256:9f:86:d0:81:88:4c:7d:65:9a:2f:ea:a0
-	md5 098f6bcd4621d373cade4e832627b4f6
-	commit 4111111111111111abcdef0123456789abcdef01
-	UUID 550e8400-e29b-41d4-a716-446655440000
-	ISBN 978-89-7914-874-9
-	ISBN 9788979148749 03000
-	ISSN 1225-0767
-	DOI 10.1000/182.4455-1122
-	바코드 8801234567893
-	EAN 4006381333931
-	주문번호 2024112310255512
-	주문 20231105-0012345 배송중
-	운송장 6081-2345-6789 대한통운
-	송장 123456789012
-	등기번호 1161-2012-3456-7
-	고객번호 02-1234-56
-	사건번호 2019가합123456
-	2020고단4321, 2021노556 병합
-	민원접수 1AA-2304-0112233
-	특허 10-2019-0123456
-	상표등록 40-1234567-0000
-	제2013-서울강남-01234호
-	건축허가 2015-건축과-신축허가-33
-	법인등록번호 110111-0123456
-	법인번호 134511-0001234
-	좌표 37.566535,126.977969
-	위도 37°33'59.5" 경도 126°58'40.6"
-	UTM 52S 321456 4159876
-	GPS -33.868820, 151.209290
-	가격 1,234,567,890원
-	연봉 4500-5500만원
-	010-1234 까지만 적힌 번호
-	02-12 구역
-	010 이라는 숫자와 1234 그리고 5678
-	내선 4455, 교환 3300
-	지하철 2호선 02-03번 출구
-	112, 119, 1339로 신고
-	1577-1577, 1661-5000 고객센터
-	080-700-1234 무료
-	15446-7788 틀린 번호
-	+1 (415) 555-0132
-	+81-3-1234-5678 도쿄
-	+86 10 6552 9988 베이징
-	UK 020 7946 0018
-	Fax: 0044 20 7946 0018
-	Germany 030-901820
-	US toll free 1-888-555-0199
-	part no. 010-3456-7890-X
-	모델 SM-010-4455-6677A
-	품번 02-345-6789-01-A
-	ABC010-1234-5678DEF
-	부품 031-556-7788/B 규격
-	점수 3-2-5, 11-21-17
-	1-2-3-4-5-6
-	100-200-300 미터 달리기
-	비율은 120-81-47525가 아니라
-	코드 123-45-67890
-	학번 2019-12345, 20191234
-	군번 12-76012345
-	차량번호 12가 3456
-	우편번호 06236, 135-080
-	도로명 테헤란로 152길 33-1
-	면적 84.99㎡(25.7평)
-	혈압 120-80, 당 110
-	기간 2023-01-01 ~ 2023-12-31
-	20230101-20231231 통계
-	생년월일 800101, 코드 1234567
-	801301-1234567 은 달이 13
-	800230-1000000 날짜 아님
-	800101-9234567 성별 자리
-	계산 123456-1234567 = -1111111
-	로또 1 8 15 22 33 41
-	당첨번호 112233-4455667
-	3.141592653589793238462643
-	2^64 = 18446744073709551616
-	n = 4532015112830367 + 1
-	1234 5678 9012 3456 순서대로
-	4000 3000 2000 1000 줄어든다
-	2019 2020 2021 2022 연도별
-	표: 4012 8888 8888 1881 2323
-	시리얼 4539-1488-0343-646X
-	쿠폰 4716-ABCD-1234-5678
-	상품권 번호 9999-8888-7777-6666
-	은행이 3333-02-4451982-99-1 이라는 코드를
-	한국은행 2023-12호 보고서
-	국민은행 1588-9999
-	국민은행 강남지점 02
-	우리은행 2024.03.15 공시
-	농협 2023년 11월 20일 100000원
-	신한은행 프로리그 2010-2011 시즌
-	하나은행 챔피언십 1라운드 72-68-70
-	은행 거래액 12,345,678,901원
-	기업은행 주가 10,350 거래량 1,234,567
-	계좌 개설 건수 2021 334455 2022 556677
-	M12345678 은하
-	M31 과 M104
-	여권 발급 2023년 4567건
-	Passport to 2024: M1 motorway
-	면허 2종 보통
-	자격증 번호 11-22-334455
-	11-04-12345-60 표
-	관리번호 77-04-123456-60
-	user@host 로 ssh
-	foo@bar..com 잘못
-	@channel 공지
-	10@20 가격에
-	a@b@c
-	사진 @ 서울 2023
-	logo@2x.png, icon@3x.webp
-	git@github.com:user/repo.git
-	user@example.com 처럼
-	pkg@1.2.3 설치
-	lodash@4.17.21 and react@18.2.0
-	matrix @user:server.org
-	192.168.100.200 공유기
-	172.16.0.1 게이트웨이
-	127.0.0.1:8080
-	255.255.255.0 마스크
-	0.0.0.0/0 허용
-	224.0.0.251 은 mDNS, 169.254.1.1
-	203.0.113.77 예시 주소
-	999.999.999.999
-	256.100.100.1
-	8.8.8 만
-	1.2.3.4.5.6
-	fe80::1%eth0
-	::1 루프백과 ::
-	2001:db8:85a3::8a2e:370:7334
-	fd12:3456:789a::1
-	abcd:ef
-	c0ffee::cafe 아님
"""

CHECK = {
    "rrn": lambda d: pii_set.check_rrn(d, 11),
    "frn": lambda d: pii_set.check_rrn(d, 13),
    "card": lambda d: pii_set.luhn(d)[-1],
    "biz": lambda d: str(-(sum(int(a) * b for a, b in zip(d, [1, 3, 7, 1, 3, 7, 1, 3, 5]))
                           + 5 * int(d[8]) // 10) % 10),
}


def complete(m):
    kind, body = m.group(1), m.group(2)
    d = re.sub(r"\D", "", body)
    need = {"rrn": 12, "frn": 12, "card": len(d), "biz": 9}[kind]
    if len(d) > need:
        body, d = body[:-(len(d) - need)], d[:need]
    return body + CHECK[kind](d)


def items():
    for n, line in enumerate(ITEMS.strip("\n").split("\n")):
        kind, text = line.split("\t")
        text = re.sub(r"\{(\w+):([^}]*)\}", complete, text)
        gold, out = [], ""
        for part in re.split(r"(<[^<>]*\d[^<>]*>|<[^<>]*@[^<>]*>|<[^<>]*:[^<>]*>)", text) if kind != "-" else [text]:
            if part[:1] == "<" and part[-1:] == ">":
                gold.append([kind, len(out), len(out) + len(part) - 2])
                part = part[1:-1]
            out += part
        yield {"id": f"f{n}", "text": out, "gold": gold}


if __name__ == "__main__" and sys.argv[1:] == ["make"]:
    for x in items():
        print(json.dumps(x, ensure_ascii=False))
