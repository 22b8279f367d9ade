/* A pool of threads that take the shares of a job.
 *
 * The caller works as well, and takes whatever share nobody has begun: a thread that the system does not let run is not
 * waited for, so that a second thread never makes a call slower than one, however busy the machine. What a share computes
 * does not depend on who takes it. Workers look for the next job for some 50 microseconds, the time between two parts
 * of one call, and then sleep. One job runs at a time; a caller that finds the pool taken does its shares alone.
 */
#ifndef RNNCORE_SHARES_H
#define RNNCORE_SHARES_H

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>

#include "float_state.h"

#define MAX_WORKERS 63
#define SPINS 2000

typedef void (*share_task)(void *job, int share);

static struct {
    pthread_mutex_t caller;     /* held by the caller whose job runs */
    pthread_mutex_t sleep;      /* guards `asleep` against a lost wake-up */
    pthread_cond_t wake;
    int asleep;
    int workers;
    int cpu;                    /* where the caller runs, -1 if that is not known */
    /* The job at hand: written only while all its shares are taken. A worker may read these four while they change, but
     * its ticket is an old one by then, and it takes nothing: relaxed, for the ticket orders them. */
    _Atomic(share_task) task;
    _Atomic(void *) job;
    atomic_int shares;
    _Atomic uint64_t arithmetic; /* the caller's, which its shares are computed with, whoever takes them */
    _Atomic uint64_t ticket;    /* the job's number in the high half, its next free share in the low one */
    atomic_int done;
} pool = {.caller = PTHREAD_MUTEX_INITIALIZER, .sleep = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static inline void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Take shares of the job with this number until none is free. A ticket that still bears the number when a share is taken
 * vouches for task, job and the rest, which were read before: they change only once all shares of their job are taken. */
static void take_shares(uint32_t number)
{
    uint64_t ticket = atomic_load(&pool.ticket);
    while ((uint32_t)(ticket >> 32) == number) {
        const share_task task = atomic_load_explicit(&pool.task, memory_order_relaxed);
        void *job = atomic_load_explicit(&pool.job, memory_order_relaxed);
        const uint64_t arithmetic = atomic_load_explicit(&pool.arithmetic, memory_order_relaxed);
        const int share = (int)(uint32_t)ticket;
        if (share >= atomic_load_explicit(&pool.shares, memory_order_relaxed))
            return;
        if (atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket + 1)) {
            compute_with(arithmetic_of(arithmetic));
            task(job, share);
            atomic_fetch_add(&pool.done, 1);
            ticket = atomic_load(&pool.ticket);
        }
    }
}

/* Systems wake a thread where its waker runs, idle processors or not; there it would take the caller's time. */
static void leave_processor(int cpu)
{
#if defined(__linux__) && defined(CPU_COUNT)
    cpu_set_t allowed, others;
    if (sched_getcpu() != cpu || sched_getaffinity(0, sizeof allowed, &allowed))
        return;
    others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others))
        sched_setaffinity(0, sizeof allowed, &allowed);
#else
    (void)cpu;
#endif
}

static inline int current_processor(void)
{
#if defined(__linux__) && defined(CPU_COUNT)
    return sched_getcpu();
#else
    return -1;
#endif
}

static inline uint32_t job_number(void) { return (uint32_t)(atomic_load(&pool.ticket) >> 32); }

static void *work(void *seen_)
{
    uint32_t seen = (uint32_t)(uintptr_t)seen_;
    for (;;) {
        for (int spin = 0; spin < SPINS && job_number() == seen; spin++)
            pause_briefly();
        if (job_number() == seen) {
            pthread_mutex_lock(&pool.sleep);
            pool.asleep++;
            while (job_number() == seen)
                pthread_cond_wait(&pool.wake, &pool.sleep);
            const int cpu = pool.cpu;
            pthread_mutex_unlock(&pool.sleep);
            leave_processor(cpu);
        }
        seen = job_number();
        take_shares(seen);
    }
    return NULL;
}

/* In a forked child there are no workers, and a mutex may have been held by a thread that is not there. */
static void forget_workers(void)
{
    pthread_mutex_init(&pool.caller, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pool.asleep = pool.workers = 0;
}

static void start_workers(int wanted)
{
    static int registered = 0;
    if (!registered)
        registered = !pthread_atfork(NULL, NULL, forget_workers);
    if (pool.workers >= wanted)
        return;
    /* A worker begins with its maker's mask. It takes no signal, so that what the program's threads block stays blocked;
     * those of its own faults cannot be. */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGSEGV), sigdelset(&all, SIGBUS), sigdelset(&all, SIGFPE), sigdelset(&all, SIGILL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool.workers < wanted && pool.workers < MAX_WORKERS) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, (void *)(uintptr_t)job_number()))
            break;
        pthread_detach(thread);
        pool.workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void share_out(int shares, share_task task, void *job)
{
    if (shares == 1 || pthread_mutex_trylock(&pool.caller)) {
        for (int share = 0; share < shares; share++)
            task(job, share);
        return;
    }
    start_workers(shares - 1);
    const uint32_t number = job_number() + 1;
    atomic_store_explicit(&pool.task, task, memory_order_relaxed);
    atomic_store_explicit(&pool.job, job, memory_order_relaxed);
    atomic_store_explicit(&pool.shares, shares, memory_order_relaxed);
    atomic_store_explicit(&pool.arithmetic, arithmetic_bits(read_float_state()), memory_order_relaxed);
    atomic_store(&pool.done, 0);
    atomic_store(&pool.ticket, (uint64_t)number << 32);
    pthread_mutex_lock(&pool.sleep);
    if (pool.asleep) {
        pool.cpu = current_processor();
        pthread_cond_broadcast(&pool.wake);
        pool.asleep = 0; /* asked once they come: asking costs a system call */
    }
    pthread_mutex_unlock(&pool.sleep);
    take_shares(number);
    for (int spin = 0; atomic_load(&pool.done) < shares; spin++) {
        if (spin < SPINS)
            pause_briefly();
        else
            sched_yield();
    }
    pthread_mutex_unlock(&pool.caller);
}

#else /* no POSIX threads: one share after the other */

static void share_out(int shares, void (*task)(void *job, int share), void *job)
{
    for (int share = 0; share < shares; share++)
        task(job, share);
}

#endif
#endif
