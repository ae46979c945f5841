/* A program that knows nothing of the shim. It asks about a connection that was reset, one with
 * data and a quiet one, by every call there is, and prints the answers. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) ((what) ? (void)0 : (perror(#what), exit(2)))

static void connection(int ends[2]) {
    struct sockaddr_in address = {0};
    socklen_t size = sizeof address;
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(bind(listener, (struct sockaddr *)&address, size) == 0);
    CHECK(listen(listener, 1) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(ends[0], (struct sockaddr *)&address, size) == 0);
    ends[1] = accept(listener, NULL, NULL);
    CHECK(ends[1] >= 0);
    close(listener);
}

static void print_poll(const char *name, int n, const struct pollfd *fds, int count) {
    printf("%s: %d%s%s", name, n, n < 0 ? " " : "", n < 0 ? strerror(errno) : "");
    for (int i = 0; i < count; i++) {
        printf(" %#x", (unsigned)fds[i].revents);
    }
    puts("");
}

static void print_select(const char *name, int n, fd_set sets[3], int nfds) {
    printf("%s: %d%s%s", name, n, n < 0 ? " " : "", n < 0 ? strerror(errno) : "");
    for (int i = 0; i < 3; i++) {
        for (int fd = 0; fd < nfds; fd++) {
            if (FD_ISSET(fd, &sets[i])) {
                printf(" %c%d", "rwe"[i], fd);
            }
        }
    }
    puts("");
}

static volatile int silent;
static const char *const waits[] = {"poll", "poll with a time", "ppoll", "select", "pselect"};

/* Waits until it is cancelled. */
static void *wait_in(void *name) {
    struct pollfd fd = {silent, POLLIN, 0};
    const struct timespec limit = {60, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(silent, &set);
    if (name == waits[0]) poll(&fd, 1, -1);
    if (name == waits[1]) poll(&fd, 1, 60000);
    if (name == waits[2]) ppoll(&fd, 1, &limit, NULL);
    if (name == waits[3]) select(silent + 1, &set, NULL, NULL, NULL);
    if (name == waits[4]) pselect(silent + 1, &set, NULL, NULL, &limit, NULL);
    return NULL;
}

int main(int argc, char **argv) {
    (void)argv;
    int lost[2], full[2], quiet[2];
    alarm(300);
    const struct linger at_once = {1, 0};
    connection(lost);
    connection(full);
    connection(quiet);
    CHECK(send(lost[1], "!", 1, MSG_OOB) == 1);
    CHECK(setsockopt(lost[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(lost[1]);
    CHECK(write(full[1], "data", 4) == 4);
    /* Until it has all come. */
    char data[4];
    CHECK(recv(full[0], data, 4, MSG_PEEK | MSG_WAITALL) == 4);
    for (unsigned char state = 0; state != TCP_CLOSE; usleep(1000)) {
        socklen_t one = 1;
        CHECK(getsockopt(lost[0], IPPROTO_TCP, TCP_INFO, &state, &one) == 0);
    }

    /* How many the compiler cannot know, so the fortified functions are called. */
    const nfds_t count = (nfds_t)(argc + 2);
    struct pollfd fds[3];
    const short questions[] = {POLLIN, POLLIN | POLLPRI | POLLOUT, 0};
    for (int i = 0; i < 3; i++) {
        for (int k = 0; k < 3; k++) {
            fds[k] = (struct pollfd){k == 0 ? lost[0] : k == 1 ? full[0] : quiet[0], questions[i], 7};
        }
        print_poll("poll", poll(fds, count, 2000), fds, 3);
        struct timespec limit = {2, 0};
        print_poll("ppoll", ppoll(fds, count, &limit, NULL), fds, 3);
    }
    fds[0].fd = fds[1].fd = -1;
    print_poll("poll of a quiet one", poll(fds, count, 10), fds, 3);

    const int nfds = quiet[1] + 1;
    fd_set sets[3];
    for (int i = 0; i < 8; i++) {
        for (int k = 0; k < 3; k++) {
            FD_ZERO(&sets[k]);
            if (i & 1) FD_SET(lost[0], &sets[k]);
            if (i & 2) FD_SET(full[0], &sets[k]);
            if (i & 4) FD_SET(quiet[0], &sets[k]);
        }
        fd_set others[3];
        memcpy(others, sets, sizeof sets);
        struct timeval time = {0, 10000};
        const struct timespec limit = {0, 10000000};
        print_select("select", select(nfds, &sets[0], &sets[1], &sets[2], &time), sets, nfds);
        /* Of a time that is up nothing is left. */
        const long most = i == 0 ? 0 : 10000;
        printf("%s left\n", time.tv_sec == 0 && time.tv_usec <= most ? "not more" : "more");
        print_select("pselect", pselect(nfds, &others[0], &others[1], &others[2], &limit, NULL), others, nfds);
    }
    /* Errors of the call are the program's to see. */
    struct timespec wrong = {0, -5};
    print_poll("ppoll with a wrong time", ppoll(fds, 1, &wrong, NULL), fds, 0);
    print_select("select with a wrong count", select(-1, NULL, NULL, NULL, NULL), sets, 0);
    /* More than the process may have are refused without a look at them. */
    struct rlimit most;
    CHECK(getrlimit(RLIMIT_NOFILE, &most) == 0);
    struct rlimit few = most;
    few.rlim_cur = 100;
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    struct pollfd *volatile hidden = calloc(101, sizeof *hidden); /* its size, from the compiler */
    struct pollfd *const many = hidden;
    many[100].revents = 7;
    const nfds_t too_many = (nfds_t)(argc + 100), absurd = (nfds_t)argc * 2000000000;
    print_poll("poll of too many", poll(many, too_many, 0), &many[100], 1);
    print_poll("ppoll of too many", ppoll(many, absurd, NULL, NULL), &many[100], 1);
    CHECK(setrlimit(RLIMIT_NOFILE, &most) == 0);
    free(many);
#ifdef __x86_64__ /* the others run under qemu, which itself has only an fd_set for them */
    /* Linux takes larger sets than an fd_set. */
    fd_set large[2];
    struct timeval now = {0, 0};
    memset(large, 0, sizeof large);
    FD_SET(full[0], &large[0]);
    FD_SET(quiet[1], &large[0]);
    print_select("select of large sets", select(2000, &large[0], NULL, NULL, &now), large, 0);
    printf("of them %d is full, %d quiet\n", FD_ISSET(full[0], &large[0]) != 0, FD_ISSET(quiet[1], &large[0]) != 0);
#endif
    /* What claims more room than there is ends. */
    for (int i = 0; i < 3; i++) {
        int status;
        const pid_t child = fork();
        if (child == 0) {
            const struct rlimit none = {0, 0};
            struct pollfd two[2] = {{-1, 0, 0}, {-1, 0, 0}};
            const struct timespec at_once = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            close(2);
            if (i == 0) poll(two, (nfds_t)(argc + 2), 0);
            if (i == 1) ppoll(two, (nfds_t)(argc + 2), &at_once, NULL);
            if (i == 2) FD_SET(argc + 1023, &sets[0]);
            _exit(0);
        }
        CHECK(child > 0 && waitpid(child, &status, 0) == child);
        printf("too much: %s\n", WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? "aborted" : "let through");
    }
    /* Each wait ends with its thread. */
    silent = quiet[0];
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++) {
        pthread_t thread;
        void *end = NULL;
        CHECK(pthread_create(&thread, NULL, wait_in, (void *)waits[i]) == 0);
        usleep(20000);
        CHECK(pthread_cancel(thread) == 0 && pthread_join(thread, &end) == 0);
        printf("%s was %scancelled\n", waits[i], end == PTHREAD_CANCELED ? "" : "not ");
    }
    close(quiet[0]);
    FD_ZERO(&sets[0]);
    FD_SET(quiet[0], &sets[0]);
    print_select("select of a closed one", select(nfds, &sets[0], NULL, NULL, NULL), sets, 0);
    return 0;
}
