/* spike.c - outliers among steps. */
#include "trainer/spike.h"

#include <math.h>

static bool outlier(const double *v, int64_t n, double sigma, double x)
{
    double mean = 0, var = 0;
    for (int64_t i = 0; i < n; i++)
        mean += v[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        var += (v[i] - mean) * (v[i] - mean) / (double)(n - 1);
    return x - mean > sigma * sqrt(var);
}

bool kj_spike_step(struct kj_spike *s, double sigma, double loss, double norm)
{
    int64_t n = s->n < KJ_SPIKE_STEPS ? s->n : KJ_SPIKE_STEPS;
    bool out = n >= KJ_SPIKE_STEPS / 2 &&
               (outlier(s->loss, n, sigma, loss) || outlier(s->norm, n, sigma, norm));
    s->loss[s->n % KJ_SPIKE_STEPS] = loss;
    s->norm[s->n % KJ_SPIKE_STEPS] = norm;
    s->n++;
    return out;
}
