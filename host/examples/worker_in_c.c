/* A blocking function runs on a worker thread; only the tasklet that asked for it waits. */
#define _POSIX_C_SOURCE 199309L /* for nanosleep, in strict C99 */
#include <hardswitch.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

static void *slow_square(void *number) {
    const struct timespec time = {0, 50 * 1000 * 1000};
    nanosleep(&time, NULL); /* on a tasklet's own thread this would stop everybody */
    return (void *)((intptr_t)number * (intptr_t)number);
}

static hsw_status ask(void *number) {
    void *result = NULL;
    hsw_status status = hsw_offload(slow_square, number, NULL, NULL, HSW_NO_LIMIT, &result);
    if (status == HSW_OK) {
        printf("%d squared is %d\n", (int)(intptr_t)number, (int)(intptr_t)result);
    }
    return status; /* ends the tasklet with this error, or without one */
}

static hsw_status work(void *nothing) {
    (void)nothing;
    puts("the others go on");
    return HSW_OK;
}

int main(void) {
    if (hsw_spawn(ask, (void *)12, NULL, NULL) != HSW_OK || hsw_spawn(work, NULL, NULL, NULL) != HSW_OK
        || hsw_run_until_idle() != HSW_OK) {
        fprintf(stderr, "%s\n", hsw_last_error_message());
        return 1;
    }
    return 0;
}
