/* A system whose poll and select fail for the pending error of one socket, as the console's do. To
 * be preloaded behind the shim. HSW_QUIRK=filled: the answers are filled in all the same.
 *
 * The error is always ECONNRESET: to ask SO_ERROR would take it away. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int failures;

static void report(void) __attribute__((destructor));
static void report(void) {
    const char *name = getenv("HSW_QUIRK_LOG");
    FILE *file = name ? fopen(name, "a") : NULL;
    if (file) {
        fprintf(file, "%d failed\n", failures);
        fclose(file);
    }
}

static int filled(void) {
    const char *quirk = getenv("HSW_QUIRK");
    return quirk && !strcmp(quirk, "filled");
}

/* A system call in which the thread may be cancelled, as in the C library's own. */
static long wait_in(long number, long a, long b, long c, long d, long e, long f) {
    int before, now;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &before);
    const long n = syscall(number, a, b, c, d, e, f);
    pthread_setcanceltype(before, &now);
    return n;
}

static int plain_poll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    struct timespec copy = timeout ? *timeout : (struct timespec){0, 0};
    return (int)wait_in(SYS_ppoll, (long)fds, (long)count, timeout ? (long)&copy : 0, (long)mask, 8, 0);
}

/* Has this socket an error pending? */
static int broken(int fd) {
    struct pollfd one = {fd, 0, 0};
    struct timespec now = {0, 0};
    int kind = 0;
    socklen_t size = sizeof kind;
    return plain_poll(&one, 1, &now, NULL) == 1 && (one.revents & POLLERR) &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0;
}

static int fail(void) {
    failures++;
    errno = ECONNRESET;
    return -1;
}

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    struct rlimit most;
    if (getrlimit(RLIMIT_NOFILE, &most) == 0 && count > most.rlim_cur) {
        errno = EINVAL;
        return -1;
    }
    struct pollfd *answer = malloc((count + 1) * sizeof *answer);
    const struct timespec now = {0, 0};
    int error = 0;
    memcpy(answer, fds, count * sizeof *answer);
    for (nfds_t i = 0; i < count; i++) {
        error |= fds[i].fd >= 0 && broken(fds[i].fd);
    }
    /* It does not wait if there is an error already. */
    const int n = plain_poll(answer, count, error ? &now : timeout, mask);
    const int why = errno;
    for (nfds_t i = 0; i < count && n >= 0; i++) {
        error |= fds[i].fd >= 0 && broken(fds[i].fd);
    }
    if (n >= 0 && (!error || filled())) {
        memcpy(fds, answer, count * sizeof *answer);
    }
    free(answer);
    errno = why;
    return n >= 0 && error ? fail() : n;
}

int poll(struct pollfd *fds, nfds_t count, int timeout_ms) {
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    return ppoll(fds, count, timeout_ms < 0 ? NULL : &timeout, NULL);
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t bytes) {
    (void)bytes;
    return poll(fds, count, timeout_ms);
}

int pselect(int nfds, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout, const sigset_t *mask) {
    fd_set *const given[3] = {read, write, except};
    fd_set sets[3];
    struct timespec copy = timeout ? *timeout : (struct timespec){0, 0};
    const struct { const sigset_t *mask; size_t size; } with = {mask, 8};
    int error = 0;
    for (int i = 0; i < 3; i++) {
        if (given[i]) {
            sets[i] = *given[i];
        }
        for (int fd = 0; fd < nfds && given[i]; fd++) {
            error |= FD_ISSET(fd, given[i]) && broken(fd);
        }
    }
    if (error) {
        copy = (struct timespec){0, 0};
    }
    const int n = (int)wait_in(SYS_pselect6, nfds, read ? (long)&sets[0] : 0, write ? (long)&sets[1] : 0,
                               except ? (long)&sets[2] : 0, timeout || error ? (long)&copy : 0, (long)&with);
    const int why = errno;
    for (int i = 0; i < 3 && n >= 0; i++) {
        for (int fd = 0; fd < nfds && given[i]; fd++) {
            error |= FD_ISSET(fd, given[i]) && broken(fd);
        }
    }
    for (int i = 0; i < 3 && n >= 0 && (!error || filled()); i++) {
        if (given[i]) {
            *given[i] = sets[i];
        }
    }
    errno = why;
    return n >= 0 && error ? fail() : n;
}

int select(int nfds, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout) {
    struct timespec time = {timeout ? timeout->tv_sec : 0, timeout ? timeout->tv_usec * 1000L : 0};
    return pselect(nfds, read, write, except, timeout ? &time : NULL, NULL);
}
