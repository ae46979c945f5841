/* Sockets and descriptors, as a C programmer uses them. Called by test_c_net.cpp. */
#define _GNU_SOURCE
#include "hardswitch.h"

#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

int c_descriptor_program(void);
int c_tcp_program(void);

/* Returns from the function, with the number of the line, if a condition does not hold. */
#define NEED(condition) \
    do { \
        if (!(condition)) { \
            return __LINE__; \
        } \
    } while (0)

#define LIMIT 10000000000u /* 10 s */

static hsw_status write_byte(void *fd) { return write((int)(intptr_t)fd, "x", 1) == 1 ? HSW_OK : HSW_ERR_OTHER; }

/* Waits for a pipe. 0, or the line where something was wrong. */
int c_descriptor_program(void) {
    int ends[2];
    int16_t ready = 0;
    NEED(pipe(ends) == 0);
    NEED(hsw_fd_wait(ends[1], POLLOUT, HSW_NO_LIMIT, &ready) == HSW_OK && ready == POLLOUT);
    NEED(hsw_fd_wait(ends[0], POLLIN, 0, &ready) == HSW_ERR_TIMEOUT);
    NEED(hsw_spawn(write_byte, (void *)(intptr_t)ends[1], NULL, NULL) == HSW_OK);
    NEED(hsw_fd_wait(ends[0], POLLIN, LIMIT, &ready) == HSW_OK && ready == POLLIN);
    close(ends[1]);
    NEED(hsw_fd_wait(ends[0], POLLIN, LIMIT, &ready) == HSW_OK && ready == (POLLIN | POLLHUP));
    close(ends[0]);
    return 0;
}

/* Sends back what comes, until the end of the stream. */
static hsw_status serve(void *listener) {
    hsw_socket peer = {0};
    char bytes[16];
    size_t n = 0;
    hsw_status status = hsw_tcp_accept(*(const hsw_socket *)listener, &peer);
    while (status == HSW_OK) {
        status = hsw_socket_read(peer, bytes, sizeof bytes, &n);
        if (status != HSW_OK || n == 0) {
            break;
        }
        status = hsw_socket_write(peer, bytes, n, NULL);
    }
    hsw_socket_release(peer);
    return status;
}

/* A connection with options. 0, or the line where something was wrong. */
int c_tcp_program(void) {
    hsw_socket listener = {0}, stream = {0};
    hsw_address here, there;
    hsw_keepalive keepalive = {20000000000u, 5000000000u, 3}, found;
    char parts[2][4] = {"hel", "lo"}, text[64], answer[8] = {0};
    hsw_buffer out[2], in[2];
    uint64_t value = 0;
    size_t n = 0, length = 0;
    int32_t number = 0;
    bool on = false;

    NEED(hsw_tcp_listen("127.0.0.1", 0, &listener) == HSW_OK);
    NEED(hsw_socket_local_address(listener, &here) == HSW_OK);
    NEED(hsw_spawn(serve, &listener, NULL, NULL) == HSW_OK);
    NEED(hsw_tcp_connect("127.0.0.1", here.port, LIMIT, &stream) == HSW_OK);
    NEED(hsw_socket_peer_address(stream, &there) == HSW_OK);
    NEED(there.family == HSW_FAMILY_IPV4 && there.port == here.port && memcmp(there.ip, "\x7f\0\0\1", 4) == 0);
    NEED(hsw_address_text(&there, text, sizeof text, &length) == HSW_OK);
    NEED(strncmp(text, "127.0.0.1:", 10) == 0 && strlen(text) == length);

    NEED(hsw_socket_set_option(stream, HSW_SOCKET_NODELAY, 1) == HSW_OK);
    NEED(hsw_socket_get_option(stream, HSW_SOCKET_NODELAY, &value) == HSW_OK && value == 1);
    NEED(hsw_socket_set_keepalive(stream, &keepalive) == HSW_OK);
    NEED(hsw_socket_keepalive(stream, &on, &found) == HSW_OK && on);
    NEED(found.idle_ns == keepalive.idle_ns && found.interval_ns == keepalive.interval_ns && found.probes == 3);
    NEED(hsw_socket_fd(stream, &number) == HSW_OK && number >= 0);
    NEED(hsw_socket_take_error(stream, &number) == HSW_OK && number == 0);

    for (int i = 0; i < 2; ++i) {
        out[i].data = parts[i];
        out[i].size = strlen(parts[i]);
    }
    NEED(hsw_socket_write_vectored(stream, out, 2, &n) == HSW_OK && n == 5);
    for (size_t got = 0; got < 5; got += n) {
        in[0].data = answer + got;
        in[0].size = 1;
        in[1].data = answer + got + 1;
        in[1].size = sizeof answer - 1 - got - 1;
        NEED(hsw_socket_peek(stream, text, 1, &n) == HSW_OK && n == 1 && text[0] == "hello"[got]);
        NEED(hsw_socket_read_vectored(stream, in, 2, &n) == HSW_OK && n > 0);
    }
    NEED(strcmp(answer, "hello") == 0);
    NEED(hsw_socket_end_writing(stream) == HSW_OK);
    NEED(hsw_socket_read(stream, answer, sizeof answer, &n) == HSW_OK && n == 0);
    NEED(hsw_socket_release(stream) == HSW_OK && hsw_socket_release(listener) == HSW_OK);
    return hsw_run_until_idle() == HSW_OK ? 0 : __LINE__;
}
