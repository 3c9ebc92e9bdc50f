/* Clocks of one process that jump on demand: preloaded, it adds to what clock_gettime(3) says, and takes that
   away again where a thread waits for such a time.

   The file that JTUNNEL_TEST_CLOCK names holds three numbers of 64 bits, in nanoseconds: what to add to the
   clocks that count sleep, to those that do not, and to the wall clock. They may change at any time. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

static const volatile int64_t *shifts;

__attribute__((constructor)) static void find(void)
{
    const char *path = getenv("JTUNNEL_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, 3 * sizeof *shifts, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        shifts = mapped;
}

static int64_t shift(clockid_t clock)
{
    if (!shifts)
        return 0;
    switch (clock) {
    case CLOCK_BOOTTIME:
    case CLOCK_BOOTTIME_ALARM:
        return shifts[0];
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
        return shifts[1];
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return shifts[2];
    default:
        return 0;
    }
}

static struct timespec add(const struct timespec *time, int64_t nanoseconds)
{
    int64_t whole = time->tv_sec * SECOND + time->tv_nsec + nanoseconds;
    return (struct timespec){.tv_sec = whole / SECOND, .tv_nsec = whole % SECOND};
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (result == 0)
        *time = add(time, shift(clock));
    return result;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left)
{
    int (*real)(clockid_t, int, const struct timespec *, struct timespec *) =
        dlsym(RTLD_NEXT, "clock_nanosleep");
    struct timespec shown = add(until, flags & TIMER_ABSTIME ? -shift(clock) : 0);
    return real(clock, flags, &shown, left);
}

int sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until)
{
    int (*real)(sem_t *, clockid_t, const struct timespec *) = dlsym(RTLD_NEXT, "sem_clockwait");
    struct timespec shown = add(until, -shift(clock));
    return real(semaphore, clock, &shown);
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    (void)zone;
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return result;
}
