/* The one place where threads are started: share k of a job for each k, under OpenMP where the compiler has
 * it. */
#ifndef RNNCORE_SHARES_H
#define RNNCORE_SHARES_H

static inline void run_shares(int shares, void (*task)(void *job, int share), void *job)
{
    if (shares == 1) {
        task(job, 0);
        return;
    }
#ifdef _OPENMP
#pragma omp parallel for num_threads(shares) schedule(static, 1)
#endif
    for (int k = 0; k < shares; k++)
        task(job, k);
}

#endif
