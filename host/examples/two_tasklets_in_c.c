#include <hardswitch.h>
#include <stdint.h>
#include <stdio.h>

static hsw_status speak(void *channel) {
    for (intptr_t i = 1; i <= 3; ++i) {
        hsw_status status = hsw_channel_send(*(hsw_channel *)channel, (void *)(i * i));
        if (status != HSW_OK) {
            return status; /* ends the tasklet with this error */
        }
    }
    return HSW_OK;
}

static hsw_status listen(void *channel) {
    for (int i = 1; i <= 3; ++i) {
        void *value = NULL;
        hsw_status status = hsw_channel_receive(*(hsw_channel *)channel, &value);
        if (status != HSW_OK) {
            return status;
        }
        printf("%d\n", (int)(intptr_t)value);
    }
    return HSW_OK;
}

int main(void) {
    hsw_channel squares; /* main's stack is never sliced: the tasklets may point to it */
    if (hsw_channel_new(NULL, &squares) != HSW_OK || hsw_spawn(speak, &squares, NULL, NULL) != HSW_OK
        || hsw_spawn(listen, &squares, NULL, NULL) != HSW_OK || hsw_run() != HSW_OK) {
        fprintf(stderr, "%s\n", hsw_last_error_message());
        return 1;
    }
    return hsw_channel_release(squares) == HSW_OK ? 0 : 1;
}
