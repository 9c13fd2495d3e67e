/* test_files.c - run files, schedules, plans, safetensors and Hugging Face
 * folders. */
#include "tests/unit/test.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/output.h"
#include "nn/safetensors.h"
#include "trainer/hf.h"
#include "trainer/plan.h"
#include "trainer/stages.h"

static char dir[64], path[192];

static const char *in(const char *name)
{
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static const char *put(const char *name, const char *text)
{
    CHECK_INT(kj_output_file(in(name), text, strlen(text), NULL), KJ_OK);
    return path;
}

/* ---- run files ---- */

static void bad_run(const char *text, const char *message, int64_t line)
{
    struct kj_run r = {0};
    struct kj_err err = KJ_ERR_INIT;
    int rc = kj_run_load(&r, put("bad.yaml", text), &err);
    if (rc == KJ_OK)
        rc = kj_run_resolve(&r, 100, &err);
    CHECK_INT(rc, KJ_USAGE);
    if (!CHECK(strstr(err.msg, message) != NULL))
        printf("     %s\n", err.msg);
    if (line > 0)
        CHECK_INT(err.pos, line);
    kj_run_release(&r);
}

static void run_files(void)
{
    struct kj_run r = {0};
    CHECK_INT(kj_run_load(&r,
                          put("run.yaml", "name: x\nmodel: {hidden_size: 96, "
                                          "num_attention_heads: 6, head_dim: 24}\n"
                                          "schedule: {tokens: 1M}\n"
                                          "optim:\n  decay: independent\n"),
                          NULL),
              KJ_OK);
    CHECK_INT(kj_run_resolve(&r, 100, NULL), KJ_OK);
    CHECK_STR(r.name, strlen(r.name), "x");
    CHECK_INT(r.model.head_dim, 24);
    CHECK_INT(r.model.kv_heads, 6);
    CHECK_INT(r.model.vocab_size, 100);
    CHECK_INT(r.model.max_positions, r.data.seq_len);
    CHECK_INT(r.optim.decay, KJ_DECAY_INDEPENDENT);
    CHECK_INT(r.schedule.steps, 1000000 / (16 * 256));
    kj_run_release(&r);
    bad_run("model:\n  hiden_size: 9\n", "hiden_size", 2);
    bad_run("model: {hidden_size: 100, num_attention_heads: 8}\nschedule: {steps: 1}\n",
            "head_dim", 0);
    bad_run("model: {num_attention_heads: 8, num_key_value_heads: 3}\n"
            "schedule: {steps: 1}\n",
            "num_key_value_heads", 0);
    bad_run("model: {head_dim: 7}\nschedule: {steps: 1}\n", "not even", 0);
    bad_run("name: x\n", "schedule.steps", 0);
    bad_run("model: {vocab_size: 50}\nschedule: {steps: 1}\n", "below the tokenizer",
            0);
}

static void stages(void)
{
    struct kj_run r = {0};
    struct kj_err err = KJ_ERR_INIT;
    const char *text =
        "stages:\n"
        "  - {name: a, steps: 3, data: x}\n"
        "  - {name: b, tokens: 40960, data: [x, {path: y, weight: 2}]}\n";
    CHECK_INT(kj_run_load(&r, put("run.yaml", text), NULL), KJ_OK);
    CHECK_INT(kj_stages_set(&r, "stages.b.shape=sqrt", &err), KJ_OK);
    CHECK_INT(kj_stages_set(&r, "stages.a.tokens=8192", &err), KJ_OK);
    CHECK_INT(kj_stages_set(&r, "stages.a.data=z", &err), KJ_OK);
    CHECK_INT(kj_stages_set(&r, "stages.c.data=z", &err), KJ_USAGE);
    CHECK_INT(kj_stages_set(&r, "stages.a.name=z", &err), KJ_USAGE);
    CHECK_INT(kj_stages_set(&r, "stages.a=z", &err), KJ_USAGE);
    CHECK_INT(kj_stages_set(&r, "stages.a.steps", &err), KJ_USAGE);
    CHECK_INT(kj_run_resolve(&r, 100, &err), KJ_OK);
    CHECK_INT(r.schedule.steps, 12);
    CHECK_INT(r.stages[0].end, 2);
    CHECK_INT(r.n_sets, 3);
    CHECK_INT(r.stages[1].sources[0].set, 1);

    /* What is printed reads back to the same run. */
    struct kj_buf a, b;
    struct kj_run again = {0};
    kj_buf_init(&a, 1 << 20);
    kj_buf_init(&b, 1 << 20);
    CHECK_INT(kj_run_dump(&r, false, &a), KJ_OK);
    CHECK_INT(kj_run_load(&again, put("again.yaml", kj_buf_z(&a)), &err), KJ_OK);
    CHECK_INT(kj_run_resolve(&again, 100, &err), KJ_OK);
    again.init_from = again.data.manifest = again.data.tokenizer =
        again.distil.teacher = NULL; /* printed as null */
    CHECK_INT(kj_run_dump(&again, false, &b), KJ_OK);
    CHECK_MEM(b.p, b.n, a.p, a.n);
    kj_buf_release(&a);
    kj_buf_release(&b);
    kj_run_release(&r);
    kj_run_release(&again);

    bad_run("stages: {name: a}\n", "list of 1 to", 1);
    bad_run("stages:\n  - {name: a, steps: 1}\n  - {steps: 1}\n", "has a name", 3);
    bad_run("stages:\n  - {name: a b, steps: 1}\n", "has a name", 2);
    bad_run("stages:\n  - {name: a, steps: 1}\n  - {name: a, steps: 1}\n",
            "two stages a", 3);
    bad_run("stages:\n  - {name: a, step: 1}\n", "step", 2);
    bad_run("stages:\n  - {name: a, steps: 1, tokens: 1M}\n", "either steps", 0);
    bad_run("stages:\n  - {name: a}\n", "either steps", 0);
    bad_run("stages:\n  - {name: a, tokens: 12}\n", "less than a step's", 0);
    bad_run("stages:\n  - {name: a, steps: 1, start_ratio: 1}\n", "need a shape", 0);
    bad_run("stages:\n  - name: a\n    steps: 1\n    data: [{path: x, weight: 0}]\n",
            "over 0", 4);
    bad_run("stages:\n  - name: a\n    steps: 1\n    data: [{weight: 1}]\n",
            "is a path", 4);
    bad_run("stages:\n  - name: a\n    steps: 1\n    data: []\n", "1 to 32", 4);
    bad_run("stages:\n  - {name: a, steps: 5}\nschedule: {steps: 6}\n", "leave out", 0);
    bad_run("stages:\n  - {name: a, steps: 1000000000000}\n"
            "data: {batch_sequences: 1000000, sequence_length: 1000000}\n"
            "model: {max_position_embeddings: 1000000}\n",
            "too many", 0);
}

static void schedules(void)
{
    struct kj_run r;
    kj_run_init(&r, NULL);
    r.schedule.steps = 1000;
    r.schedule.warmup = 100;
    r.schedule.min_ratio = 0.1;
    CHECK_NEAR(kj_schedule_factor(&r, 0), 0.01, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, 99), 1, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, 100), 1, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, 999), 0.1, 1e-12);
    r.schedule.shape = KJ_LR_WSD;
    r.schedule.cooldown = 0.2;
    CHECK_NEAR(kj_schedule_factor(&r, 799), 1, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, 899), 0.55, 1e-9);
    CHECK_NEAR(kj_schedule_factor(&r, 999), 0.1, 1e-9);
    r.schedule.shape = KJ_LR_MULTISTEP;
    CHECK_NEAR(kj_schedule_factor(&r, 799), 1, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, 800), 0.316, 1e-12);
    CHECK_NEAR(kj_schedule_factor(&r, 900), 0.1, 1e-12);
}

/* ---- plans: published sizes ---- */

static void plan_of(struct kj_plan *p, int64_t layers, int64_t hidden, int64_t ffn,
                    int64_t heads, bool tied, double tokens)
{
    struct kj_run r;
    kj_run_init(&r, NULL);
    r.model = (struct kj_shape){.vocab_size = 128256,
                                .hidden = hidden,
                                .ffn = ffn,
                                .layers = layers,
                                .heads = heads,
                                .kv_heads = 8,
                                .head_dim = 128,
                                .max_positions = 8192,
                                .rope_theta = 500000,
                                .norm_eps = 1e-5,
                                .tied = tied};
    r.data.seq_len = 8192;
    r.data.batch = 1024;
    r.data.micro = 1;
    r.schedule.tokens = (int64_t)tokens;
    CHECK_INT(kj_run_resolve(&r, 0, NULL), KJ_OK);
    kj_plan_make(&r, p);
}

static void plans(void)
{
    struct kj_plan p;
    plan_of(&p, 32, 4096, 14336, 32, false, 3e12);
    CHECK_NEAR((double)p.params * 1e-9, 8.030, 5e-4);
    CHECK_NEAR(p.flops_token * 1e-9, 51.5, 0.1); /* 6 N + causal attention */
    CHECK_NEAR(p.law_lr * 1e4, 3.9, 0.05);
    CHECK_NEAR(p.law_batch * 1e-6, 11.2, 0.1);
    CHECK_NEAR(p.law_c * 1e-23, 1.55, 0.01);
    plan_of(&p, 40, 4096, 14336, 32, false, 1e12);
    CHECK_NEAR((double)p.params * 1e-9, 9.775, 5e-4);
    plan_of(&p, 32, 3072, 9216, 32, false, 1e12);
    CHECK_NEAR((double)p.params * 1e-9, 4.51, 5e-3);
    plan_of(&p, 32, 1792, 8064, 24, true, 1e12);
    CHECK_NEAR((double)p.params * 1e-9, 2.087, 5e-4);
    CHECK_NEAR((double)p.non_embedding * 1e-9, 1.857, 5e-4);
    plan_of(&p, 32, 1536, 4608, 24, true, 1e12);
    CHECK_NEAR((double)p.params * 1e-9, 1.279, 5e-4);
    plan_of(&p, 32, 1024, 3072, 16, true, 1e12);
    CHECK_NEAR((double)p.params * 1e-9, 0.635, 5e-4);
}

/* ---- safetensors ---- */

static int parse(const char *header, size_t data, struct kj_err *err)
{
    char b[1024] = {0};
    size_t n = strlen(header);
    struct kj_st *s = NULL;
    for (int i = 0; i < 8; i++)
        b[i] = (char)(n >> (8 * i));
    memcpy(b + 8, header, n);
    *err = (struct kj_err)KJ_ERR_INIT;
    int rc = kj_st_parse(&s, b, 8 + n + data, "mem", err);
    if (rc == KJ_OK)
        kj_st_close(s);
    return rc;
}

static void refused(const char *header, size_t data, const char *message)
{
    struct kj_err err;
    CHECK_INT(parse(header, data, &err), KJ_FAIL);
    if (!CHECK(strstr(err.msg, message) != NULL))
        printf("     %s\n", err.msg);
}

static void headers(void)
{
    struct kj_err err;
    CHECK_INT(parse("{}", 0, &err), KJ_OK);
    CHECK_INT(
        parse("{\"__metadata__\":{\"a\":\"b\"},"
              "\"x\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]},"
              "\"y\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[16,17]},"
              "\"z\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[16,16]}}"
              "   ",
              17, &err),
        KJ_OK);
#define X(at) "\"x\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" at "}"
#define Y(at) "\"y\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" at "}"
    refused("{" X("[0,4]") "," X("[4,8]") "}", 8, "");
    refused("{" X("[0,4]") "," Y("[2,6]") "}", 6, "overlap");
    refused("{" X("[0,4]") "," Y("[5,9]") "}", 9, "hole");
    refused("{" X("[1,5]") "}", 5, "hole");
    refused("{" X("[0,4]") "}", 5, "behind the last");
    refused("{" X("[0,4]") "}", 3, "outside");
    refused("{" X("[0,5]") "}", 5, "do not fit");
    refused("{" X("[4,0]") "}", 4, "outside");
    refused("{" X("[-1,3]") "}", 4, "outside");
    refused("{" X("[0]") "}", 4, "outside");
    refused("{\"x\":{\"dtype\":\"F7\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, "F7");
    refused("{\"x\":{\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]}}", 4,
            "impossible shape");
    refused("{\"x\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904,8],"
            "\"data_offsets\":[0,0]}}",
            0, "impossible shape");
    refused("{\"x\":7}", 0, "dtype");
    refused("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__");
    refused("{\"x\":", 0, "");
    refused("[]", 0, "not a safetensors");
    refused(" {}", 0, "not a safetensors");
    err = (struct kj_err)KJ_ERR_INIT;
    struct kj_st *s;
    CHECK_INT(kj_st_parse(&s, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "m", &err),
              KJ_FAIL);
    CHECK_INT(kj_st_parse(&s, "abc", 3, "m", &err), KJ_FAIL);
    CHECK_INT(kj_st_open(&s, in("not-there"), &err), KJ_FAIL);
}

static float value(size_t i, uint64_t k)
{
    return (float)(((double)k - 3) * (double)(i + 1) * 0.3717);
}

static int fill(void *ctx, size_t i, uint64_t at, float *out, size_t n,
                struct kj_err *err)
{
    (void)ctx;
    (void)err;
    for (size_t k = 0; k < n; k++)
        out[k] = value(i, at + k);
    if (i == 1 && at == 0) {
        out[0] = NAN;
        out[1] = INFINITY;
    }
    return KJ_OK;
}

static void round_trip(void)
{
    const struct kj_st_out t[] = {{"a.b", 2, {3, 5}}, {"c", 1, {9}}, {"empty", 1, {0}}};
    static const enum kj_st_type types[] = {KJ_ST_F32, KJ_ST_BF16};
    for (int k = 0; k < 2; k++) {
        struct kj_st *s;
        float x[15];
        CHECK_INT(kj_st_write(in("x.safetensors"), t, 3, types[k], fill, NULL, NULL),
                  KJ_OK);
        if (!CHECK_INT(kj_st_open(&s, path, NULL), KJ_OK))
            return;
        CHECK_INT(kj_st_count(s), 3);
        const struct kj_st_tensor *a = kj_st_find(s, "a.b"), *c = kj_st_find(s, "c");
        CHECK(a && c && kj_st_find(s, "empty") && !kj_st_find(s, "b"));
        CHECK_INT(a->shape[1], 5);
        CHECK_INT(kj_st_floats(a, 0, x, 15, NULL), KJ_OK);
        for (size_t i = 0; i < 15; i++)
            CHECK_NEAR(x[i], value(0, i), k ? fabs((double)x[i]) / 256 : 0);
        CHECK_INT(kj_st_floats(c, 0, x, 9, NULL), KJ_OK);
        CHECK(isnan(x[0]) && isinf(x[1]));
        kj_st_close(s);
    }
    CHECK_INT(kj_st_write(in("no/such/dir"), t, 3, KJ_ST_F32, fill, NULL, NULL),
              KJ_FAIL);
}

/* IEEE half precision: normal, subnormal, signed zero, infinity. */
static void halves(void)
{
    static const unsigned char b[] = {0x00, 0x3C, 0x00, 0xC0, 0x01, 0x00, 0xFF,
                                      0x7B, 0x00, 0x80, 0x00, 0x7C, 0x01, 0x84};
    static const double want[] = {1, -2, 0x1p-24, 65504, 0, INFINITY, -0x1.004p-14};
    struct kj_st_tensor t = {.name = "h", .type = KJ_ST_F16, .p = b, .elements = 7};
    float x[7];
    CHECK_INT(kj_st_floats(&t, 0, x, 7, NULL), KJ_OK);
    for (int i = 0; i < 7; i++)
        CHECK((double)x[i] == want[i]);
    CHECK(signbit(x[4]));
    t.type = KJ_ST_I32;
    CHECK_INT(kj_st_floats(&t, 0, x, 1, NULL), KJ_FAIL);
}

/* ---- Hugging Face folders ---- */

static int replace(const char *from, const char *to) /* in config.json */
{
    char text[8192];
    FILE *f = fopen(in("hf/config.json"), "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = 0;
    char *at = strstr(text, from);
    if (!at)
        return -1;
    struct kj_buf b;
    kj_buf_init(&b, 1 << 16);
    kj_buf_add(&b, text, (size_t)(at - text));
    kj_buf_addz(&b, to);
    kj_buf_addz(&b, at + strlen(from));
    int rc = kj_output_file(path, b.p, b.n, NULL);
    kj_buf_release(&b);
    return rc;
}

static void refuse_config(const char *from, const char *to, const char *message)
{
    struct kj_hf_config c;
    struct kj_err err = KJ_ERR_INIT;
    CHECK_INT(replace(from, to), KJ_OK);
    CHECK_INT(kj_hf_config(in("hf"), &c, &err), KJ_FAIL);
    if (!CHECK(strstr(err.msg, message) != NULL))
        printf("     %s\n", err.msg);
    CHECK_INT(replace(to, from), KJ_OK);
}

static void folders(void)
{
    const struct kj_shape s = {.vocab_size = 11,
                               .hidden = 12,
                               .ffn = 20,
                               .layers = 2,
                               .heads = 2,
                               .kv_heads = 1,
                               .head_dim = 4,
                               .max_positions = 32,
                               .rope_theta = 12345.5,
                               .norm_eps = 1e-6,
                               .init_range = 0.02};
    const struct kj_hf_save save = {.bos = 3, .eos = 4};
    struct kj_backend *b;
    struct kj_llama *m, *n;
    struct kj_hf_config c;
    struct kj_err err = KJ_ERR_INIT;
    char hf[96];
    snprintf(hf, sizeof hf, "%s/hf", dir);
    kj_backend_open(&b, "cpu", 1, NULL);
    CHECK_INT(kj_llama_new(&m, b, &s, 4, 4, false, NULL), KJ_OK);
    CHECK_INT(kj_llama_new(&n, b, &s, 4, 4, false, NULL), KJ_OK);
    kj_llama_init(m, 1);
    CHECK_INT(kj_hf_publish(m, hf, &save, &err), KJ_OK);
    CHECK_INT(kj_hf_publish(m, hf, &save, &err), KJ_OK); /* replaces */
    CHECK(test_have(in("hf/generation_config.json")));
    CHECK(!test_have(in("hf.old")) && !test_have(in("hf.tmp")));
    CHECK_INT(kj_hf_config(hf, &c, &err), KJ_OK);
    CHECK_INT(c.bos, 3);
    CHECK_INT(c.eos, 4);
    CHECK_INT(c.shape.head_dim, 4);
    CHECK(c.shape.rope_theta == s.rope_theta && c.shape.norm_eps == s.norm_eps);
    CHECK(!c.shape.tied);
    CHECK_INT(kj_hf_load(n, hf, &err), KJ_OK);
    float *x = malloc(m->n * 4), *y = malloc(m->n * 4);
    b->ops->read(b, m->w, 0, x, m->n);
    b->ops->read(b, n->w, 0, y, m->n);
    CHECK_MEM((char *)x, m->n * 4, (char *)y, m->n * 4);
    free(x);
    free(y);

    refuse_config("\"model_type\": \"llama\"", "\"model_type\": \"gpt2\"", "gpt2");
    refuse_config("\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "gelu");
    refuse_config("\"attention_bias\": false", "\"attention_bias\": true", "biases");
    refuse_config("\"rope_scaling\": null",
                  "\"rope_scaling\": {\"type\": \"longrope\"}", "longrope");
    refuse_config("\"hidden_size\": 12", "\"hidden_size\": -12", "below 1");
    refuse_config("\"head_dim\": 4", "\"head_dim\": 5", "not even");

    /* Another shape: a tensor that does not fit is named. */
    struct kj_shape wide = s;
    wide.ffn = 21;
    kj_llama_free(n);
    CHECK_INT(kj_llama_new(&n, b, &wide, 4, 4, false, NULL), KJ_OK);
    CHECK_INT(kj_hf_load(n, hf, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "mlp.gate_proj") != NULL);
    err = (struct kj_err)KJ_ERR_INIT;
    /* One layer less: what is left over is named. */
    wide = s;
    wide.layers = 1;
    kj_llama_free(n);
    CHECK_INT(kj_llama_new(&n, b, &wide, 4, 4, false, NULL), KJ_OK);
    CHECK_INT(kj_hf_load(n, hf, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "layers.1") != NULL);
    err = (struct kj_err)KJ_ERR_INIT;
    wide.layers = 3;
    kj_llama_free(n);
    CHECK_INT(kj_llama_new(&n, b, &wide, 4, 4, false, NULL), KJ_OK);
    CHECK_INT(kj_hf_load(n, hf, &err), KJ_FAIL);
    CHECK(strstr(err.msg, "missing") != NULL);
    kj_llama_free(n);

    /* Two files with an index read as one. */
    kj_llama_free(m);
    char one[128];
    snprintf(one, sizeof one, "%s/hf/model-00001-of-00001.safetensors", dir);
    CHECK_INT(rename(in("hf/model.safetensors"), one), 0);
    put("hf/model.safetensors.index.json",
        "{\"metadata\":{\"total_size\":1},\"weight_map\":{\"model.norm.weight\":"
        "\"model-00001-of-00001.safetensors\",\"lm_head.weight\":"
        "\"model-00001-of-00001.safetensors\"}}");
    err = (struct kj_err)KJ_ERR_INIT;
    CHECK_INT(kj_llama_new(&m, b, &s, 4, 4, false, NULL), KJ_OK);
    CHECK_INT(kj_hf_load(m, hf, &err), KJ_OK);
    put("hf/model.safetensors.index.json",
        "{\"weight_map\":{\"model.norm.weight\":\"../x.safetensors\"}}");
    CHECK_INT(kj_hf_load(m, hf, &err), KJ_FAIL);
    kj_llama_free(m);
    kj_backend_close(b);
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/kijil-files-XXXXXX");
    if (!mkdtemp(dir))
        return 1;
    run_files();
    stages();
    schedules();
    plans();
    headers();
    round_trip();
    halves();
    folders();
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    if (system(cmd) != 0)
        printf("could not remove %s\n", dir);
    return test_end();
}
