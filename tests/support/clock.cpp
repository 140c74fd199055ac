// A clock of the day that can be set, for processes that load this before libc (LD_PRELOAD): the file TEST_CLOCK holds
// by how many seconds it is ahead, as a 64-bit integer. Other clocks, which nobody sets, are as they are.
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static const volatile int64_t none = 0;
static const volatile int64_t *ahead = &none;

__attribute__((constructor)) static void begin() {
    const char *name = getenv("TEST_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED) ahead = static_cast<const volatile int64_t *>(mapped);
}

static bool of_day(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

// The same moment by the kernel's clock: what is waited for is a time of the day, or so short that it is of another clock.
static timespec real(const timespec *until) {
    timespec found = *until;
    if (found.tv_sec > 1000000000) found.tv_sec -= *ahead;
    return found;
}

template <typename Function> static Function next(const char *name, const char *version = nullptr) {
    return reinterpret_cast<Function>(version ? dlvsym(RTLD_NEXT, name, version) : dlsym(RTLD_NEXT, name));
}

extern "C" {

int clock_gettime(clockid_t clock, timespec *now) noexcept {
    int code = static_cast<int>(syscall(SYS_clock_gettime, clock, now));
    if (code == 0 && of_day(clock)) now->tv_sec += *ahead;
    return code;
}

int gettimeofday(timeval *__restrict now, void *__restrict) noexcept {
    timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    *now = {found.tv_sec, found.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *now) noexcept {
    timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *__restrict condition, pthread_mutex_t *__restrict mutex,
                           const timespec *__restrict until) {
    static auto wait = next<decltype(&pthread_cond_timedwait)>("pthread_cond_timedwait", "GLIBC_2.3.2");
    timespec moment = real(until);
    return wait(condition, mutex, &moment);
}

int sem_timedwait(sem_t *__restrict semaphore, const timespec *__restrict until) {
    static auto wait = next<decltype(&sem_timedwait)>("sem_timedwait");
    timespec moment = real(until);
    return wait(semaphore, &moment);
}
}
