/* Sockets and descriptors, as a C programmer uses them. Called by test_c_net.cpp. */
#define _GNU_SOURCE
#include "hardswitch.h"

#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

int c_descriptor_program(void);
int c_tcp_program(void);
int c_udp_program(void);
int c_unix_program(const char *name);

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

/* Sends a datagram back to who has sent it. */
static hsw_status echo(void *socket) {
    char bytes[16];
    size_t n = 0, length = 0;
    hsw_address from;
    hsw_status status = hsw_socket_receive(*(const hsw_socket *)socket, bytes, sizeof bytes, &n, &length, &from);
    return status == HSW_OK ? hsw_socket_send(*(const hsw_socket *)socket, bytes, n, &from) : status;
}

/* A datagram and its answer, between sockets with addresses of their own. 0, or the line where something was wrong. */
static int talk(hsw_socket server, hsw_socket client) {
    hsw_address here, there, from;
    char bytes[2];
    size_t n = 0, length = 0;
    NEED(hsw_socket_local_address(server, &there) == HSW_OK && hsw_socket_local_address(client, &here) == HSW_OK);
    NEED(hsw_socket_set_timeout(client, LIMIT) == HSW_OK && hsw_socket_set_timeout(server, LIMIT) == HSW_OK);
    NEED(hsw_spawn(echo, &server, NULL, NULL) == HSW_OK);
    NEED(hsw_socket_send(client, "hello", 5, &there) == HSW_OK);
    NEED(hsw_socket_peek_from(client, bytes, 1, &n, NULL, NULL) == HSW_OK && n == 1);
    /* The buffer is too small for it. */
    NEED(hsw_socket_receive(client, bytes, sizeof bytes, &n, &length, &from) == HSW_OK);
    NEED(n == 2 && length == 5 && memcmp(bytes, "he", 2) == 0);
    NEED(from.family == there.family && from.port == there.port && from.name_length == there.name_length);
    NEED(memcmp(from.name, there.name, sizeof from.name) == 0 && memcmp(from.ip, there.ip, sizeof from.ip) == 0);
    /* The same with a peer. */
    NEED(hsw_socket_connect(client, &there) == HSW_OK);
    NEED(hsw_socket_peer_address(client, &from) == HSW_OK && from.port == there.port);
    NEED(hsw_spawn(echo, &server, NULL, NULL) == HSW_OK);
    NEED(hsw_socket_send(client, "", 0, NULL) == HSW_OK);
    NEED(hsw_socket_receive(client, bytes, sizeof bytes, &n, &length, NULL) == HSW_OK && n == 0 && length == 0);
    NEED(hsw_socket_release(server) == HSW_OK && hsw_socket_release(client) == HSW_OK);
    return hsw_run_until_idle() == HSW_OK ? 0 : __LINE__;
}

int c_udp_program(void) {
    hsw_socket server = {0}, client = {0};
    NEED(hsw_udp_bind("127.0.0.1", 0, &server) == HSW_OK && hsw_udp_bind("127.0.0.1", 0, &client) == HSW_OK);
    return talk(server, client);
}

struct greeting {
    const char *name;
    char answer[8];
};

static hsw_status greet(void *argument) {
    struct greeting *greeting = argument;
    hsw_socket stream = {0};
    size_t n = 0;
    hsw_status status = hsw_unix_connect(greeting->name, LIMIT, &stream);
    if (status == HSW_OK) {
        status = hsw_socket_write(stream, "hi", 2, NULL);
    }
    if (status == HSW_OK) {
        status = hsw_socket_read(stream, greeting->answer, sizeof greeting->answer - 1, &n);
    }
    hsw_socket_release(stream);
    return status;
}

/* Unix sockets of all kinds, at a name that is free. 0, or the line where something was wrong. */
int c_unix_program(const char *name) {
    hsw_socket listener = {0}, stream = {0}, one = {0}, other = {0};
    struct greeting greeting = {name, {0}};
    hsw_address address;
    char bytes[8] = {0}, text[200];
    size_t n = 0, length = 0;
    NEED(hsw_unix_listen(name, &listener) == HSW_OK);
    NEED(hsw_socket_local_address(listener, &address) == HSW_OK && address.family == HSW_FAMILY_UNIX);
    NEED(hsw_address_text(&address, text, sizeof text, NULL) == HSW_OK && strcmp(text, name) == 0);
    NEED(hsw_spawn(greet, &greeting, NULL, NULL) == HSW_OK);
    NEED(hsw_unix_accept(listener, &stream) == HSW_OK);
    NEED(hsw_socket_read(stream, bytes, 2, &n) == HSW_OK && n > 0 && bytes[0] == 'h');
    NEED(hsw_socket_write(stream, "hello", 5, NULL) == HSW_OK);
    NEED(hsw_run_until_idle() == HSW_OK && greeting.answer[0] == 'h');
    NEED(hsw_socket_release(stream) == HSW_OK && hsw_socket_release(listener) == HSW_OK);

    NEED(hsw_unix_pair(&one, &other) == HSW_OK);
    NEED(hsw_socket_write(one, "x", 1, NULL) == HSW_OK && hsw_socket_read(other, bytes, 1, &n) == HSW_OK && n == 1);
    NEED(hsw_socket_release(one) == HSW_OK && hsw_socket_release(other) == HSW_OK);

    NEED(hsw_unix_datagram_pair(&one, &other) == HSW_OK);
    NEED(hsw_socket_send(one, "abc", 3, NULL) == HSW_OK);
    NEED(hsw_socket_receive(other, bytes, 1, &n, &length, &address) == HSW_OK && n == 1 && length == 3);
    NEED(address.family == HSW_FAMILY_UNIX && address.name_length == 0);
    NEED(hsw_socket_release(one) == HSW_OK && hsw_socket_release(other) == HSW_OK);

    unlink(name); /* a path */
    NEED(hsw_unix_datagram(name, &one) == HSW_OK && hsw_unix_datagram(NULL, &other) == HSW_OK);
    NEED(hsw_address_unix(name, &address) == HSW_OK);
    NEED(hsw_socket_send(other, "", 0, &address) == HSW_OK);
    NEED(hsw_socket_receive(one, bytes, 1, &n, &length, &address) == HSW_OK && n == 0 && length == 0);
    NEED(hsw_socket_release(one) == HSW_OK && hsw_socket_release(other) == HSW_OK);
    unlink(name);
    return 0;
}
