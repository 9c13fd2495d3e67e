/* morph_table.c - the closed classes of Korean, and the commonest open ones.
 *
 * Written by hand from the grammar of the language; nothing is taken from a
 * dictionary or a corpus. Verbs stand as stems with a sign for their class, and
 * the forms that their last syllable takes are made from it here:
 *
 *   (none)  regular: 가 먹 만들 (ㄹ goes before ㄴ, ㅂ, ㅅ), 쓰 (ㅡ goes before 어),
 *           르 doubles (모르: 몰라), 하 becomes 해
 *   b d s h ㅂ becomes 우, ㄷ becomes ㄹ, ㅅ goes, ㅎ goes: 어렵b 듣d 짓s 그렇h
 *   g       르 that does not double: 따르g
 *
 * All strings are one trie in a hash table: a node and a code give the next.
 */
#include "filter/morph_table.h"

#include <stddef.h>
#include <string.h>

#include "base/utf8.h"

enum {
    A = 0,
    AE = 1,
    YA = 2,
    EO = 4,
    E = 5,
    YEO = 6,
    O = 8,
    WA = 9,
    WAE = 10,
    OE = 11,
    U = 13,
    WO = 14,
    EU = 18,
    I = 20
}; /* vowels, by index */
enum { RIEUL = 8 };

struct kj_morph_node kj_morph_nodes[1 << KJ_MORPH_BITS];
uint16_t kj_morph_first[KJ_MORPH_CODES];
unsigned char kj_morph_sinos[11172 / 8 + 1];

static const struct {
    uint32_t classes;
    const char *words;
} lists[] = {
    {KJ_M_PARTICLE,
     "이 가 을 를 은 는 의 에 에서 에게 에게서 께 께서 한테 한테서 더러 로 으로 로서 "
     "으로서 로써 으로써 와 과 랑 이랑 도 만 까지 부터 마저 조차 마다 보다 처럼 "
     "같이 만큼 밖에 뿐 대로 나 이나 나마 이나마 든지 이든지 든가 이든가 라도 이라도 "
     "야 이야 야말로 이야말로 이란 란 커녕 는커녕 은커녕 치고 에다 에다가 로부터 "
     "으로부터 로까지 으로까지 께서는 이며 인들 이라든지 라든지 "
     "이라든가 라든가 에서부터 치고는 이라야 라야 깨나"},
    {KJ_M_SUFFIX,
     "별 화 성 력 률 율 자 가 사 원 관 장 인 용 형 권 식 품 기 비 료 "
     "어 론 학 부 과 국 회 단 당 측 편 상 하 중 내 외 간 전 후 시 군 구 동 면 읍 "
     "리 도 선 점 실 소 집 권 법 제 계 층 급 체 물 산 수 민 생 족 째 쯤 경 여 가량 "
     "짜리 끼리 네 꾼 쟁이 장이 투성이 질 스레 어치 당 감 발 행 판 호 개 진 형 풍 "
     "주의 주의자 이상 이하 이후 이전 미만 초과 "},
    {KJ_M_SUFFIX | KJ_M_COUNTER,
     "년 월 일 시 분 초 개 명 번 회 원 억 만 천 조 백 십 위 세 살 권 장 대 차 층 점 "
     "호 편 곳 건 마리 가지 세기 년대 년도 개월 시간 주일 주 달 도 배 퍼센트 프로 "
     "달러 엔 위안 유로 미터 킬로미터 센티미터 킬로그램 그램 리터 톤 평 석 표 승 패 "
     "골 쪽 절 항 조 단계 번째 여 남짓 만원 억원 천원 인 인분 군데 집 군 학년 학기 "
     "반 기 대 척 발 종 판 줄 자 킬로 초 일간 주년 시즌 회말 라운드 강 부 단 바이트"},
    {KJ_M_SUFFIX | KJ_M_COMMON, "들 적 님 씨"},
    {KJ_M_PREFIX,
     "재 신 비 무 불 초 대 소 고 저 최 총 반 역 미 제 한 맨 새 헛 온 맹 각 전 현"},
    {KJ_M_BOUND,
     "것 거 게 수 줄 때 데 지 듯 만 뻔 바 채 척 대로 만큼 따름 뿐 동안 듯이 즈음 때문 "
     "등 걸 건 꺼 경우 후 뒤"},
    {KJ_M_WORD,
     "것 거 수 등 때 말 집 물 일 월 년 날 달 해 눈 손 발 몸 맘 마음 땅 돈 책 글 길 "
     "꿈 꽃 산 강 법 점 힘 피 차 밤 낮 봄 곳 쪽 뜻 값 빛 밥 술 약 옷 병 방 문 벽 "
     "배 비 코 귀 입 목 간 딸 형 왕 군 신 죄 벌 상 컵 공 팀 앱 웹 맵 팬 키 탭 폼 셀 "
     "앞 뒤 옆 위 안 밖 속 끝 밑 곁 겉 틈 후 전 중 간 초 말 반 양 수 표 줄 칸 개 명 "
     "번 분 초 시 원 억 만 천 백 십 살 명 대 회 권 장 건 점 층 호 도 세 두 세 네 한 "
     "몇 첫 온 각 매 전 현 본 이 그 저 나 너 내 네 제 전 뭐 왜 또 더 덜 잘 못 "
     "안 다 곧 꼭 늘 참 막 딱 쭉 푹 좀 즉 및 혹 단 약 총 새 헌 옛 맨 걔 얘 쟤 예 "
     "네 응 음 아 오 야 와 헐 자 뿐 채 데 바 줄 터 듯 적 탓 덕 짱 굿 별 둘 셋 넷 하나 "
     "다섯 여섯 일곱 여덟 아홉 열 스물 서른 마흔 쉰 다른 모든 어떤 이런 그런 저런 "
     "무슨 어느 여러 온갖 아무 웬 옛날 요즘 오늘 내일 어제 지금 이제 아직 이미 벌써 "
     "항상 언제 언제나 가끔 자주 다시 먼저 나중 함께 같이 서로 모두 거의 아주 매우 "
     "너무 정말 진짜 참으로 가장 제일 더욱 훨씬 조금 약간 많이 빨리 천천히 계속 "
     "그냥 그저 단지 다만 오직 바로 특히 주로 대부분 대체로 보통 일반 결국 마침내 "
     "드디어 비록 만약 만일 아마 혹시 물론 과연 역시 도대체 절대 절대로 결코 별로 "
     "전혀 굳이 일단 우선 과거 그리고 그러나 하지만 그런데 그래서 그러므로 따라서 "
     "그러면 그럼 또한 또는 혹은 즉 게다가 그래도 근데 그러니까 왜냐하면 한편 "
     "나 너 우리 저희 너희 당신 그녀 자기 자신 누구 누가 무엇 뭐 어디 여기 거기 저기 "
     "이것 그것 저것 이거 그거 저거 이곳 그곳 저곳 이번 저번 지난번 다음 이때 그때 "
     "맛 삶 당 면 팔 창 잔 칼 불 흙 숲 섬 곰 소 닭 쌀 빵 국 떡 짐 침 털 살 뼈 뇌 암 열 "
     "품 벌 "
     "차 겁 욕 빚 덤 꼴 돌 실 옷 젖 솜 틀 판 패 폭 폐 핵 혀 후 흠 핏 핸드폰 스마트폰 "
     "휴대폰 "
     "자본주의 사회주의 민주주의 공산주의 민족주의 개인주의 자유주의 제국주의 그렇지만 "
     "한국어 "
     "영어 일본어 중국어 모델 그럼에도 불구 블로그 블랙 화이트 아이템 아이디어 아이콘 "
     "노동자 소비자 "
     "이용자 기술자 학자 환자 부자 여자 관리자 후기 배송 가성비 무지 보다 제대로 "
     "오늘날 우리나라 대학교 아이 나이 사이 차이 종이 고양이 어린이 이야기 얘기 놀이 "
     "먹이 길이 높이 깊이 "
     "넓이 풀이 더이 벌이 쌍둥이 젊은이 늙은이 원숭이 호랑이 오이 어머니 아버지 "
     "언니 누나 오빠 동생 친구 아내 남편 부모 자식 할머니 할아버지 아들 딸 사람 여자 "
     "남자 회의 주의 의의 정의 합의 논의 강의 동의 항의 결의 명의 유의 호의 창의 "
     "국가 평가 작가 전문가 참가 추가 증가 휴가 허가 인가 물가 주가 가가 대가 원가 "
     "단가 정가 시가 의도 정도 제도 온도 속도 지도 태도 각도 밀도 농도 강도 연도 "
     "년도 수도 포도 파도 기도 시도 보도 유도 주도 인도 한도 고도 빈도 용도 도도 "
     "도로 진로 경로 피로 서로 새로 따로 스스로 홀로 저절로 실제로 그대로 마음대로 "
     "종로 결과 효과 성과 통과 학과 부과 초과 사과 경과 교과 투과 과과 하나 누나 "
     "마을 가을 노을 서울 겨울 여름 얼음 처음 웃음 죽음 믿음 느낌 그림 꿈 아픔 슬픔 "
     "기쁨 도움 모습 소리 나라 머리 자리 거리 다리 요리 우리 무리 유리 관리 처리 "
     "정리 원리 논리 심리 심리 승리 권리 의리 수리 분리 고리 꼬리 뿌리 오리 "
     "시간 인간 기간 공간 순간 중간 기관 하늘 바다 나무 마을 바람 구름 "
     ""},
    {KJ_M_WORD,
     "은행 은혜 가족 가게 가격 가능 가수 가지 이유 이상 이하 이용 이름 이미지 이해 "
     "이후 이전 이벤트 이메일 의사 의미 의원 의식 의견 의존 의무 의회 에너지 서비스 "
     "문제 정부 사회 경제 문화 역사 정치 교육 대학 학교 학생 선생 교수 연구 과학 "
     "기술 개발 사업 기업 회사 시장 상품 제품 서비스 정보 자료 데이터 컴퓨터 인터넷 "
     "프로그램 시스템 파일 코드 함수 변수 객체 클래스 메서드 컴포넌트 브라우저 "
     "사용자 개발자 프로젝트 저장소 브랜치 커밋 서버 디렉토리 디렉터리 라이브러리 "
     "영화 영화관 드라마 음악 노래 게임 방송 뉴스 기사 기자 배우 감독 연기 내용 "
     "스토리 재미 감동 최고 최악 쓰레기 평점 별점 작품 장면 주인공 캐릭터 연출 "
     "한국 미국 일본 중국 영국 프랑스 독일 러시아 대한민국 조선 북한 남한 유럽 "
     "아시아 아프리카 세계 전쟁 군대 대통령 국회 국민 시민 정책 선거 정당 "
     "누군가 무언가 언젠가 어딘가 뭔가 얼마나 얼마 어쩌면 아무나 아무도 아무것 "
     "하루 이틀 사흘 아침 점심 저녁 오전 오후 작년 올해 내년 최근 현재 당시 동안 "
     "때문 정도 경우 관련 다음 이외 이래 가운데 하도 비비 "
     "파티 카드 보드 코트 페이지 이미지 사이트 메시지 메뉴 버튼 링크 텍스트 문서 "
     "자신감 불만 비만 자만 미만 만만 오만 기만 출시 다시 표시 지시 무시 역시 도시 "
     "혹시 잠시 동시 즉시 일시 당시 제시 예시 게시 감시 택시 접시 낚시 "
     "바다 소나기 감기 인기 경기 위기 분위기 비행기 시기 계기 용기 이기 크기 보기 "
     "읽기 쓰기 듣기 말하기 더하기 빼기 쓰레기 고기 물고기 무기 연기 전기 공기 동기 "
     "마디 어머 그림 바보 지지 토지 편지 의지 여지 처지 가지 돼지 먼지 강아지 "
     "엄마 아빠 이모 고모 삼촌 아저씨 아줌마 아가씨 남매 형제 자매 선배 후배 "
     "마치 만큼 대로 처럼 아무리 어차피 어쨌든 아무튼 하여튼 오히려 차라리 더구나 "
     "심지어 비로소 도저히 제발 부디 설마 글쎄 어쩐지 왠지 분명히 확실히 완전히 "
     "충분히 열심히 꾸준히 자세히 간단히 가만히 조용히 무사히 여전히 당연히 솔직히 "
     "일찍 늦게 멀리 높이 깊이 가까이 같이 없이 끊임없이 틀림없이 높이 많이 깨끗이 "
     "하느님 하나님 예수 그리스도 교회 성경 불교 절 스님 목사 신부"},
    {KJ_M_WORD | KJ_M_OPEN | KJ_M_PRONOUN,
     "나 너 저 거 이거 그거 저거 뭐 누구 여기 거기"},
    {KJ_M_OPEN | KJ_M_BOUND, "거"},
    {KJ_M_YO, "요"},
    /* derivation */
    {KJ_M_STEM | KJ_M_DERIVE, "시키 스럽b 롭b 당하 받 답b 이 거리"},
    {KJ_M_STEM | KJ_M_DERIVE | KJ_M_COMMON, "하 되"},
    {KJ_M_STEM | KJ_M_AUX,
     "있 보 주 지 버리 놓 두 가 오 내 나 드리 하 싶 않 못하 말 달 되 대 계시 나가 "
     "나오 오르 치우 먹 갖 가지 쌓 빠지 죽 들"},
    {KJ_M_STEM | KJ_M_HONOR, "시 으시"},
    {KJ_M_PAST | KJ_M_TAIL, "겠 더 었었 았었 였었"},
    {KJ_M_PAST | KJ_M_TAIL_A, "았 었 였"},
    {KJ_M_PAST | KJ_M_REST, "었"},
    /* attributive and noun-making endings */
    {KJ_M_TAIL | KJ_M_ATTR,
     "는 던 다는 라는 자는 냐는 다던 라던 려는 느냐는 는다는 단 란"},
    {KJ_M_TAIL_C | KJ_M_ATTR, "은 을 으려는 는다는 은다는 으라는"},
    {KJ_M_TAIL | KJ_M_NOMIN, "기"},
    {KJ_M_TAIL_C | KJ_M_NOMIN, "음"},
    /* other endings */
    {KJ_M_TAIL,
     "고 고서 고는 고도 고자 곤 거나 거든 거든요 거니와 건만 건대 게 게끔 게나 "
     "구나 군 군요 구만 구먼 구요 구 기에 길래 나 나요 냐 냐고 냐면 네 네요 노라 노니 "
     "느냐 느냐고 느니 느라 느라고 는가 는가요 는걸 는걸요 는구나 는군 는군요 는다 "
     "는다고 는다며 는다면 는다면서 는답니다 는대 는대요 는데 는데도 는데요 는지 "
     "는지요 니 니까 니까요 니만큼 다 다가 다가는 다고 다고요 다고는 다며 다면 "
     "다면서 다만 다시피 단다 답니다 대 대요 더니 더니만 더라 더라고 더라고요 더라도 "
     "더라면 더군 더군요 던가 던데 던데요 던지 도록 되 든 든가 든지 듯 듯이 듯하 라 "
     "라고 라고요 라는데 라니 라도 라든지 라며 라면 라면서 라야 랍니다 래 래요 "
     "러 려 려고 려고요 려나 려는데 려다 려다가 려면 려면은 며 면 면서 면서도 "
     "면은 므로 므로써 세 세요 셔요 소서 습니까 습니다 습니다만 시다 십시오 "
     "여야 옵니다 으니 자 자고 자는데 자마자 자면 잖 잖아 잖아요 죠 지 지는 지도 "
     "지만 지만은 지마는 지요 구려 는바 던바 거늘 거라 거라고 거들랑 게요 "
     "께 께요 나니 다네 다니 다니까 단데 라네 라니까 "
     "므로 을까 을지"},
    {KJ_M_TAIL_C,
     "으니 으니까 으니까요 으라 으라고 으라면 으러 으려 으려고 으려고요 으려다 "
     "으려면 으려나 으며 으면 으면서 으면서도 으면요 으므로 으므로써 으나 으나마 "
     "으리 으리라 으마 으세요 으십시오 으시오 은 은가 은가요 은걸 은데 은데도 은데요 "
     "은들 은지 은지도 은지요 은채 을 을걸 을걸요 을게 을게요 을까 을까요 을까봐 "
     "을께 을께요 을는지 을라 을래 을래요 을만큼 을만한 을망정 을뿐더러 을뿐만 "
     "을수록 을지 을지도 을지라도 을지언정 을지니 을진대 을텐데 습니까 습니다 "
     "습니다만 습디다 습죠 음 음에도 음으로 음으로써 자 읍니다 읍시다 읍니까 은즉 "
     "으오 으랴 으련 으련만 으로"},
    {KJ_M_TAIL_A,
     "아 어 여 아서 어서 여서 아도 어도 여도 아야 어야 여야 아야만 어야만 여야만 "
     "아야지 어야지 여야지 아라 어라 여라 아요 어요 여요 아다 어다 아다가 어다가 "
     "아서는 어서는 여서는 아서도 어서도 여서도 아선 어선 아서야 어서야 여서야 아야죠 "
     "어야죠 "
     "아용 어용 아야겠 어야겠 아라도 어라도 어라고 아라고"},
    {KJ_M_REST,
     "서 도 야 야만 야지 야죠 라 요 다 다가 서는 서도 선 서야 야겠 라고 라도 라는 "
     "야지요 야하 요오"},
    {KJ_M_COPULA,
     "다 라 라고 라는 라고는 라도 라서 라면 라며 라든지 라네 라니 란 고 며 면 면서 "
     "지만 지요 죠 나 니 니까 든 든지 든가 네 네요 군 군요 구나 거나 던 던가 더라 "
     "므로 세요 자 셨 시 시다 야 예요 에요 여서 여야 라야 라기 였 여 겠"},
};

/* Endings that begin with a final consonant, by that. */
static const struct {
    unsigned final;
    uint32_t classes;
    const char *words;
} finals[] = {
    {4, KJ_M_TAIL | KJ_M_ATTR, "- 다는 단 다던"},
    {4, KJ_M_TAIL | KJ_M_COPULA,
     "다 다고 다고요 다며 다면 다면서 다만 다는데 답니다 대 대요 데 데도 데요 들 "
     "가 가요 가보 지 지도 지라 지는 지요 즉 걸 걸요 바 다니 다니까 다네 단다 댄다"},
    {8, KJ_M_TAIL | KJ_M_ATTR, "-"},
    {8, KJ_M_TAIL | KJ_M_COPULA,
     "까 까요 까봐 께 께요 게 게요 걸 걸요 래 래요 라 라고 려고 려면 려는 수록 지 "
     "지도 지라도 지언정 지니 지는 텐데 뿐 뿐만 뿐더러 망정 는지 만한 만큼 거 거야 때"},
    {16, KJ_M_TAIL | KJ_M_NOMIN | KJ_M_COPULA, "-"},
    {16, KJ_M_TAIL, "으로 에도 으로써"},
    {17, KJ_M_TAIL | KJ_M_COPULA, "니다 니까 니다만 시다 시오 디다 디까 죠 지요"},
};

/* Verbs and adjectives. */
static const char *const verbs[] = {
    "있 없 계시 되 하 가 오 보 주 받 먹 마시 자 일어나 일어서 앉 서 걷d 뛰 달리 날 "
    "타 내리 오르 내려가 내려오 올라가 올라오 들어가 들어오 나가 나오 돌아가 돌아오 "
    "다니 떠나 멈추 만나 헤어지 기다리 찾 찾아가 찾아오 잃 잃어버리 잊 "
    "잊어버리 알 모르 배우 가르치 읽 쓰 듣d 말하 묻d 묻 부르 "
    "불리 외치 울 웃 웃기 놀 쉬 살 죽 죽이 태어나 자라 키우 기르 낳 "
    "좋 싫 미w 예쁘 이쁘 아름답b 멋지 멋있 맛있 맛없 재미있 "
    "재미없 크 작 많 적 길 짧 높 낮 깊 얕 넓 좁 두껍b 얇 굵 무겁b 가볍b 빠르 느리 "
    "이르g 늦 새롭b 오래되 젊 늙 어리 쉽b 어렵b 힘들 편하 가깝b 멀 같 다르 "
    "틀리 맞 옳 나쁘 착하 바쁘 아프 고프 배고프 슬프 기쁘 즐겁b "
    "무섭b 두렵b 외롭b 괴롭b 고맙b 반갑b 그립b 부럽b 부끄럽b 아쉽b 덥b 춥b 뜨겁b "
    "차갑b 맵b 짜 달 쓰 시 싱겁b 맑 흐리 밝 어둡b 희 검 붉 푸르g 누르g "
    "빨갛h 파랗h 노랗h 하얗h 까맣h 이렇h 그렇h 저렇h 어떻h 그러 이러 저러 어쩌 "
    "열 닫 켜 끄 켜지 꺼지 넣 빼 꺼내 담 쏟 붓s 따르g 채우 비우 놓 두 들 "
    "들리 들이 쥐 잡 잡히 놓치 던지 치 때리 맞추 밀 당기 끌 끌리 끌어들이 밟 차 "
    "묶 풀 풀리 매 달 달리 걸 걸리 걸치 붙 붙이 떼 떨어지 떨어뜨리 떨 깨 깨지 깨닫d "
    "부수 부서지 고치 만들 만들어지 짓s 세우 쌓 쌓이 무너지 자르 썰 베 찢 찢어지 꺾 "
    "굽b 굽 볶 끓 끓이 삶 튀기 섞 섞이 씻 닦 쓸 빨 말리 입 벗 신 쓰이 끼 끼우 감 "
    "사 팔 팔리 사들이 벌 빌리 갚 내 내놓 내보내 보내 보이 보여주 나누 나뉘 나눠주 "
    "더하 "
    "곱하 빼앗 뺏 훔치 숨 숨기 감추 나타나 나타내 드러나 드러내 사라지 없애 없어지 "
    "생기 일으키 벌이 벌어지 일어나 시작되 끝나 끝내 마치 그치 이어지 "
    "이어가 잇s 이루 이루어지 이뤄지 이르g 다다르g 미치 넘 넘치 넘어가 지나 지나가 "
    "지나치 지내 거치 겪 당하 입히 맡 맡기 맡기 이끌 따라가 쫓 쫓기 쫓아내 피하 막 "
    "막히 지키 어기 돕b 도와주 구하 살리 살아가 싸우 다투 이기 지 다치 낫s 앓 아끼 "
    "바라 바라보 믿 느끼 느껴지 생각되 여기 여겨지 모이 모으 모아지 흩어지 "
    "퍼지 퍼뜨리 늘 늘리 늘어나 줄 줄이 줄어들 커지 작아지 높이 높아지 낮추 낮아지 "
    "오르내리 떠오르 떠올리 움직이 흔들 흔들리 돌 돌리 돌아보 돌려주 구르 굴리 뒤집 "
    "바꾸 바뀌 변하 고르 뽑 뽑히 가리 가리키 가르 갈리 갈라지 알리 알려지 알려주 "
    "알아보 알아듣d 밝히 밝혀지 숨쉬 시키 원하 바라 싶 못하 않 말 아니",
    "지니 가지 갖 갖추 속하 통하 위하 대하 관하 인하 따르g 의하 비하 향하 "
    "향하 더불 얻 잃 읽히 쓰이 불리 팔리 잡히 먹히 뽑히 섞이 쌓이 놓이 꼽히 맺 맺히 "
    "삼 펴 펼치 펼쳐지 짜 엮 꾸미 꾸리 다루 다스리 쓰여지 굳 굳히 녹 "
    "녹이 얼 얼리 타오르 태우 데우 식 식히 마르 말리 젖 적시 잠기 잠그 빠지 빠뜨리 "
    "헤매 머무르g 머물 묵 깃들 자리잡 들르g 찾아보 살펴보 훑어보 쳐다보 지켜보 "
    "돌보 내다보 물어보 해보 물러나 나서 나아가 나아지 다가가 다가오 건너 건너가 "
    "올리 올려놓 내세우 내려놓 받아들이 받아들여지 받들 이뤄내 해내 그만두 "
    "관두 놀라 놀래 화나 짜증나 지치 아깝b 안타깝b "
    "귀엽b 사랑스럽b 자랑스럽b 자연스럽b 갑작스럽b 만족스럽b 조심스럽b 까다롭b "
    "해롭b 이롭b 날카롭b 평화롭b 흥미롭b 자유롭b 번거롭b 손쉽b 가렵b 어지럽b "
    "더럽b 시끄럽b 부드럽b 미끄럽b 뜨 뜨이 띄 띄우 끊 끊기 끊어지 뚫 뚫리 끌어내 "
    "견디 버티 참 이겨내 벗어나 빠져나가 빠져나오 튀 튀어나오 쏘 쏟아지 흐르",
    "흘리 흘러가 새 솟 뿜 불 불 붓 심 심 캐 따 줍b 긁 긋s 그리 그려지 칠하 새기 "
    "빚 짚 집 재 세 헤아리 견주 비추 비치 빛나 반짝이 번지 물들 닮 어울리 어우러지 "
    "엉망이 뛰어나 뛰어넘 뛰어들 앞서 앞서가 뒤지 뒤따르g 모자라 남 남기 남아있 "
    "알맞 걸맞 엄청나 "
    "심하 강하 약하 세 굳세 여리 급하 착하 악하 순하 독하 "
    "어리석 게으르 친하 낯설 낯익 서투르g 서툴 "
    "괜찮 낡 헐 썩 상하 곪 아물 트 싹트 피 지 맺 열리 닫히 잠들 깨어나 "
    "깨우 졸 졸리 꾸 누 눕b 눕히 기대 업 업히 안 안기 껴안 품 감싸 둘러싸 둘러보 뒤덮 "
    "덮 덮이 씌우 벗기 까 벌리 오므리 다물 물 물리 씹 삼키 뱉 핥 빨 맡 냄새나 울리 "
    "들려오 들려주 들여다보 엿보 엿듣d 노리 겨누 겨루 맞서 마주치 "
    "부딪치 부딪히 스치 닿 접하 접 펴 구부리 굽히 젓s 휘두르 휘젓s 흔하 드물 잦 "
    "귀찮 하찮 점찮 징그럽b 역겹b 지겹b 눈물겹b 정겹b 흥겹b 버겁b 무덥b "
    "시리 저리 쑤시 결리 따갑b 간지럽b 매섭b 사납b 잘나 "
    "못나 못생기 잘생기 잘되 못되 안되 덜하 더하 잇 챙기 "
    "챙겨주 꼬 꼬이 꼬시 꺼리 서두르 저지르 치르g 우러나 쳐들어가 묻히 잠그 담그 고이 "
    "갈 갈 갈아입 갈아타 뜯 뜯어고치 부치 부풀 부풀리 터 터지 터뜨리 쏘아보 꽂 "
    "꽂히 박 박히 뒤섞이 뒤바뀌 되찾 되돌리 되돌아가 거두 거스르 쓰러지 "
    "엎드리 넘어지 넘기 미루 미뤄지 밀리 밀려나 당겨지 누르 눌리 짓누르 억누르 조르 "
    "졸라매 가르 찌 찌르 찍 찍히 엎 뒤엎 이울 기울 기울이 시들 아물 망치 망하 흥하 "
    "취하 더러워지 깔 깔리 끼어들 들이마시 들이대 몰 몰리 몰려들 몰아내 "
    "몰려오 일컫d 걷 걷히 싣d 실리 붇d 긷d 깁b 여쭙b 여쭈 모시 뵙 뵈 드시 주무시 "
    "돌아가시 잡수시 두드러지 두드리 빚지 등지 꾸짖 나무라 타이르 달래 "
    "어루만지 쓰다듬 주무르 긁적이 머뭇거리 망설이 서성이 중얼거리 속삭이 떠들 지껄이 "
    "투덜거리 꾸물거리 다그치 우기 캐묻d 따지 헷갈리 헤집 파 파묻 파묻히 파헤치 파고들 "
    "졌 싸 싸이 비싸 값싸 "
    ""};

/* The readings of Chinese characters in common use. */
static const char readings[] = "가각간갈감갑강개객갱거건걸검겁게격견결겸경계고곡곤골공"
                               "곶과곽관괄광괘괴굉교구국군굴궁권"
                               "궐궤귀규균귤극근글금급긍기긴길김나낙난날남납낭내냉녀년"
                               "념녕노녹논농뇌뇨누눈능니다단달담답"
                               "당대덕도독돈동두둔득등라락란람랍랑래랭략량려력련렬렴렵"
                               "령례로록론롱뢰료룡루류륙륜률륭륵름"
                               "릉리린림립마막만말망매맥맹면멸명모목몰몽묘무묵문물미민"
                               "밀박반발방배백번벌범법벽변별병보복"
                               "본봉부북분불붕비빈빙사삭산살삼삽상새색생서석선설섬섭성"
                               "세소속손송쇄쇠수숙순술숭습승시식신"
                               "실심십쌍씨아악안알암압앙애액야약양어억언엄업여역연열염"
                               "엽영예오옥온옹와완왈왕왜외요욕용우"
                               "욱운울웅원월위유육윤율융은을음읍응의이익인일임입잉자작"
                               "잔잠잡장재쟁저적전절점접정제조족존"
                               "졸종좌죄주죽준중즉즐증지직진질짐집징차착찬찰참창채책처"
                               "척천철첨첩청체초촉촌총촬최추축춘출"
                               "충췌취측층치칙친칠침칭쾌타탁탄탈탐탑탕태택토통퇴투특파"
                               "판팔패팽편평폐포폭표품풍피필핍하학"
                               "한할함합항해핵행향허헌험혁현혈협형혜호혹혼홀홍화확환활"
                               "황회획횡효후훈훤훼휘휴흉흑흔흡흥희";

static void add(const uint32_t *codes, size_t n, uint32_t cls)
{
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t at = kj_morph_find(node, codes[i]);
        struct kj_morph_node *x = &kj_morph_nodes[at];
        x->key = node << 14 | codes[i];
        if (i == 0)
            kj_morph_first[codes[0]] = (uint16_t)at;
        else
            kj_morph_nodes[node].kids |= 1ull << codes[i] % 64;
        node = at;
    }
    kj_morph_nodes[node].classes |= cls;
}

/* The next word of a list, as codes; their number, 0 at the end. */
static size_t next_word(const char **z, uint32_t codes[16], char *mark)
{
    size_t n = 0, len;
    while (**z == ' ')
        ++*z;
    *mark = 0;
    for (; **z && **z != ' '; *z += len) {
        uint32_t c = kj_utf8_next(*z, strlen(*z) < 4 ? strlen(*z) : 4, &len);
        if (c >= 0xAC00 && n < 15)
            codes[n++] = c - 0xAC00 + 1;
        else
            *mark = (char)c;
    }
    return n;
}

static uint32_t with(uint32_t code, uint32_t vowel, uint32_t final)
{
    uint32_t lead = (code - 1) / 588;
    return lead * 588 + vowel * 28 + final + 1;
}

/* The form that a stem ending in a vowel takes with 아/어; false: none of its own. */
static int merge(uint32_t *w, size_t n, char mark)
{
    static const signed char to[21] = {A,   AE, -1, -1, EO, E,  YEO, -1, WA, -1, -1,
                                       WAE, -1, WO, -1, -1, -1, -1,  -1, -1, YEO};
    uint32_t last = w[n - 1], v = (last - 1) % 588 / 28, dark = EO;
    if (last == 0xD558 - 0xAC00 + 1) { /* 하 */
        w[n - 1] = with(last, AE, 0);
        return 1;
    }
    if (v != EU) {
        if (to[v] >= 0)
            w[n - 1] = with(last, (uint32_t)to[v], 0);
        return to[v] >= 0;
    }
    if (n > 1) {
        uint32_t before = (w[n - 2] - 1) % 588 / 28;
        dark = before == A || before == O ? A : EO;
    }
    if ((last - 1) / 588 == 5 && mark != 'g' && n > 1 && (w[n - 2] - 1) % 28 == 0)
        w[n - 2] += RIEUL; /* 르: 몰라, 불러 */
    w[n - 1] = with(last, dark, 0);
    return 1;
}

static void add_vowel_stem(uint32_t *w, size_t n, uint32_t cls, char mark)
{
    add(w, n, cls | KJ_M_STEM);
    add(w, n, (cls & ~(uint32_t)KJ_M_STEM) | KJ_M_OPEN);
    if (merge(w, n, mark))
        add(w, n, (cls & ~(uint32_t)KJ_M_STEM) | KJ_M_MERGED);
}

static void add_stem(uint32_t *w, size_t n, uint32_t cls, char mark)
{
    uint32_t last = w[n - 1], final = (last - 1) % 28;
    add(w, n, cls | KJ_M_STEM);
    if (!final) {
        add_vowel_stem(w, n, cls, mark);
        return;
    }
    uint32_t open = last - final, v = (last - 1) % 588 / 28;
    w[n - 1] = open;
    if (mark == 'b') { /* 어렵: 어려우, and 도와, 고와 */
        int light = n == 1 && v == O;
        w[n] = 0xC6B0 - 0xAC00 + 1;
        add(w, n + 1, cls | KJ_M_STEM);
        add(w, n + 1, (cls & ~(uint32_t)KJ_M_STEM) | KJ_M_OPEN);
        w[n] = with(w[n], light ? WA : WO, 0);
        add(w, n + 1, (cls & ~(uint32_t)KJ_M_STEM) | KJ_M_MERGED);
    } else if (mark == 'd') {
        w[n - 1] = open + RIEUL;
        add(w, n, cls | KJ_M_STEM);
    } else if (mark == 's') { /* 짓: 지어, 지은, 지으면 */
        add(w, n, cls | KJ_M_STEM);
        w[n] = 0xC73C - 0xAC00 + 1;
        add(w, n + 1, cls | KJ_M_STEM);
        add(w, n + 1, (cls & ~(uint32_t)KJ_M_STEM) | KJ_M_OPEN);
    } else if (mark == 'h') {
        add(w, n, cls | KJ_M_STEM);
        add(w, n, (cls & ~(uint32_t)KJ_M_STEM) | KJ_M_OPEN);
        w[n - 1] = with(open, v == YA ? 3 : AE, 0);
        add(w, n, (cls & ~(uint32_t)KJ_M_STEM) | KJ_M_MERGED);
    } else if (final == RIEUL) {
        add(w, n, cls | KJ_M_STEM);
        add(w, n, (cls & ~(uint32_t)KJ_M_STEM) | KJ_M_OPEN);
    }
}

static void add_words(const char *z, uint32_t cls)
{
    uint32_t w[18];
    char mark;
    for (size_t n; (n = next_word(&z, w, &mark)) > 0;) {
        if (cls & KJ_M_STEM)
            add_stem(w, n, cls, mark);
        else
            add(w, n, cls);
    }
}

static void add_finals(unsigned final, uint32_t cls, const char *z)
{
    uint32_t w[18] = {KJ_M_FINAL + final};
    char mark;
    if (*z == '-') {
        add(w, 1, cls);
        z++;
    }
    for (size_t n; (n = next_word(&z, w + 1, &mark)) > 0;)
        add(w, n + 1, cls);
}

void kj_morph_table_fill(void)
{
    kj_morph_nodes[0].key = ~0u; /* its index stands for the beginning */
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        add_words(lists[i].words, lists[i].classes);
    for (size_t i = 0; i < sizeof finals / sizeof *finals; i++)
        add_finals(finals[i].final, finals[i].classes, finals[i].words);
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        add_words(verbs[i], KJ_M_STEM);
    for (const char *z = readings; *z; z += 3) {
        size_t len;
        uint32_t s = kj_utf8_next(z, 3, &len) - 0xAC00;
        kj_morph_sinos[s / 8] |= (unsigned char)(1u << s % 8);
    }
}
