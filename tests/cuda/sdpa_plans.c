/* sdpa_plans.c - does cuDNN still take our graphs of attention? Makes the plans
 * of the shapes in use for an H100, without one (attn_cudnn.h), and holds their
 * scratch memory to what packed documents may cost. sdpa_plans.sh runs it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "nn/cuda/attn_cudnn.h"

static const char h100[] =
    "{\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],"
    "\"regsPerBlock\":65536,\"multiProcessorCount\":132,\"warpSize\":32,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,"
    "\"maxCtasPerSM\":32,\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,"
    "\"pciDeviceId\":0,\"isTccDriver\":0,\"supportCoopLaunch\":1,"
    "\"totalGlobalMem\":85520809984,\"deviceName\":\"NVIDIA H100 80GB HBM3\","
    "\"smClockRateKHz\":1980000,\"memClockRateKHz\":2619000,"
    "\"l2CacheSize\":52428800,\"cudaDeviceId\":0,\"deviceVer\":900,"
    "\"driverVer\":13000,\"pciDomainId\":0,\"pciBusId\":0,"
    "\"name\":\"NVIDIA H100 80GB HBM3\"}";

/* q, kv, o ...: as in the trainer (one fused row of q, k, v) and the encoders */
#define FUSED(hq, hk, d) ((hq) + 2 * (hk)) * (d)
#define SHAPE(segs_, longest_, hq, hk, d, full_, train_)                               \
    {                                                                                  \
        .segs = segs_, .longest = longest_, .heads = hq, .kv_heads = hk, .dim = d,     \
        .q = FUSED(hq, hk, d), .kv = FUSED(hq, hk, d), .o = (hq) * (d),                \
        .dq = FUSED(hq, hk, d), .dkv = FUSED(hq, hk, d), .full = full_,                \
        .train = train_                                                                \
    }

static const struct {
    const char *name;
    struct kj_sdpa_shape s;
} cases[] = {
    {"Nano 24/8 heads, 4096", SHAPE(16, 4096, 24, 8, 128, false, true)},
    {"Nano 24/8 heads, 8192, 64 documents", SHAPE(64, 8192, 24, 8, 128, false, true)},
    {"8B 32/8 heads, 8192, 64 documents", SHAPE(64, 8192, 32, 8, 128, false, true)},
    {"Qwen2.5 1.5B 12/2 heads, 1024", SHAPE(64, 1024, 12, 2, 128, false, true)},
    {"equal heads of 64, 1024", SHAPE(16, 1024, 12, 12, 64, false, true)},
    {"BERT base, 256 x 512", SHAPE(256, 512, 12, 12, 64, true, false)},
    {"XLM-R large, 256 x 512", SHAPE(256, 512, 16, 16, 64, true, false)},
    {"BERT base, short texts", SHAPE(1024, 128, 12, 12, 64, true, false)},
};

int main(void)
{
    struct kj_err err = KJ_ERR_INIT;
    struct kj_cudnn *c;
    char text[1024];
    int failed = 0;
    if (kj_cudnn_open(&c, NULL, h100, &err) != KJ_OK) {
        fprintf(stderr, "sdpa_plans: %s\n", kj_err_text(&err, text, sizeof text));
        return 1;
    }
    printf("cuDNN %lld\n", (long long)kj_cudnn_version(c));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct kj_sdpa_shape *s = &cases[i].s;
        struct kj_sdpa *p;
        kj_err_reset(&err);
        if (kj_sdpa_new(&p, c, s, &err) != KJ_OK) {
            printf("FAIL %s: %s\n", cases[i].name,
                   kj_err_text(&err, text, sizeof text));
            failed++;
            continue;
        }
        /* beside what grows with tokens, workspaces must stay small: cuDNN's own
         * choice would hold whole squares or heads for segs x longest tokens */
        size_t forward = kj_sdpa_scratch(p, 0, false);
        size_t back = s->train ? kj_sdpa_scratch(p, 0, true) : 0;
        bool good = forward < 1 << 20 && back < 1 << 20;
        printf("%s %s: workspace %zu and %zu bytes\n", good ? "good" : "FAIL",
               cases[i].name, forward, back);
        failed += !good;
        kj_sdpa_free(p);
    }
    kj_cudnn_close(c);
    return failed ? 1 : 0;
}
