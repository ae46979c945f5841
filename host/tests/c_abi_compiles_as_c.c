/* The header as a C11 compiler sees it, and a program as a C programmer writes it. Called by test_c_abi.cpp. */
#include "hardswitch.h"

#include <stdint.h>
#include <stdio.h>

int c_program(char *log, size_t size);

struct talk {
    hsw_channel channel;
    char *log;
    size_t size;
};

static hsw_status speaker(void *argument) {
    const struct talk *talk = argument;
    for (uintptr_t i = 1; i <= 3; ++i) {
        hsw_status status = hsw_channel_send(talk->channel, (void *)i);
        if (status != HSW_OK) {
            return status;
        }
    }
    return HSW_OK;
}

static hsw_status listener(void *argument) {
    struct talk *talk = argument;
    for (int i = 0; i < 3; ++i) {
        void *value = NULL;
        hsw_status status = hsw_channel_receive(talk->channel, &value);
        if (status != HSW_OK) {
            return status;
        }
        int used = snprintf(talk->log, talk->size, "%d ", (int)(uintptr_t)value);
        talk->log += used;
        talk->size -= (size_t)used;
    }
    return HSW_OK;
}

/* Two tasklets talk; what was heard is written to `log`. 0 when all went well. */
int c_program(char *log, size_t size) {
    struct talk talk = {{0}, log, size};
    hsw_tasklet_options options = {0};
    hsw_tasklet first = {0};
    if (hsw_channel_new(NULL, &talk.channel) != HSW_OK) {
        return 1;
    }
    options.name = "speaker";
    if (hsw_spawn(speaker, &talk, &options, &first) != HSW_OK || hsw_spawn(listener, &talk, NULL, NULL) != HSW_OK) {
        return 2;
    }
    if (hsw_run() != HSW_OK) {
        return 3;
    }
    if (hsw_tasklet_release(first) != HSW_OK || hsw_channel_release(talk.channel) != HSW_OK) {
        return 4;
    }
    return 0;
}
