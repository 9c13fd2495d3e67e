/* test_annotate.c - which answers are scores, and what a request holds. */
#include "classify/annotate.h"

#include "base/err.h"
#include "base/json.h"
#include "tests/unit/test.h"

static struct kj_annotate_answer read_text(struct kj_json *json, const char *text,
                                           struct kj_buf *b)
{
    kj_buf_reset(b);
    kj_buf_addz(b, "{\"choices\":[{\"message\":{\"content\":");
    kj_json_put_str(b, text, strlen(text));
    kj_buf_addz(b, "},\"finish_reason\":\"stop\"}]}");
    return kj_annotate_read(json, b->p, b->n);
}

static void answers(void)
{
    static const struct {
        const char *text;
        int score; /* -1: invalid; -2: refused */
    } rows[] = {
        {"Score: 0", 0},
        {"why\nScore: 5\n", 5},
        {"why\r\nScore: 5\r\n\r\n", 5},
        {"score:3", 3},
        {"# Score: 3", 3},
        {"**Score: 2**", 2},
        {"**Score:** 2", 2},
        {"Score: 4/5", 4},
        {"Score: 4 / 5.", 4},
        {"점수: 1점", 1},
        {"점수: 1점/5점", 1},
        {"Score: 3\nScore: 3", 3},
        {"Score: 6", -1},
        {"Score: -1", -1},
        {"Score: 3.5", -1},
        {"Score: 45", -1},
        {"Score: 4/10", -1},
        {"Score: N", -1},
        {"Score:", -1},
        {"Score 4", -1},
        {"Score: 4 points", -1},
        {"Score: 4\nbut then again", -1},
        {"Score: 4\nScore: 3", -1},
        {"the Score: 4", -1},
        {"4", -1},
        {"", -1},
        {"I'm sorry, I can't do that", -2},
        {"죄송하지만 도와드릴 수 없습니다", -2},
        {"I'm sorry to say it is poor.\nScore: 1", 1},
    };
    struct kj_json *json = kj_json_new();
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct kj_annotate_answer a = read_text(json, rows[i].text, &b);
        int got = a.kind == KJ_ANNOTATE_SCORE     ? a.score
                  : a.kind == KJ_ANNOTATE_INVALID ? -1
                  : a.kind == KJ_ANNOTATE_REFUSED ? -2
                                                  : -3;
        if (!CHECK_INT(got, rows[i].score))
            printf("     for [%s]\n", rows[i].text);
    }
    struct kj_annotate_answer a = read_text(json, "because\n\nScore: 2", &b);
    CHECK_STR(a.reason.p, a.reason.n, "because");
    kj_buf_release(&b);
    kj_json_free(json);
}

static void requests(void)
{
    struct kj_annotate_ask ask = {"m\"x", KJ_STR("A {text} B"), 3, 9, 0};
    struct kj_json *json = kj_json_new();
    const struct kj_jval *v;
    struct kj_err err = KJ_ERR_INIT;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    CHECK_INT(kj_annotate_request(&b, &ask, "가\"나다라", 14), KJ_OK);
    CHECK_INT(kj_json_parse(json, b.p, b.n, &v, &err), KJ_OK);
    struct kj_str model = kj_jstr(kj_jget(v, "model"));
    CHECK_STR(model.p, model.n, "m\"x");
    struct kj_str text = kj_jstr(kj_jget(&kj_jget(v, "messages")->items[0], "content"));
    CHECK_STR(text.p, text.n, "A 가\"나 B");
    CHECK_INT(kj_jint(kj_jget(v, "max_tokens"), 0), 9);
    for (int korean = 0; korean < 2; korean++) {
        struct kj_str p = kj_annotate_prompt(korean);
        bool place = false;
        for (size_t i = 0; i + 6 <= p.n; i++)
            place |= memcmp(p.p + i, "{text}", 6) == 0;
        CHECK(place);
        CHECK_STR(p.p + p.n - 3, 3, " N\n");
    }
    kj_buf_release(&b);
    kj_json_free(json);
}

int main(void)
{
    answers();
    requests();
    return test_end();
}
