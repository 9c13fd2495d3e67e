/* patience.cu - calls of libraries that should end soon and may not.
 *
 * A thread that waits inside of a driver cannot be freed by another: once it will never
 * return, the process is all that can end. Whether it may is for the program to say
 * (kj_backend.stuck).
 */
#include "nn/cuda/cuda.cuh"

#include <pthread.h>
#include <time.h>

struct patience {
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool over;
    struct timespec until;
    void (*stuck)(const char *why);
    const char *why;
};

static void *wait_for(void *arg)
{
    struct patience *p = (struct patience *)arg;
    pthread_mutex_lock(&p->lock);
    while (!p->over && pthread_cond_timedwait(&p->change, &p->lock, &p->until) == 0)
        ;
    if (!p->over)
        p->stuck(p->why);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

void kj_cuda_patient(struct kj_backend *b, int seconds, const char *why,
                     void (*call)(void *), void *arg)
{
    struct patience p = {};
    pthread_t thread;
    p.stuck = b->stuck;
    p.why = why;
    clock_gettime(CLOCK_REALTIME, &p.until);
    p.until.tv_sec += seconds;
    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.change, NULL);
    bool watched = p.stuck && pthread_create(&thread, NULL, wait_for, &p) == 0;
    call(arg);
    pthread_mutex_lock(&p.lock);
    p.over = true;
    pthread_cond_signal(&p.change);
    pthread_mutex_unlock(&p.lock);
    if (watched)
        pthread_join(thread, NULL);
    pthread_cond_destroy(&p.change);
    pthread_mutex_destroy(&p.lock);
}
