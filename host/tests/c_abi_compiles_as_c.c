/* The header as a C99 compiler sees it, and a program as a C programmer writes it. Called by test_c_abi.cpp. */
#include "hardswitch.h"

#include <stdint.h>
#include <stdio.h>

int c_program(char *log, size_t size);
int c_threads_program(char *log, size_t size);

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

/* What a worker returns; its tasklet gets it. */
static void *answer(void *argument) { return (void *)((uintptr_t)argument + 1); }

static void append(const char *text, size_t length, void *user) {
    struct talk *talk = user;
    if (length < talk->size) {
        snprintf(talk->log, talk->size, "%.*s", (int)length, text);
        talk->log += length;
        talk->size -= length;
    }
}

static void add(hsw_tasklet tasklet, void *argument) {
    uint32_t state = 0;
    if (hsw_tasklet_state(tasklet, &state) == HSW_OK && (state & HSW_TASKLET_MAIN) != 0) {
        ++*(int *)argument;
    }
}

static hsw_status ring(void *argument) {
    ++*(int *)argument;
    return HSW_OK;
}

static void count(const hsw_host_lock_event *event, void *user) {
    if (event->what == HSW_LOCK_ACQUIRED && event->who.thread_id == hsw_thread_id()) {
        ++*(int *)user;
    }
}

/* What there is between threads, by one thread alone. `log` gets the first piece of a listing. 0 when all went well. */
int c_threads_program(char *log, size_t size) {
    struct talk talk = {{0}, log, size};
    hsw_thread_channel channel = {0};
    hsw_loop loop = {0};
    hsw_pool pool = {0};
    hsw_pool_settings pool_settings = {0};
    hsw_host_lock lock = {0};
    hsw_host_lock_settings lock_settings = {0};
    hsw_thread_info info = {0};
    hsw_offload_call call = {0};
    void *value = NULL;
    uint64_t ids[64];
    size_t threads = 0;
    int calls = 0;
    if (hsw_thread_attach() != HSW_OK || hsw_threads(ids, 64, &threads) != HSW_OK || threads == 0) {
        return 1;
    }
    if (hsw_thread_channel_new(NULL, &channel) != HSW_OK || hsw_thread_channel_try_receive(channel, &value) != HSW_ERR_WOULD_BLOCK ||
        hsw_thread_channel_receive_timeout(channel, 0, &value) != HSW_ERR_TIMEOUT || hsw_thread_channel_release(channel) != HSW_OK) {
        return 2;
    }
    if (hsw_thread_get_info(hsw_thread_id(), &info) != HSW_OK || hsw_remote_with(info.main_tasklet, add, &calls, NULL) != HSW_OK ||
        hsw_remote_release(info.main_tasklet) != HSW_OK || hsw_remote_release(info.current) != HSW_OK || calls != 1) {
        return 3;
    }
    if (hsw_loop_current(&loop) != HSW_OK || hsw_loop_post(loop, ring, &calls, NULL) != HSW_OK || hsw_pump(0, NULL) != HSW_OK ||
        hsw_loop_release(loop) != HSW_OK || calls != 2) {
        return 4;
    }
    if (hsw_pool_settings_console(&pool_settings) != HSW_OK || hsw_pool_new(&pool_settings, &pool) != HSW_OK) {
        return 5;
    }
    call.job = answer;
    call.argument = (void *)(uintptr_t)41;
    call.timeout_ns = HSW_NO_LIMIT;
    call.pool = pool;
    if (hsw_offload_with(&call, &value) != HSW_OK || (uintptr_t)value != 42 || hsw_pool_release(pool) != HSW_OK) {
        return 6;
    }
    if (hsw_host_lock_settings_default(&lock_settings) != HSW_OK || hsw_host_lock_new(&lock_settings, &lock) != HSW_OK ||
        hsw_host_lock_set_hook(lock, count, &calls, NULL) != HSW_OK || hsw_host_lock_join(lock) != HSW_OK ||
        hsw_host_lock_leave(lock) != HSW_OK || hsw_host_lock_release(lock) != HSW_OK || calls != 3) {
        return 7;
    }
    return hsw_dump_tasklets(append, &talk, false) == HSW_OK ? 0 : 8;
}
