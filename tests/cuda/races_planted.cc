/* races_planted.cc - kernels with faults that races.sh has to see: races_planted NAME. */
#include <cuda_runtime.h>

#include <cstdio>

enum { N = 64 };

static float *shared_floats(void)
{
    return reinterpret_cast<float *>(kj_emu_shared());
}

/* Each thread gives its number to one of another warp, or to its neighbour. */
static void k_pass(float *out, unsigned far, bool block_waits, bool warp_waits)
{
    float *sm = shared_floats();
    unsigned t = threadIdx.x;
    sm[t] = (float)t;
    if (block_waits)
        __syncthreads();
    if (warp_waits)
        __syncwarp();
    out[blockIdx.x * blockDim.x + t] = sm[t ^ far];
}

/* A slow thread reads what the others have gone on to overwrite. */
static void k_overtake(float *out)
{
    float *sm = shared_floats();
    unsigned t = threadIdx.x;
    sm[t] = 1.0f;
    __syncthreads();
    out[blockIdx.x * blockDim.x + t] = sm[(t + 33) % N];
    sm[t] = 2.0f;
}

/* Blocks that add to one number. */
static void k_blocks(float *out)
{
    if (threadIdx.x == 0)
        out[0] += 1.0f;
}

static void k_host(float *out, const float *host)
{
    out[blockIdx.x * blockDim.x + threadIdx.x] = host[threadIdx.x];
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    static const float host[N] = {1};
    float *away = new float[N](), *out;
    cudaStream_t s;
    if (cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking) ||
        cudaMalloc((void **)&out, 2 * N * sizeof *out))
        return 2;
    /* Copies that are said to go another way than they do are refused. */
    if (!cudaMemcpyAsync(out, away, 4, cudaMemcpyDeviceToDevice, s) ||
        !cudaMemcpyAsync(away, out, 4, cudaMemcpyHostToDevice, s) ||
        !cudaMemsetAsync(away, 0, 4, s))
        return 3;
    std::function<void()> body;
    if (strcmp(what, "good") == 0)
        body = [=] { k_pass(out, 33, true, false); };
    else if (strcmp(what, "good-warp") == 0)
        body = [=] { k_pass(out, 1, false, true); };
    else if (strcmp(what, "good-constant") == 0)
        body = [=] { k_host(out, host); }; /* as a table of a kernel's own */
    else if (strcmp(what, "no-barrier") == 0)
        body = [=] { k_pass(out, 33, false, true); };
    else if (strcmp(what, "no-warp-barrier") == 0)
        body = [=] { k_pass(out, 1, false, false); };
    else if (strcmp(what, "overtake") == 0)
        body = [=] { k_overtake(out); };
    else if (strcmp(what, "blocks") == 0)
        body = [=] { k_blocks(out); };
    else if (strcmp(what, "host") == 0)
        body = [=] { k_host(out, away); };
    else
        return 2;
    int rc = kj_emu_launch((const void *)k_pass, dim3(2), dim3(N), N * sizeof(float), s,
                           body);
    rc = rc || cudaStreamSynchronize(s) || cudaFree(out) || cudaStreamDestroy(s);
    delete[] away;
    return rc ? 2 : 0;
}
