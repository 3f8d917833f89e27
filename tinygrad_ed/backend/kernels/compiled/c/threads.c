/* The threads. Pieces of the work are taken by number, so what a piece computes does not depend on who computes it.

   The caller works too, and never waits for a thread that has not begun: on a busy machine it does everything itself. One call at a time has the
   threads; calls from other Python threads meanwhile run on their own. A thread that has nothing to do looks out for work for some 50 µs, because
   to wake it takes about as long as a small kernel, and then sleeps, so it takes no time from NumPy's own threads (BLAS). After a fork, which
   copies no threads, the child starts its own at its first need. The threads never touch Python, and end with the process.

   OpenBLAS can be told to run its jobs on threads like these. Tried and left: at best it gained nothing, and on a busy machine it took several
   times as long, since the jobs of a product wait for one another. */
#include "threads.h"

#ifdef _WIN32

void threads_set(int n) { (void)n; }
int threads_count(void) { return 1; }
void parallel_for(kernel_call call, const union arg *args, idx n, idx piece) {
    for (idx i = 0; i < n; i += piece) call(i, least(i + piece, n), args);
}

#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#define PATIENCE 50000                  /* nanoseconds for which an idle thread looks out for work */

static struct {
    pthread_mutex_t lock;               /* over what follows up to `working` */
    pthread_cond_t work, done;
    int wanted, started;                /* threads besides the caller */
    bool open;                          /* whether a thread may join the work; also read without the lock */
    int working;                        /* threads that have joined; also read without the lock */

    kernel_call call;                   /* the work; written only while nobody has joined */
    const union arg *args;
    idx n, piece;
    idx next;                           /* the first element that nobody has taken; atomic */
    bool taken;                         /* whether a caller has the threads; atomic */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};

/* Let the processor's other thread, and then other processes, go first. */
static inline void breathe(int round) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
    if (round % 32 == 31) sched_yield();
}

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Take pieces until there are none. */
static void help(void) {
    idx i;
    while ((i = __atomic_fetch_add(&pool.next, pool.piece, __ATOMIC_RELAXED)) < pool.n)
        pool.call(i, least(i + pool.piece, pool.n), pool.args);
}

static void *worker(void *number) {
    int me = (int)(intptr_t)number;
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        if (!pool.open) {
            pthread_mutex_unlock(&pool.lock);
            int64_t until = nanoseconds() + PATIENCE;
            for (int round = 0; !__atomic_load_n(&pool.open, __ATOMIC_RELAXED) && (round % 32 || nanoseconds() < until); round++) breathe(round);
            pthread_mutex_lock(&pool.lock);
        }
        while (!pool.open || me >= pool.wanted) pthread_cond_wait(&pool.work, &pool.lock);
        __atomic_store_n(&pool.working, pool.working + 1, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&pool.lock);
        help();
        pthread_mutex_lock(&pool.lock);
        __atomic_store_n(&pool.open, false, __ATOMIC_RELAXED);          /* all pieces are taken */
        __atomic_store_n(&pool.working, pool.working - 1, __ATOMIC_RELEASE);
        if (pool.working == 0) pthread_cond_signal(&pool.done);
    }
    return NULL;
}

static void after_fork_in_child(void) {
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.started = pool.working = 0;
    pool.open = pool.taken = false;
}

/* Start the threads that are missing; a system that has no more gives fewer. The lock is held. */
static void start(void) {
    static bool prepared = false;
    if (!prepared) pthread_atfork(NULL, NULL, after_fork_in_child);
    prepared = true;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);        /* signals are Python's */
    for (; pool.started < pool.wanted; pool.started++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, worker, (void *)(intptr_t)pool.started)) break;
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Let the threads join. The caller has taken the pool. */
static void begin(kernel_call call, const union arg *args, idx n, idx piece) {
    pthread_mutex_lock(&pool.lock);
    if (pool.started < pool.wanted) start();
    pool.call = call, pool.args = args, pool.n = n, pool.piece = piece, pool.next = 0;
    __atomic_store_n(&pool.open, true, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.lock);
}

/* Let no more threads join, wait for those that have, and make the pool free. */
static void finish(void) {
    pthread_mutex_lock(&pool.lock);
    __atomic_store_n(&pool.open, false, __ATOMIC_RELAXED);
    if (pool.working) {
        pthread_mutex_unlock(&pool.lock);
        int64_t until = nanoseconds() + PATIENCE;
        for (int round = 0; __atomic_load_n(&pool.working, __ATOMIC_ACQUIRE) && (round % 32 || nanoseconds() < until); round++) breathe(round);
        pthread_mutex_lock(&pool.lock);
    }
    while (pool.working) pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    __atomic_store_n(&pool.taken, false, __ATOMIC_RELEASE);
}

void threads_set(int n) {
    pthread_mutex_lock(&pool.lock);
    pool.wanted = n - 1;
    pthread_mutex_unlock(&pool.lock);
}

int threads_count(void) { return pool.wanted + 1; }

void parallel_for(kernel_call call, const union arg *args, idx n, idx piece) {
    if (n <= piece || pool.wanted == 0 || __atomic_exchange_n(&pool.taken, true, __ATOMIC_ACQUIRE)) {
        for (idx i = 0; i < n; i += piece) call(i, least(i + piece, n), args);
        return;
    }
    begin(call, args, n, piece);
    help();
    finish();
}

#endif
