/* The host's side of a console program: the functions hardswitch asks of a system without std, and main. */
#include <stdio.h>
#include <stdlib.h>

static __thread void *thread_cell;

void *hsw_host_thread_cell(void) { return &thread_cell; }

_Noreturn void hsw_host_fatal(const char *text, size_t length) {
    fprintf(stderr, "%.*s\n", (int)length, text);
    abort();
}

/* A promise of the program, and whether it was kept. */
static int passed, failed;

void report(const char *promise, size_t length, int kept) {
    printf("%s: %.*s\n", kept ? "ok" : "broken promise", (int)length, promise);
    if (kept) passed++;
    else failed++;
}

void program(void);

int main(void) {
    program();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
