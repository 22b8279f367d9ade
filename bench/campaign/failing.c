/* Loaded in front of the C library: the n-th call of a kind fails, or is cut short, once it is told so.
 *
 * Memory and threads fail only where rnncore's own modules ask for them; the disk fails for everybody. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { WRITE, SHORT_WRITE, FSYNC, RENAME, READ, MEMORY, THREAD, KINDS };

static atomic_int countdown[KINDS]; /* 0: nothing fails */
static int code;
atomic_int campaign_failed; /* how many did */

void campaign_fail(int kind, int nth, int error)
{
    for (int k = 0; k < KINDS; k++)
        atomic_store(&countdown[k], 0);
    code = error;
    atomic_store(&campaign_failed, 0);
    if (kind >= 0)
        atomic_store(&countdown[kind], nth);
}

static int fails(int kind)
{
    int left = atomic_load(&countdown[kind]);
    while (left > 0)
        if (atomic_compare_exchange_weak(&countdown[kind], &left, left - 1)) {
            if (left == 1)
                atomic_fetch_add(&campaign_failed, 1);
            return left == 1;
        }
    return 0;
}

static int ours(void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "/rnncore/");
}

#define REAL(name)                                                                                \
    static __typeof__(&name) real;                                                               \
    if (!real)                                                                                   \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write)
    if (fd > 2 && fails(WRITE)) {
        errno = code;
        return -1;
    }
    return real(fd, data, fd > 2 && size > 1 && fails(SHORT_WRITE) ? size / 2 : size);
}

ssize_t read(int fd, void *data, size_t size)
{
    REAL(read)
    if (fd > 2 && fails(READ)) {
        errno = code;
        return -1;
    }
    return real(fd, data, size);
}

int fsync(int fd)
{
    REAL(fsync)
    if (fails(FSYNC)) {
        errno = code;
        return -1;
    }
    return real(fd);
}

int rename(const char *from, const char *to)
{
    REAL(rename)
    if (fails(RENAME)) {
        errno = code;
        return -1;
    }
    return real(from, to);
}

#define REFUSED (atomic_load(&countdown[MEMORY]) > 0 && ours(__builtin_return_address(0)) && fails(MEMORY))

int posix_memalign(void **data, size_t alignment, size_t size)
{
    REAL(posix_memalign)
    return REFUSED ? ENOMEM : real(data, alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    REAL(aligned_alloc)
    return REFUSED ? NULL : real(alignment, size);
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);

void *malloc(size_t size) { return REFUSED ? NULL : __libc_malloc(size); }

void *calloc(size_t n, size_t size) { return REFUSED ? NULL : __libc_calloc(n, size); }

void *realloc(void *data, size_t size) { return REFUSED ? NULL : __libc_realloc(data, size); }

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*begin)(void *), void *argument)
{
    REAL(pthread_create)
    if (atomic_load(&countdown[THREAD]) > 0 && ours(__builtin_return_address(0)) && fails(THREAD))
        return EAGAIN;
    return real(thread, how, begin, argument);
}
