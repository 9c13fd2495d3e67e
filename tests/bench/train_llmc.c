/* train_llmc.c SHAPE... - steps of llm.c's CPU trainer on a fresh GPT-2 of a given
 * shape; CPU and wall seconds a step (medians) on standard output. Compiled by
 * train.sh against a checkout of llm.c, whose train_gpt2.c it includes. */
#define TESTING
#include LLMC

static double clock_of(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* A checkpoint of small weights, in llm.c's own format. */
static void write_model(const char *path, int T, int V, int L, int NH, int C)
{
    int header[256] = {20240326, 3, T, V, L, NH, C, (V + 127) / 128 * 128};
    GPT2Config c = {.max_seq_len = T,
                    .vocab_size = V,
                    .num_layers = L,
                    .num_heads = NH,
                    .channels = C,
                    .padded_vocab_size = header[7]};
    size_t size[NUM_PARAMETER_TENSORS];
    uint64_t rng = 1;
    FILE *f = fopenCheck(path, "wb");
    fwrite(header, sizeof(int), 256, f);
    fill_in_parameter_sizes(size, c);
    for (int i = 0; i < NUM_PARAMETER_TENSORS; i++)
        for (size_t k = 0; k < size[i]; k++) {
            rng = rng * 6364136223846793005u + 1442695040888963407u;
            float x = 0.02f * ((float)(rng >> 40) / 8388608.0f - 1.0f);
            fwrite(&x, sizeof x, 1, f);
        }
    fcloseCheck(f);
}

int main(int argc, char **argv)
{
    if (argc != 9) {
        fprintf(stderr, "usage: %s FILE V L HEADS C B T STEPS\n", argv[0]);
        return 2;
    }
    int v[9];
    for (int i = 2; i < 9; i++)
        v[i] = (int)strtol(argv[i], NULL, 10);
    int V = v[2], B = v[6], T = v[7], steps = v[8];
    GPT2 m;
    write_model(argv[1], T, V, v[3], v[4], v[5]);
    gpt2_build_from_checkpoint(&m, argv[1]);
    int *x = mallocCheck((size_t)B * T * sizeof *x),
        *y = mallocCheck((size_t)B * T * sizeof *y);
    double *cpu = mallocCheck(steps * sizeof *cpu),
           *wall = mallocCheck(steps * sizeof *wall);
    uint64_t rng = 7;
    for (int s = -1; s < steps; s++) { /* the first one allocates */
        for (int i = 0; i < B * T; i++) {
            rng = rng * 6364136223846793005u + 1442695040888963407u;
            x[i] = (int)((rng >> 33) % (uint64_t)V);
            y[i] = (x[i] + 1) % V;
        }
        double c0 = clock_of(CLOCK_PROCESS_CPUTIME_ID), w0 = clock_of(CLOCK_MONOTONIC);
        gpt2_forward(&m, x, y, B, T);
        gpt2_zero_grad(&m);
        gpt2_backward(&m);
        gpt2_update(&m, 1e-4f, 0.9f, 0.95f, 1e-8f, 0.1f, s + 2);
        if (s >= 0) {
            cpu[s] = clock_of(CLOCK_PROCESS_CPUTIME_ID) - c0;
            wall[s] = clock_of(CLOCK_MONOTONIC) - w0;
        }
    }
    qsort(cpu, steps, sizeof *cpu, rising);
    qsort(wall, steps, sizeof *wall, rising);
    printf("result %.5f %.5f\n", cpu[steps / 2], wall[steps / 2]);
    gpt2_free(&m);
    return 0;
}
