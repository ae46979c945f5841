// hardswitch.h: sockets of all kinds, their options and addresses, and waits for any descriptor.
#include "c_helpers.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdio>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

extern "C" int c_descriptor_program(void);
extern "C" int c_tcp_program(void);
extern "C" int c_udp_program(void);
extern "C" int c_unix_program(const char* name);

namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t limit = 20'000 * ms; // of what comes at once

/// A descriptor that is closed at the end.
struct owned {
    int fd;
    explicit owned(int number) : fd(number) { REQUIRE(fd >= 0); }
    owned(const owned&) = delete;
    owned& operator=(const owned&) = delete;
    ~owned() { end(); }
    void end() {
        if (fd >= 0) {
            close(fd);
            fd = -1;
        }
    }
};

struct pipe_ends {
    int fds[2];
    pipe_ends() { REQUIRE(pipe(fds) == 0); }
    pipe_ends(const pipe_ends&) = delete;
    pipe_ends& operator=(const pipe_ends&) = delete;
    ~pipe_ends() {
        close(fds[0]);
        close(fds[1]);
    }
    int reader() const { return fds[0]; }
    int writer() const { return fds[1]; }
};

/// A socket of the C interface that is given back at the end.
struct held {
    hsw_socket raw{};
    held() = default;
    held(held&& other) noexcept : raw(std::exchange(other.raw, hsw_socket{})) {}
    held(const held&) = delete;
    held& operator=(const held&) = delete;
    held& operator=(held&&) = delete;
    ~held() {
        if (raw.handle != 0) {
            CHECK(hsw_socket_release(raw) == HSW_OK);
        }
    }
    operator hsw_socket() const { return raw; }
};

held listener_of(const char* ip = "127.0.0.1") {
    held out;
    REQUIRE(hsw_tcp_listen(ip, 0, &out.raw) == HSW_OK);
    return out;
}

/// Two ends of a TCP connection.
std::pair<held, held> connection(const char* ip = "127.0.0.1") {
    held one, other;
    const held listener = listener_of(ip);
    std::uint16_t port = 0;
    REQUIRE(hsw_socket_port(listener, &port) == HSW_OK);
    REQUIRE(hsw_tcp_connect(ip, port, limit, &one.raw) == HSW_OK);
    REQUIRE(hsw_tcp_accept(listener, &other.raw) == HSW_OK);
    return {std::move(one), std::move(other)};
}

int descriptor(hsw_socket socket) {
    std::int32_t fd = -1;
    REQUIRE(hsw_socket_fd(socket, &fd) == HSW_OK);
    return fd;
}

std::uint64_t option(hsw_socket socket, hsw_socket_option which) {
    std::uint64_t value = 12345;
    REQUIRE(hsw_socket_get_option(socket, which, &value) == HSW_OK);
    return value;
}

/// What the system says of an option.
template <class T>
T systems(hsw_socket socket, int level, int name) {
    T value{};
    socklen_t size = sizeof value;
    REQUIRE(getsockopt(descriptor(socket), level, name, &value, &size) == 0);
    return value;
}

std::string text(const hsw_address& address) {
    char out[200];
    REQUIRE(hsw_address_text(&address, out, sizeof out, nullptr) == HSW_OK);
    return out;
}

hsw_address local(hsw_socket socket) {
    hsw_address address{};
    REQUIRE(hsw_socket_local_address(socket, &address) == HSW_OK);
    return address;
}

hsw_address peer(hsw_socket socket) {
    hsw_address address{};
    REQUIRE(hsw_socket_peer_address(socket, &address) == HSW_OK);
    return address;
}

/// Lets a tasklet run until it has come to its wait, and gives its handle back in the end.
struct waiting {
    hsw_tasklet raw;
    explicit waiting(std::function<hsw_status()> function) : raw(spawn(std::move(function))) { CHECK(hsw_schedule() == HSW_OK); }
    waiting(const waiting&) = delete;
    waiting& operator=(const waiting&) = delete;
    ~waiting() {
        CHECK(hsw_run_until_idle() == HSW_OK);
        CHECK(hsw_tasklet_release(raw) == HSW_OK);
    }
};

/// As many bytes as a connection takes before a write has to wait, and a few more.
void fill(hsw_socket socket) {
    const std::vector<char> data(1 << 20);
    REQUIRE(hsw_socket_set_option(socket, HSW_SOCKET_WRITE_TIMEOUT, 20 * ms) == HSW_OK);
    hsw_status status = HSW_OK;
    for (int i = 0; i < 64 && status == HSW_OK; ++i) {
        status = hsw_socket_write(socket, data.data(), data.size(), nullptr);
    }
    REQUIRE(status == HSW_ERR_TIMEOUT);
    REQUIRE(hsw_socket_set_option(socket, HSW_SOCKET_WRITE_TIMEOUT, HSW_NO_LIMIT) == HSW_OK);
}

char payload;

held udp(const char* ip = "127.0.0.1") {
    held out;
    REQUIRE(hsw_udp_bind(ip, 0, &out.raw) == HSW_OK);
    REQUIRE(hsw_socket_set_timeout(out, limit) == HSW_OK);
    return out;
}

/// What a receive has told.
struct got {
    hsw_status status;
    std::string bytes;
    std::size_t length;
    std::string from;
};

got receive(hsw_socket socket, std::size_t room = 64, bool peek = false) {
    std::string bytes(room, '?');
    std::size_t n = 0, length = 0;
    hsw_address from{};
    const hsw_status status = (peek ? hsw_socket_peek_from : hsw_socket_receive)(socket, &bytes[0], room, &n, &length, &from);
    if (status != HSW_OK) {
        return {status, "", 0, ""};
    }
    REQUIRE(n <= room);
    bytes.resize(n);
    return {status, bytes, length, text(from)};
}

hsw_status send_to(hsw_socket socket, const std::string& data, const hsw_address& to) {
    return hsw_socket_send(socket, data.data(), data.size(), &to);
}

hsw_status send_on(hsw_socket socket, const std::string& data) { return hsw_socket_send(socket, data.data(), data.size(), nullptr); }

hsw_address address_of(const char* ip, std::uint16_t port) {
    hsw_address address{};
    REQUIRE(hsw_address_parse(ip, port, &address) == HSW_OK);
    return address;
}

hsw_address unix_address(const std::string& name) {
    hsw_address address{};
    REQUIRE(hsw_address_unix(name.c_str(), &address) == HSW_OK);
    return address;
}

/// A folder for sockets, which is gone at the end.
struct folder {
    std::string path;
    folder() {
        char name[] = "/tmp/hsw-net-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path = name;
    }
    folder(const folder&) = delete;
    folder& operator=(const folder&) = delete;
    ~folder() {
        for (const std::string& name : names) {
            unlink(name.c_str());
        }
        CHECK(rmdir(path.c_str()) == 0);
    }
    /// A name in it, of this length if it is not 0.
    std::string name(const std::string& end, std::size_t length = 0) {
        std::string out = path + "/" + end;
        out.resize(std::max(length, out.size()), 'x');
        names.push_back(out);
        return out;
    }
    std::vector<std::string> names{};
};

/// An abstract name that nobody else has.
std::string abstract_name(const std::string& end) { return "@hsw-net-" + std::to_string(getpid()) + end; }

} // namespace

TEST_CASE("a program of C waits for a descriptor") {
    const no_leaks check;
    CHECK(c_descriptor_program() == 0);
}

TEST_CASE("a program of C uses a TCP connection with options") {
    const no_leaks check;
    CHECK(c_tcp_program() == 0);
}

TEST_CASE("tasklets wait for a pipe, an eventfd and a socket of somebody else's at a time") {
    const no_leaks check;
    const pipe_ends pipe;
    const owned event(eventfd(0, 0));
    int pair[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    const owned one(pair[0]);
    const owned other(pair[1]);
    std::string order;
    const auto wait_for = [&order](int fd, char name) {
        return [&order, fd, name] {
            std::int16_t ready = 0;
            const hsw_status status = hsw_fd_wait(fd, POLLIN, limit, &ready);
            CHECK(ready == POLLIN);
            order += name;
            return status;
        };
    };
    const waiting first(wait_for(pipe.reader(), 'p'));
    const waiting second(wait_for(event.fd, 'e'));
    const waiting third(wait_for(one.fd, 's'));
    CHECK(order.empty());
    CHECK(send(other.fd, "x", 1, 0) == 1);
    for (int i = 0; i < 1000 && order != "s"; ++i) {
        REQUIRE(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    }
    CHECK(order == "s");
    const std::uint64_t count = 1;
    CHECK(write(event.fd, &count, sizeof count) == sizeof count);
    for (int i = 0; i < 1000 && order != "se"; ++i) {
        REQUIRE(hsw_tick(HSW_NO_LIMIT, nullptr) == HSW_OK);
    }
    CHECK(order == "se");
    CHECK(write(pipe.writer(), "x", 1) == 1);
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(order == "sep");
}

TEST_CASE("a wait for a descriptor ends when its time is up, with what was thrown, or with a kill") {
    const no_leaks check;
    const pipe_ends pipe;
    std::int16_t ready = 99;
    const auto begin = std::chrono::steady_clock::now();
    CHECK(hsw_fd_wait(pipe.reader(), POLLIN, 30 * ms, &ready) == HSW_ERR_TIMEOUT);
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(30));
    CHECK(hsw_fd_wait(pipe.reader(), POLLIN, 0, &ready) == HSW_ERR_TIMEOUT);
    CHECK(ready == 99);
    // What was thrown at the tasklet comes first, and what it is, is not lost.
    hsw_status told[2]{};
    {
        const waiting one([&] {
            told[0] = hsw_fd_wait(pipe.reader(), POLLIN, HSW_NO_LIMIT, &ready);
            CHECK(hsw_last_error_cause() == HSW_ERR_THROWN);
            void* data = nullptr;
            CHECK(hsw_last_error_payload(&data, nullptr) == HSW_OK);
            CHECK(data == &payload);
            return HSW_OK;
        });
        const waiting other([&] { return told[1] = hsw_fd_wait(pipe.reader(), POLLIN, INT64_MAX, &ready); });
        CHECK(hsw_tasklet_throw(one.raw, &payload, nullptr, "thrown", false) == HSW_OK);
        CHECK(hsw_tasklet_kill(other.raw, false) == HSW_OK);
    }
    CHECK(told[0] == HSW_ERR_THROWN);
    CHECK(told[1] == HSW_ERR_EXIT);
    CHECK(ready == 99);
}

TEST_CASE("what is no descriptor to wait for is one clear error") {
    const no_leaks check;
    const pipe_ends pipe;
    std::int16_t ready = 99;
    CHECK(hsw_fd_wait(pipe.reader(), POLLIN, 0, nullptr) == HSW_ERR_NULL);
    CHECK(last_message() == "ready is null");
    const int closed = dup(pipe.reader());
    REQUIRE(closed >= 0);
    close(closed);
    for (const int fd : {-1, INT_MIN, closed, 1 << 30, INT_MAX}) {
        for (const std::uint64_t time : {std::uint64_t{0}, ms, limit, std::uint64_t{HSW_NO_LIMIT}}) {
            CAPTURE(fd);
            CAPTURE(time);
            CHECK(hsw_fd_wait(fd, POLLIN, time, &ready) == HSW_ERR_IO);
            CHECK(hsw_last_error_errno() == EBADF);
            CHECK(has(last_message(), "descriptor " + std::to_string(fd)));
        }
    }
    // A time that was a negative number.
    CHECK(hsw_fd_wait(pipe.reader(), POLLIN, static_cast<std::uint64_t>(-5), &ready) == HSW_ERR_ARGUMENT);
    CHECK(ready == 99);
    // No event, or all: a hang-up is told in any case.
    CHECK(hsw_fd_wait(pipe.writer(), 0, ms, &ready) == HSW_ERR_TIMEOUT);
    CHECK(hsw_fd_wait(pipe.writer(), static_cast<std::int16_t>(-1), limit, &ready) == HSW_OK);
    CHECK((ready & POLLOUT) != 0);
    // Files are always ready.
    std::FILE* const file = std::tmpfile();
    REQUIRE(file != nullptr);
    CHECK(hsw_fd_wait(fileno(file), POLLIN | POLLOUT, HSW_NO_LIMIT, &ready) == HSW_OK);
    CHECK(ready == (POLLIN | POLLOUT));
    std::fclose(file);
}

TEST_CASE("a wait for a descriptor that is closed without a word fails, and so does a socket's") {
    const no_leaks check;
    int ends[2];
    REQUIRE(pipe(ends) == 0);
    const owned writer(ends[1]);
    const auto both = connection();
    const hsw_socket one = both.first;
    hsw_status told[3]{};
    int numbers[3]{};
    std::int16_t ready = 0;
    const auto begin = std::chrono::steady_clock::now();
    {
        const waiting first([&] {
            told[0] = hsw_fd_wait(ends[0], POLLIN, limit, &ready);
            numbers[0] = hsw_last_error_errno();
            return HSW_OK;
        });
        const waiting second([&] {
            char byte = 0;
            std::size_t n = 0;
            told[1] = hsw_socket_read(one, &byte, 1, &n);
            numbers[1] = hsw_last_error_errno();
            told[2] = hsw_socket_write(one, &byte, 1, &n);
            numbers[2] = hsw_last_error_errno();
            CHECK(n == 0);
            return HSW_OK;
        });
        close(ends[0]);
        close(descriptor(one));
    }
    CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(15));
    for (int i = 0; i < 3; ++i) {
        CAPTURE(i);
        CHECK(told[i] == HSW_ERR_IO);
        CHECK(numbers[i] == EBADF);
    }
    std::uint64_t value = 0;
    hsw_address address{};
    CHECK(hsw_socket_get_option(one, HSW_SOCKET_NODELAY, &value) == HSW_ERR_IO);
    CHECK(hsw_socket_set_option(one, HSW_SOCKET_NODELAY, 1) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EBADF);
    CHECK(last_message().compare(0, 24, "HSW_SOCKET_NODELAY = 1: ") == 0);
    CHECK(hsw_socket_local_address(one, &address) == HSW_ERR_IO);
    CHECK(hsw_socket_peer_address(one, &address) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EBADF);
}

TEST_CASE("options of sockets read as they were written, and the system has them") {
    const no_leaks check;
    const auto both = connection();
    const hsw_socket one = both.first, other = both.second;
    const held listener = listener_of();
    CHECK(option(one, HSW_SOCKET_NODELAY) == 0);
    CHECK(hsw_socket_set_option(one, HSW_SOCKET_NODELAY, 1) == HSW_OK);
    CHECK(option(one, HSW_SOCKET_NODELAY) == 1);
    CHECK(systems<int>(one, IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(hsw_socket_set_option(one, HSW_SOCKET_TTL, 33) == HSW_OK);
    CHECK(option(one, HSW_SOCKET_TTL) == 33);
    CHECK(systems<int>(one, IPPROTO_IP, IP_TTL) == 33);

    CHECK(option(one, HSW_SOCKET_LINGER) == HSW_NO_LIMIT);
    for (const std::uint64_t time : {std::uint64_t{0}, 7000 * ms}) {
        CHECK(hsw_socket_set_option(one, HSW_SOCKET_LINGER, time) == HSW_OK);
        CHECK(option(one, HSW_SOCKET_LINGER) == time);
        CHECK(systems<linger>(one, SOL_SOCKET, SO_LINGER).l_onoff == 1);
        CHECK(systems<linger>(one, SOL_SOCKET, SO_LINGER).l_linger == static_cast<int>(time / (1000 * ms)));
    }
    CHECK(hsw_socket_set_option(one, HSW_SOCKET_LINGER, 1) == HSW_OK);
    CHECK(option(one, HSW_SOCKET_LINGER) == 1000 * ms);
    CHECK(hsw_socket_set_option(one, HSW_SOCKET_LINGER, HSW_NO_LIMIT) == HSW_OK);
    CHECK(systems<linger>(one, SOL_SOCKET, SO_LINGER).l_onoff == 0);

    for (const hsw_socket socket : {one, listener.raw}) {
        CHECK(hsw_socket_set_option(socket, HSW_SOCKET_RECEIVE_BUFFER, 20000) == HSW_OK);
        CHECK(option(socket, HSW_SOCKET_RECEIVE_BUFFER) >= 20000);
        CHECK(option(socket, HSW_SOCKET_RECEIVE_BUFFER) == static_cast<std::uint64_t>(systems<int>(socket, SOL_SOCKET, SO_RCVBUF)));
        CHECK(hsw_socket_set_option(socket, HSW_SOCKET_SEND_BUFFER, 30000) == HSW_OK);
        CHECK(option(socket, HSW_SOCKET_SEND_BUFFER) >= 30000);
        CHECK(option(socket, HSW_SOCKET_SEND_BUFFER) == static_cast<std::uint64_t>(systems<int>(socket, SOL_SOCKET, SO_SNDBUF)));
        CHECK(option(socket, HSW_SOCKET_READ_TIMEOUT) == HSW_NO_LIMIT);
        CHECK(hsw_socket_set_option(socket, HSW_SOCKET_READ_TIMEOUT, 12 * ms) == HSW_OK);
        CHECK(option(socket, HSW_SOCKET_READ_TIMEOUT) == 12 * ms);
    }
    CHECK(option(one, HSW_SOCKET_WRITE_TIMEOUT) == HSW_NO_LIMIT);
    CHECK(hsw_socket_set_timeout(one, 15 * ms) == HSW_OK);
    CHECK(option(one, HSW_SOCKET_READ_TIMEOUT) == 15 * ms);
    CHECK(option(one, HSW_SOCKET_WRITE_TIMEOUT) == 15 * ms);
    CHECK(hsw_socket_set_timeout(one, INT64_MAX) == HSW_OK); // 292 years
    CHECK(option(one, HSW_SOCKET_READ_TIMEOUT) == INT64_MAX);
    CHECK(hsw_socket_set_timeout(one, HSW_NO_LIMIT) == HSW_OK);
    CHECK(option(one, HSW_SOCKET_WRITE_TIMEOUT) == HSW_NO_LIMIT);

    // The two directions have limits of their own.
    char byte = 0;
    std::size_t n = 0;
    CHECK(hsw_socket_set_option(one, HSW_SOCKET_READ_TIMEOUT, 10 * ms) == HSW_OK);
    CHECK(hsw_socket_read(one, &byte, 1, &n) == HSW_ERR_TIMEOUT);
    fill(other);
    hsw_socket nobody{};
    CHECK(hsw_tcp_accept(listener, &nobody) == HSW_ERR_TIMEOUT);
    CHECK(nobody.handle == 0);
}

TEST_CASE("keep-alive is on with its times, or off") {
    const no_leaks check;
    const auto both = connection();
    const hsw_socket one = both.first;
    bool on = true;
    hsw_keepalive found{1, 2, 3};
    CHECK(hsw_socket_keepalive(one, &on, &found) == HSW_OK);
    CHECK_FALSE(on);
    CHECK(found.idle_ns == 1);
    const hsw_keepalive asked{30'000 * ms, 2'500 * ms, 4};
    CHECK(hsw_socket_set_keepalive(one, &asked) == HSW_OK);
    CHECK(hsw_socket_keepalive(one, &on, &found) == HSW_OK);
    CHECK(on);
    CHECK(found.idle_ns == 30'000 * ms);
    CHECK(found.interval_ns == 3'000 * ms); // whole seconds
    CHECK(found.probes == 4);
    CHECK(systems<int>(one, IPPROTO_TCP, TCP_KEEPINTVL) == 3);
    CHECK(systems<int>(one, SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(hsw_socket_set_keepalive(one, nullptr) == HSW_OK);
    CHECK(hsw_socket_keepalive(one, &on, &found) == HSW_OK);
    CHECK_FALSE(on);

    for (const hsw_keepalive bad : {hsw_keepalive{0, ms, 1}, hsw_keepalive{ms, 0, 1}, hsw_keepalive{HSW_NO_LIMIT, ms, 1},
                                    hsw_keepalive{ms, HSW_NO_LIMIT - 1, 1}, hsw_keepalive{ms, ms, UINT32_MAX}}) {
        CHECK(hsw_socket_set_keepalive(one, &bad) == HSW_ERR_ARGUMENT);
    }
    // Linux takes 1 to 32,767 seconds, and 1 to 127 questions.
    for (const hsw_keepalive bad : {hsw_keepalive{40'000'000 * ms, ms, 1}, hsw_keepalive{ms, ms, 0}, hsw_keepalive{ms, ms, 1000}}) {
        CHECK(hsw_socket_set_keepalive(one, &bad) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == EINVAL);
        CHECK(has(last_message(), "keep-alive"));
    }
    CHECK(hsw_socket_keepalive(one, &on, &found) == HSW_OK);
    CHECK_FALSE(on);
    const held listener = listener_of();
    CHECK(hsw_socket_set_keepalive(listener, &asked) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_keepalive(listener, &on, &found) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "the socket listens for TCP connections: it has no keep-alive");
    CHECK(hsw_socket_keepalive(one, nullptr, &found) == HSW_ERR_NULL);
    CHECK(hsw_socket_keepalive(one, &on, nullptr) == HSW_ERR_NULL);
}

TEST_CASE("an option that is none, a value that it cannot have, and a socket without it are told apart") {
    const no_leaks check;
    const auto both = connection();
    const hsw_socket one = both.first;
    const held listener = listener_of();
    std::uint64_t value = 7;
    for (const int unknown : {0, -1, 100, INT_MIN, INT_MAX}) {
        CHECK(hsw_socket_set_option(one, unknown, 1) == HSW_ERR_ARGUMENT);
        CHECK(last_message() == std::to_string(unknown) + " is no option of sockets");
        CHECK(hsw_socket_get_option(one, unknown, &value) == HSW_ERR_ARGUMENT);
    }
    const std::pair<hsw_socket_option, std::uint64_t> bad[] = {
        {HSW_SOCKET_NODELAY, 2},
        {HSW_SOCKET_READ_TIMEOUT, 0},
        {HSW_SOCKET_WRITE_TIMEOUT, 0},
        {HSW_SOCKET_WRITE_TIMEOUT, HSW_NO_LIMIT - 1},
        {HSW_SOCKET_LINGER, HSW_NO_LIMIT - 1},
        {HSW_SOCKET_TTL, UINT64_MAX},
        {HSW_SOCKET_RECEIVE_BUFFER, std::uint64_t{1} << 32}, // would be 0 as an int
        {HSW_SOCKET_SEND_BUFFER, UINT64_MAX},
    };
    for (const auto& [which, what] : bad) {
        CAPTURE(which);
        CHECK(hsw_socket_set_option(one, which, what) == HSW_ERR_ARGUMENT);
    }
    for (const std::uint64_t ttl : {0, 256}) {
        CHECK(hsw_socket_set_option(one, HSW_SOCKET_TTL, ttl) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == EINVAL);
        CHECK(has(last_message(), "HSW_SOCKET_TTL = " + std::to_string(ttl)));
    }
    for (const hsw_socket_option which : {HSW_SOCKET_NODELAY, HSW_SOCKET_LINGER, HSW_SOCKET_TTL, HSW_SOCKET_WRITE_TIMEOUT}) {
        CAPTURE(which);
        CHECK(hsw_socket_set_option(listener, which, 1) == HSW_ERR_ARGUMENT);
        CHECK(has(last_message(), "the socket listens for TCP connections: it has no HSW_SOCKET_"));
        CHECK(hsw_socket_get_option(listener, which, &value) == HSW_ERR_ARGUMENT);
    }
    CHECK(value == 7);
}

TEST_CASE("several buffers are sent and filled as if they were one") {
    const no_leaks check;
    const auto both = connection();
    const hsw_socket one = both.first, other = both.second;
    char first[] = "ab", second[] = "cde";
    char empty = 0;
    const hsw_buffer pieces[] = {{nullptr, 0}, {first, 2}, {&empty, 0}, {second, 3}};
    std::size_t sent = 99;
    CHECK(hsw_socket_write_vectored(one, pieces, 4, &sent) == HSW_OK);
    CHECK(sent == 5);
    CHECK(hsw_socket_write_vectored(one, nullptr, 0, &sent) == HSW_OK);
    CHECK(sent == 0);
    CHECK(hsw_socket_write_vectored(one, pieces, 4, nullptr) == HSW_OK);
    // More empty ones than the system takes buffers in a call.
    char left[1] = {0}, right[9] = {0};
    std::vector<hsw_buffer> buffers(3000, hsw_buffer{nullptr, 0});
    buffers.push_back({left, 1});
    buffers.push_back({right, 9});
    std::string got;
    std::size_t n = 0;
    while (got.size() < 10) {
        REQUIRE(hsw_socket_read_vectored(other, buffers.data(), buffers.size(), &n) == HSW_OK);
        REQUIRE(n > 0);
        got += left[0];
        got.append(right, n - 1);
    }
    CHECK(got == "abcdeabcde");
    CHECK(hsw_socket_read_vectored(other, nullptr, 0, &n) == HSW_OK);
    CHECK(n == 0);
    // More pieces than the system takes in a call.
    std::string many(5000, ' ');
    std::vector<hsw_buffer> bytes;
    for (std::size_t i = 0; i < many.size(); ++i) {
        many[i] = static_cast<char>('a' + i % 23);
        bytes.push_back({&many[i], 1});
    }
    CHECK(hsw_socket_write_vectored(one, bytes.data(), bytes.size(), &sent) == HSW_OK);
    CHECK(sent == many.size());
    std::string back(many.size(), ' ');
    for (std::size_t at = 0; at < back.size(); at += n) {
        REQUIRE(hsw_socket_read(other, &back[at], back.size() - at, &n) == HSW_OK);
        REQUIRE(n > 0);
    }
    CHECK(back == many);

    CHECK(hsw_socket_read_vectored(other, nullptr, 1, &n) == HSW_ERR_NULL);
    CHECK(hsw_socket_read_vectored(other, pieces, 4, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_socket_write_vectored(one, nullptr, 1, &sent) == HSW_ERR_NULL);
    CHECK(last_message() == "buffers is null");
    const hsw_buffer nowhere[] = {{first, 2}, {nullptr, 1}};
    CHECK(hsw_socket_write_vectored(one, nowhere, 2, &sent) == HSW_ERR_NULL);
    CHECK(sent == 0);
    CHECK(hsw_socket_read_vectored(one, nowhere, 2, &n) == HSW_ERR_NULL);
    const held listener = listener_of();
    CHECK(hsw_socket_read_vectored(listener, pieces, 4, &n) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_write_vectored(listener, pieces, 4, &sent) == HSW_ERR_ARGUMENT);
}

TEST_CASE("a write of several buffers that is ended says how much was sent, and goes on with the rest") {
    const no_leaks check;
    constexpr std::size_t half = 8 << 20;
    const auto both = connection();
    const hsw_socket one = both.first, other = both.second;
    std::vector<unsigned char> data(2 * half);
    for (std::size_t i = 0; i < data.size(); ++i) {
        data[i] = static_cast<unsigned char>(i % 251);
    }
    const auto rest = [&](std::size_t from) {
        std::vector<hsw_buffer> out;
        if (from < half) {
            out.push_back({data.data() + from, half - from});
            from = half;
        }
        out.push_back({data.data() + from, data.size() - from});
        return out;
    };
    // First the time is up; then it is killed, which ends the tasklet; then main sends the rest.
    std::size_t sent = SIZE_MAX, done = 0;
    CHECK(hsw_socket_set_option(one, HSW_SOCKET_WRITE_TIMEOUT, 20 * ms) == HSW_OK);
    CHECK(hsw_socket_write_vectored(one, rest(0).data(), 2, &sent) == HSW_ERR_TIMEOUT);
    REQUIRE(sent < data.size());
    REQUIRE(sent > 0);
    done += sent;
    CHECK(hsw_socket_set_option(one, HSW_SOCKET_WRITE_TIMEOUT, HSW_NO_LIMIT) == HSW_OK);
    std::size_t heard = 0, wrong = 0;
    const auto hear = [&](std::size_t wanted) {
        std::vector<unsigned char> bytes(1 << 16);
        for (std::size_t n = 1; n != 0 && heard < wanted; heard += n) {
            REQUIRE(hsw_socket_read(other, bytes.data(), bytes.size(), &n) == HSW_OK);
            for (std::size_t i = 0; i < n; ++i) {
                wrong += bytes[i] != (heard + i) % 251 ? 1 : 0;
            }
        }
    };
    {
        std::size_t count = SIZE_MAX;
        const waiting writer([&] {
            const auto pieces = rest(done);
            const hsw_status status = hsw_socket_write_vectored(one, pieces.data(), pieces.size(), &count);
            CHECK(status == HSW_ERR_EXIT);
            return status;
        });
        hear(done / 2);
        CHECK(hsw_tasklet_kill(writer.raw, false) == HSW_OK);
        REQUIRE(count < data.size());
        done += count;
    }
    const waiting reader([&] {
        hear(data.size());
        return HSW_OK;
    });
    const auto pieces = rest(done);
    CHECK(hsw_socket_write_vectored(one, pieces.data(), pieces.size(), &sent) == HSW_OK);
    CHECK(done + sent == data.size());
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(heard == data.size());
    CHECK(wrong == 0);
}

TEST_CASE("each direction of a connection can be ended") {
    const no_leaks check;
    const auto both = connection();
    const hsw_socket one = both.first, other = both.second;
    char bytes[4];
    std::size_t n = 99;
    {
        const waiting reader([&] { return hsw_socket_read(one, bytes, sizeof bytes, &n); });
        CHECK(hsw_socket_end_reading(one) == HSW_OK);
    }
    CHECK(n == 0);
    CHECK(hsw_socket_write(one, "to", 2, nullptr) == HSW_OK);
    CHECK(hsw_socket_read(other, bytes, sizeof bytes, &n) == HSW_OK);
    CHECK(n == 2);
    CHECK(hsw_socket_end_writing(one) == HSW_OK);
    CHECK(hsw_socket_write(one, "x", 1, &n) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EPIPE);
    CHECK(n == 0);
    CHECK(hsw_socket_read(other, bytes, sizeof bytes, &n) == HSW_OK);
    CHECK(n == 0);
    const held listener = listener_of();
    CHECK(hsw_socket_end_reading(listener) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_end_writing(listener) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "the socket listens for TCP connections: it is not one that is read or written");
}

TEST_CASE("what is peeked at can be read again") {
    const no_leaks check;
    const auto both = connection();
    const hsw_socket one = both.first, other = both.second;
    char bytes[4] = {0};
    std::size_t n = 99;
    CHECK(hsw_socket_peek(one, nullptr, 0, &n) == HSW_OK);
    CHECK(n == 0);
    CHECK(hsw_socket_set_timeout(one, 5 * ms) == HSW_OK);
    CHECK(hsw_socket_peek(one, bytes, 4, &n) == HSW_ERR_TIMEOUT);
    CHECK(hsw_socket_write(other, "ab", 2, nullptr) == HSW_OK);
    CHECK(hsw_socket_set_timeout(one, limit) == HSW_OK);
    for (int i = 0; i < 2; ++i) {
        CHECK(hsw_socket_peek(one, bytes, 1, &n) == HSW_OK);
        CHECK(n == 1);
        CHECK(bytes[0] == 'a');
    }
    CHECK(hsw_socket_peek(one, nullptr, 1, &n) == HSW_ERR_NULL);
    CHECK(hsw_socket_peek(one, bytes, 1, nullptr) == HSW_ERR_NULL);
    const held listener = listener_of();
    CHECK(hsw_socket_peek(listener, bytes, 1, &n) == HSW_ERR_ARGUMENT);
}

TEST_CASE("a lost connection is told to who asks for its error, and to all readers after that") {
    const no_leaks check;
    const auto both = connection();
    const hsw_socket one = both.first, other = both.second;
    std::int32_t error = 99;
    CHECK(hsw_socket_take_error(one, &error) == HSW_OK);
    CHECK(error == 0);
    CHECK(hsw_socket_set_option(other, HSW_SOCKET_LINGER, 0) == HSW_OK);
    CHECK(hsw_socket_close(other) == HSW_OK); // resets it
    std::int16_t ready = 0;
    CHECK(hsw_fd_wait(descriptor(one), POLLIN, limit, &ready) == HSW_OK);
    CHECK((ready & POLLERR) != 0);
    CHECK(hsw_socket_take_error(one, &error) == HSW_OK);
    CHECK(error == ECONNRESET);
    for (int i = 0; i < 2; ++i) {
        char byte = 0;
        std::size_t n = 0;
        CHECK(hsw_socket_read(one, &byte, 1, &n) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == ECONNRESET);
    }
    hsw_address address{};
    CHECK(hsw_socket_peer_address(one, &address) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ENOTCONN);
    CHECK(hsw_socket_take_error(one, nullptr) == HSW_ERR_NULL);
}

TEST_CASE("hosts are looked up, and no address is written beyond the room for them") {
    const no_leaks check;
    hsw_address found[4];
    std::size_t count = 0;
    REQUIRE(hsw_lookup("::1", 80, 0, found, 4, &count) == HSW_OK);
    CHECK(count == 1);
    CHECK(text(found[0]) == "[::1]:80");
    const std::uint64_t limit = 60'000 * ms;
    REQUIRE(hsw_lookup("localhost", 81, limit, nullptr, 0, &count) == HSW_OK);
    REQUIRE(count >= 1);
    const std::size_t all = count;
    std::vector<hsw_address> room(all + 1);
    room[all - 1].port = 7;
    REQUIRE(hsw_lookup("localhost", 81, limit, room.data(), all - 1, &count) == HSW_OK);
    CHECK(count == all);
    CHECK(room[all - 1].port == 7);
    REQUIRE(hsw_lookup("localhost", 81, limit, room.data(), room.size(), &count) == HSW_OK);
    for (std::size_t i = 0; i < all; ++i) {
        const std::string shown = text(room[i]);
        CAPTURE(shown);
        const bool is_local = shown == "[::1]:81" || shown.rfind("127.", 0) == 0;
        CHECK(is_local);
        CHECK(room[i].port == 81);
    }
    count = 77;
    CHECK(hsw_lookup("no host's name", 80, limit, found, 4, &count) == HSW_ERR_IO);
    CHECK(hsw_lookup("localhost", 80, UINT64_MAX - 5, found, 4, &count) == HSW_ERR_ARGUMENT);
    CHECK(hsw_lookup(nullptr, 80, 0, found, 4, &count) == HSW_ERR_NULL);
    CHECK(hsw_lookup("::1", 80, 0, nullptr, 1, &count) == HSW_ERR_NULL);
    CHECK(count == 77);
    CHECK(hsw_lookup("::1", 80, 0, found, 4, nullptr) == HSW_ERR_NULL);
}

TEST_CASE("the settings of look-ups are filled in, checked and set") {
    const no_leaks check;
    hsw_lookup_settings settings{};
    REQUIRE(hsw_lookup_settings_console(&settings) == HSW_OK);
    CHECK(settings.threads == 1);
    CHECK(settings.keep_ns == 10'000 * ms);
    CHECK(hsw_lookup_configure(&settings) == HSW_OK);
    hsw_address found{};
    std::size_t count = 0;
    for (const char* const forgotten : {"localhost", static_cast<const char*>(nullptr)}) {
        // Once it is forgotten there is no time for another look-up, unless a worker is very fast.
        hsw_status status = HSW_OK;
        for (int i = 0; i < 50 && status == HSW_OK; ++i) {
            CHECK(hsw_lookup("localhost", 81, 60'000 * ms, &found, 1, &count) == HSW_OK);
            // An answer that is kept takes no time.
            CHECK(hsw_lookup("localhost", 81, 0, &found, 1, &count) == HSW_OK);
            CHECK(hsw_lookup_forget(forgotten) == HSW_OK);
            status = hsw_lookup("localhost", 81, 0, &found, 1, &count);
        }
        CHECK(status == HSW_ERR_TIMEOUT);
    }
    settings.keep_ns = UINT64_MAX - 5;
    CHECK(hsw_lookup_configure(&settings) == HSW_ERR_ARGUMENT);
    settings.keep_ns = HSW_NO_LIMIT;
    CHECK(hsw_lookup_configure(&settings) == HSW_OK);
    settings.threads = 0;
    CHECK(hsw_lookup_configure(&settings) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "threads = 0: 1 or more");
    REQUIRE(hsw_lookup_settings_default(&settings) == HSW_OK);
    CHECK(settings.threads == 4);
    CHECK(settings.stack_size == 256 * 1024);
    CHECK(settings.keep_ns == 0);
    CHECK(hsw_lookup_configure(nullptr) == HSW_OK);
    CHECK(hsw_lookup_settings_default(nullptr) == HSW_ERR_NULL);
    CHECK(hsw_lookup_settings_console(nullptr) == HSW_ERR_NULL);
}

TEST_CASE("how much a socket may move in one turn is set for a thread's loop") {
    const no_leaks check;
    std::size_t before = 0, now = 0;
    REQUIRE(hsw_loop_get_burst(&before) == HSW_OK);
    CHECK(before == 1 << 20);
    REQUIRE(hsw_loop_set_burst(0) == HSW_OK);
    REQUIRE(hsw_loop_get_burst(&now) == HSW_OK);
    CHECK(now == 0);
    hsw_socket ends[2]{};
    REQUIRE(hsw_unix_pair(&ends[0], &ends[1]) == HSW_OK);
    std::size_t turns = 0;
    bool over = false;
    {
        const waiting other([&] {
            while (!over) {
                ++turns;
                hsw_schedule();
            }
            return HSW_OK;
        });
        const waiting mover([&] {
            char byte = 'x';
            std::size_t moved = 0;
            for (int i = 0; i < 10; ++i) {
                CHECK(hsw_socket_write(ends[0], &byte, 1, &moved) == HSW_OK);
                CHECK(hsw_socket_read(ends[1], &byte, 1, &moved) == HSW_OK);
            }
            over = true;
            return HSW_OK;
        });
    }
    CHECK(over);
    CHECK(turns >= 18);
    REQUIRE(hsw_loop_set_burst(before) == HSW_OK);
    CHECK(hsw_loop_get_burst(nullptr) == HSW_ERR_NULL);
    for (const hsw_socket end : ends) {
        hsw_socket_release(end);
    }
}

TEST_CASE("addresses are texts and numbers") {
    const no_leaks check;
    const std::pair<const char*, const char*> good[] = {
        {"127.0.0.1", "127.0.0.1:80"}, {"0.0.0.0", "0.0.0.0:80"}, {"::1", "[::1]:80"},
        {"::", "[::]:80"}, {"fe80::1%3", "[fe80::1%3]:80"}, {"2001:DB8::A", "[2001:db8::a]:80"},
    };
    for (const auto& [from, to] : good) {
        CAPTURE(from);
        hsw_address address{};
        CHECK(hsw_address_parse(from, 80, &address) == HSW_OK);
        CHECK(address.port == 80);
        CHECK(text(address) == to);
        CHECK(address.family == (std::strchr(from, ':') == nullptr ? HSW_FAMILY_IPV4 : HSW_FAMILY_IPV6));
    }
    hsw_address address{};
    for (const char* const bad : {"", "localhost", "127.0.0", "127.0.0.1:80", "[::1]", "::1]", "1.2.3.256", ":::", "fe80::1%eth0", " ::1", "::1]:1["}) {
        CAPTURE(bad);
        CHECK(hsw_address_parse(bad, 80, &address) == HSW_ERR_ARGUMENT);
        CHECK(last_message() == "'" + std::string(bad) + "' is no IP address");
    }
    CHECK(address.family == 0);
    CHECK(hsw_address_parse(nullptr, 80, &address) == HSW_ERR_NULL);
    CHECK(hsw_address_parse("::1", 80, nullptr) == HSW_ERR_NULL);
    char small[6];
    std::size_t length = 0;
    CHECK(hsw_address_text(&address, small, sizeof small, &length) == HSW_ERR_ARGUMENT);
    REQUIRE(hsw_address_parse("127.0.0.1", 65535, &address) == HSW_OK);
    CHECK(hsw_address_text(&address, small, sizeof small, &length) == HSW_OK);
    CHECK(std::string(small) == "127.0");
    CHECK(length == 15);
    CHECK(hsw_address_text(nullptr, small, sizeof small, &length) == HSW_ERR_NULL);
    CHECK(hsw_address_text(&address, nullptr, 1, &length) == HSW_ERR_NULL);
    CHECK(hsw_address_text(&address, nullptr, 0, nullptr) == HSW_OK);
    hsw_socket nobody{};
    CHECK(hsw_tcp_listen("fe80::1%99999999999", 0, &nobody) == HSW_ERR_ARGUMENT);

    const auto both = connection();
    const hsw_socket one = both.first, other = both.second;
    CHECK(text(local(one)) == text(peer(other)));
    CHECK(text(peer(one)) == text(local(other)));
    std::uint16_t port = 0;
    CHECK(hsw_socket_port(one, &port) == HSW_OK);
    CHECK(local(one).port == port);
    CHECK(hsw_socket_port(one, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_socket_local_address(one, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_socket_peer_address(one, nullptr) == HSW_ERR_NULL);
    const held listener = listener_of();
    CHECK(local(listener).port != 0);
    CHECK(hsw_socket_peer_address(listener, &address) == HSW_ERR_ARGUMENT);
}

TEST_CASE("a connection over IPv6 has such addresses") {
    hsw_socket listener{};
    if (hsw_tcp_listen("::1", 0, &listener) != HSW_OK) {
        MESSAGE("no IPv6 here");
        return;
    }
    CHECK(hsw_socket_release(listener) == HSW_OK);
    const auto both = connection("::1");
    const hsw_socket one = both.first;
    CHECK(peer(one).family == HSW_FAMILY_IPV6);
    CHECK(text(peer(one)).compare(0, 6, "[::1]:") == 0);
}

namespace {

/// Every call of a socket of its own, with arguments that are good.
std::vector<std::pair<const char*, std::function<hsw_status(hsw_socket)>>> calls_of_sockets() {
    static char bytes[4];
    static hsw_buffer buffer{bytes, sizeof bytes};
    static std::size_t n;
    static hsw_address address;
    static hsw_keepalive keepalive{1000 * ms, 1000 * ms, 1};
    static std::uint64_t value;
    static std::int32_t number;
    static std::uint16_t port;
    static bool on;
    return {
        {"read", [](hsw_socket s) { return hsw_socket_read(s, bytes, 1, &n); }},
        {"write", [](hsw_socket s) { return hsw_socket_write(s, bytes, 1, &n); }},
        {"read_vectored", [](hsw_socket s) { return hsw_socket_read_vectored(s, &buffer, 1, &n); }},
        {"write_vectored", [](hsw_socket s) { return hsw_socket_write_vectored(s, &buffer, 1, &n); }},
        {"peek", [](hsw_socket s) { return hsw_socket_peek(s, bytes, 1, &n); }},
        {"end_writing", [](hsw_socket s) { return hsw_socket_end_writing(s); }},
        {"end_reading", [](hsw_socket s) { return hsw_socket_end_reading(s); }},
        {"port", [](hsw_socket s) { return hsw_socket_port(s, &port); }},
        {"fd", [](hsw_socket s) { return hsw_socket_fd(s, &number); }},
        {"take_error", [](hsw_socket s) { return hsw_socket_take_error(s, &number); }},
        {"local_address", [](hsw_socket s) { return hsw_socket_local_address(s, &address); }},
        {"peer_address", [](hsw_socket s) { return hsw_socket_peer_address(s, &address); }},
        {"set_option", [](hsw_socket s) { return hsw_socket_set_option(s, HSW_SOCKET_NODELAY, 1); }},
        {"get_option", [](hsw_socket s) { return hsw_socket_get_option(s, HSW_SOCKET_NODELAY, &value); }},
        {"set_keepalive", [](hsw_socket s) { return hsw_socket_set_keepalive(s, &keepalive); }},
        {"keepalive", [](hsw_socket s) { return hsw_socket_keepalive(s, &on, &keepalive); }},
    };
}

/// The same for sockets of datagrams.
std::vector<std::pair<const char*, std::function<hsw_status(hsw_socket)>>> calls_of_datagrams() {
    static char bytes[4];
    static std::size_t n;
    static const hsw_address address = address_of("127.0.0.1", 9);
    return {
        {"connect", [](hsw_socket s) { return hsw_socket_connect(s, &address); }},
        {"send", [](hsw_socket s) { return hsw_socket_send(s, bytes, 1, nullptr); }},
        {"send to", [](hsw_socket s) { return hsw_socket_send(s, bytes, 1, &address); }},
        {"receive", [](hsw_socket s) { return hsw_socket_receive(s, bytes, 1, &n, nullptr, nullptr); }},
        {"peek_from", [](hsw_socket s) { return hsw_socket_peek_from(s, bytes, 1, &n, nullptr, nullptr); }},
        {"join_multicast_v4", [](hsw_socket s) { return hsw_udp_join_multicast_v4(s, "239.1.2.3", nullptr); }},
        {"leave_multicast_v4", [](hsw_socket s) { return hsw_udp_leave_multicast_v4(s, "239.1.2.3", nullptr); }},
        {"join_multicast_v6", [](hsw_socket s) { return hsw_udp_join_multicast_v6(s, "ff12::1234", 0); }},
        {"leave_multicast_v6", [](hsw_socket s) { return hsw_udp_leave_multicast_v6(s, "ff12::1234", 0); }},
    };
}

} // namespace

TEST_CASE("a handle that is no socket's is an error code in every call, and so is a closed socket") {
    const no_leaks check;
    const auto both = connection();
    const hsw_socket one = both.first, other = both.second;
    hsw_channel channel{};
    REQUIRE(hsw_channel_new(nullptr, &channel) == HSW_OK);
    hsw_socket stale{};
    REQUIRE(hsw_tcp_listen("127.0.0.1", 0, &stale) == HSW_OK);
    REQUIRE(hsw_socket_release(stale) == HSW_OK);
    CHECK(hsw_socket_close(one) == HSW_OK);
    CHECK(hsw_socket_close(one) == HSW_OK);
    for (const auto& [name, call] : calls_of_sockets()) {
        CAPTURE(name);
        CHECK(call(hsw_socket{}) == HSW_ERR_NULL);
        CHECK(call(hsw_socket{channel.handle}) == HSW_ERR_WRONG_KIND);
        CHECK(call(stale) == HSW_ERR_STALE);
        CHECK(call(hsw_socket{UINT64_MAX}) == HSW_ERR_STALE);
        CHECK(call(one) == HSW_ERR_IO);
        CHECK(has(last_message(), "closed by this side"));
        std::thread([&call_it = call, socket = other] { CHECK(call_it(socket) == HSW_ERR_WRONG_THREAD); }).join();
    }
    CHECK(hsw_socket_set_timeout(one, ms) == HSW_OK); // it is the handle's, not the system's
    const held closed = udp();
    CHECK(hsw_socket_close(closed) == HSW_OK);
    for (const auto& [name, call] : calls_of_datagrams()) {
        CAPTURE(name);
        CHECK(call(hsw_socket{}) == HSW_ERR_NULL);
        CHECK(call(hsw_socket{channel.handle}) == HSW_ERR_WRONG_KIND);
        CHECK(call(stale) == HSW_ERR_STALE);
        CHECK(call(other) == HSW_ERR_ARGUMENT);
        CHECK(has(last_message(), "the socket is a TCP connection: it is not one that "));
        CHECK(call(closed) == HSW_ERR_IO);
        CHECK(has(last_message(), "closed by this side"));
        std::thread([&call_it = call, socket = closed.raw] { CHECK(call_it(socket) == HSW_ERR_WRONG_THREAD); }).join();
    }
    hsw_socket nobody{};
    for (const hsw_socket listener : {hsw_socket{}, stale, hsw_socket{channel.handle}}) {
        CHECK(hsw_unix_accept(listener, &nobody) != HSW_OK);
        CHECK(hsw_last_error_status() != HSW_ERR_INTERNAL);
    }
    CHECK(hsw_unix_accept(other, &nobody) == HSW_ERR_ARGUMENT);
    CHECK(hsw_channel_release(channel) == HSW_OK);
}

TEST_CASE("a program of C uses UDP") {
    const no_leaks check;
    CHECK(c_udp_program() == 0);
}

TEST_CASE("a program of C uses Unix sockets") {
    const no_leaks check;
    folder at;
    CHECK(c_unix_program(at.name("socket").c_str()) == 0);
    CHECK(c_unix_program(abstract_name("").c_str()) == 0);
}

TEST_CASE("a datagram that does not fit says how long it was, and the next one is whole") {
    const no_leaks check;
    const held here = udp(), there = udp();
    const hsw_address to = local(here);
    for (const char* const data : {"four", "", "five5", "x"}) {
        REQUIRE(send_to(there, data, to) == HSW_OK);
    }
    const std::string from = text(local(there));
    for (const bool peek : {true, true, false}) {
        const got cut = receive(here, 2, peek);
        CHECK(cut.bytes == "fo");
        CHECK(cut.length == 4);
        CHECK(cut.from == from);
    }
    const got empty = receive(here);
    CHECK(empty.status == HSW_OK);
    CHECK(empty.length == 0);
    CHECK(empty.from == from);
    // Nothing of it is wanted but its length.
    std::size_t n = 99, length = 99;
    CHECK(hsw_socket_receive(here, nullptr, 0, &n, &length, nullptr) == HSW_OK);
    CHECK(n == 0);
    CHECK(length == 5);
    CHECK(receive(here).bytes == "x");
    // The largest there is.
    const std::string large(65507, 'L');
    CHECK(hsw_socket_set_option(here, HSW_SOCKET_RECEIVE_BUFFER, 200000) == HSW_OK);
    CHECK(send_to(there, large, to) == HSW_OK);
    CHECK(receive(here, 1, true).length == large.size());
    CHECK(receive(here, 70000).bytes == large);
    CHECK(send_to(there, large + "!", to) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EMSGSIZE);
    CHECK(last_message().compare(0, text(to).size(), text(to)) == 0);
}

TEST_CASE("tasklets that wait for datagrams get them in order, or are told why not") {
    const no_leaks check;
    const held here = udp(), there = udp();
    std::string order;
    hsw_status told[2]{};
    {
        const waiting first([&] {
            order += "1" + receive(here).bytes;
            return HSW_OK;
        });
        const waiting thrown_at([&] {
            told[0] = receive(here).status;
            return HSW_OK;
        });
        const waiting killed([&] { return told[1] = receive(here).status; });
        const waiting second([&] {
            order += "2" + receive(here).bytes;
            return HSW_OK;
        });
        CHECK(hsw_tasklet_throw(thrown_at.raw, &payload, nullptr, "thrown", false) == HSW_OK);
        CHECK(hsw_tasklet_kill(killed.raw, false) == HSW_OK);
        CHECK(send_to(there, "a", local(here)) == HSW_OK);
        CHECK(send_to(there, "b", local(here)) == HSW_OK);
    }
    CHECK(order == "1a2b");
    CHECK(told[0] == HSW_ERR_THROWN);
    CHECK(told[1] == HSW_ERR_EXIT);
    CHECK(hsw_socket_set_option(here, HSW_SOCKET_READ_TIMEOUT, 10 * ms) == HSW_OK);
    CHECK(receive(here).status == HSW_ERR_TIMEOUT);
    CHECK(receive(here, 1, true).status == HSW_ERR_TIMEOUT);
    // One that is closed meanwhile.
    CHECK(hsw_socket_set_option(here, HSW_SOCKET_READ_TIMEOUT, limit) == HSW_OK);
    {
        const waiting closed([&] {
            told[0] = receive(here).status;
            return HSW_OK;
        });
        CHECK(hsw_socket_close(here) == HSW_OK);
    }
    CHECK(told[0] == HSW_ERR_IO);
}

TEST_CASE("a connected UDP socket hears its peer alone, and a refusal is no loss") {
    const no_leaks check;
    const held here = udp(), there = udp(), other = udp();
    CHECK(send_on(here, "x") == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EDESTADDRREQ);
    hsw_address address{};
    CHECK(hsw_socket_peer_address(here, &address) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ENOTCONN);
    const hsw_address to = local(there);
    CHECK(hsw_socket_connect(here, &to) == HSW_OK);
    CHECK(text(peer(here)) == text(to));
    CHECK(send_to(other, "not heard", local(here)) == HSW_OK);
    CHECK(send_to(there, "heard", local(here)) == HSW_OK);
    CHECK(receive(here).bytes == "heard");
    // Nobody else takes a port of this address.
    const hsw_address gone = local(udp("127.83.1.11"));
    CHECK(hsw_socket_connect(here, &gone) == HSW_OK);
    CHECK(send_on(here, "x") == HSW_OK);
    CHECK(receive(here).status == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ECONNREFUSED);
    CHECK(hsw_socket_connect(here, &to) == HSW_OK);
    CHECK(send_on(here, "again") == HSW_OK);
    CHECK(receive(there).bytes == "again");
    CHECK(hsw_socket_connect(here, nullptr) == HSW_ERR_NULL);
}

TEST_CASE("options of UDP read as they were written, and the system has them") {
    const no_leaks check;
    const held socket = udp("0.0.0.0");
    CHECK(option(socket, HSW_SOCKET_BROADCAST) == 0);
    CHECK(send_to(socket, "x", address_of("255.255.255.255", 9)) == HSW_ERR_IO);
    // A machine without a network says so first.
    CHECK((hsw_last_error_errno() == EACCES || hsw_last_error_errno() == ENETUNREACH));
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_BROADCAST, 1) == HSW_OK);
    CHECK(option(socket, HSW_SOCKET_BROADCAST) == 1);
    CHECK(systems<int>(socket, SOL_SOCKET, SO_BROADCAST) == 1);
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_TTL, 9) == HSW_OK);
    CHECK(option(socket, HSW_SOCKET_TTL) == 9);
    CHECK(option(socket, HSW_SOCKET_MULTICAST_LOOP) == 1);
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_MULTICAST_LOOP, 0) == HSW_OK);
    CHECK(option(socket, HSW_SOCKET_MULTICAST_LOOP) == 0);
    CHECK(option(socket, HSW_SOCKET_MULTICAST_TTL) == 1);
    for (const std::uint64_t ttl : {0, 255}) {
        CHECK(hsw_socket_set_option(socket, HSW_SOCKET_MULTICAST_TTL, ttl) == HSW_OK);
        CHECK(option(socket, HSW_SOCKET_MULTICAST_TTL) == ttl);
    }
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_MULTICAST_TTL, 256) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EINVAL);
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_BROADCAST, 2) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_MULTICAST_LOOP, 2) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_RECEIVE_BUFFER, 30000) == HSW_OK);
    CHECK(option(socket, HSW_SOCKET_RECEIVE_BUFFER) >= 30000);
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_NODELAY, 1) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "the socket is a UDP socket: it has no HSW_SOCKET_NODELAY");
    CHECK(hsw_socket_set_keepalive(socket, nullptr) == HSW_ERR_ARGUMENT);
    const auto both = connection();
    for (const hsw_socket_option which : {HSW_SOCKET_BROADCAST, HSW_SOCKET_MULTICAST_LOOP, HSW_SOCKET_MULTICAST_TTL}) {
        CHECK(hsw_socket_set_option(both.first, which, 1) == HSW_ERR_ARGUMENT);
    }
}

TEST_CASE("the options of a socket of IPv6 are those of both versions") {
    const no_leaks check;
    held socket;
    if (hsw_udp_bind("::1", 0, &socket.raw) != HSW_OK) {
        MESSAGE("no IPv6 here");
        return;
    }
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_TTL, 9) == HSW_OK);
    CHECK(option(socket, HSW_SOCKET_TTL) == 9);
    CHECK(systems<int>(socket, IPPROTO_IP, IP_TTL) == 9);
    CHECK(systems<int>(socket, IPPROTO_IPV6, IPV6_UNICAST_HOPS) == 9);
    for (const std::uint64_t ttl : {0, 256}) {
        CHECK(hsw_socket_set_option(socket, HSW_SOCKET_TTL, ttl) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == EINVAL);
    }
    CHECK(option(socket, HSW_SOCKET_TTL) == 9);
    CHECK(option(socket, HSW_SOCKET_MULTICAST_LOOP) == 1);
    CHECK(option(socket, HSW_SOCKET_MULTICAST_TTL) == 1);
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_MULTICAST_LOOP, 0) == HSW_OK);
    CHECK(option(socket, HSW_SOCKET_MULTICAST_LOOP) == 0);
    CHECK(systems<int>(socket, IPPROTO_IPV6, IPV6_MULTICAST_LOOP) == 0);
    for (const std::uint64_t ttl : {0, 255}) {
        CHECK(hsw_socket_set_option(socket, HSW_SOCKET_MULTICAST_TTL, ttl) == HSW_OK);
        CHECK(option(socket, HSW_SOCKET_MULTICAST_TTL) == ttl);
        CHECK(systems<int>(socket, IPPROTO_IPV6, IPV6_MULTICAST_HOPS) == int(ttl));
    }
    CHECK(hsw_socket_set_option(socket, HSW_SOCKET_MULTICAST_TTL, 256) == HSW_ERR_IO);
    CHECK(option(socket, HSW_SOCKET_MULTICAST_TTL) == 255);
}

TEST_CASE("members of a group get what is sent to it, and leave it") {
    const no_leaks check;
    hsw_socket raw[2]{};
    REQUIRE(hsw_udp_bind_shared("0.0.0.0", 0, &raw[0]) == HSW_OK);
    const std::uint16_t port = local(raw[0]).port;
    REQUIRE(hsw_udp_bind_shared("0.0.0.0", port, &raw[1]) == HSW_OK);
    hsw_socket nobody{};
    CHECK(hsw_udp_bind("0.0.0.0", port, &nobody) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EADDRINUSE);
    CHECK(has(last_message(), "0.0.0.0:" + std::to_string(port)));
    const char* const group = "239.255.77.3";
    for (const hsw_socket member : raw) {
        CHECK(hsw_socket_set_timeout(member, limit) == HSW_OK);
        CHECK(hsw_udp_join_multicast_v4(member, group, "127.0.0.1") == HSW_OK);
    }
    const held sender = udp();
    const hsw_status sent = send_to(sender, "to all", address_of(group, port));
    if (sent == HSW_OK) {
        for (const hsw_socket member : raw) {
            CHECK(receive(member).bytes == "to all");
        }
    } else { // a machine without a network
        CHECK(hsw_last_error_errno() == ENETUNREACH);
    }
    CHECK(hsw_udp_leave_multicast_v4(raw[0], group, "127.0.0.1") == HSW_OK);
    CHECK(hsw_udp_leave_multicast_v4(raw[0], group, "127.0.0.1") == HSW_ERR_IO);
    CHECK(has(last_message(), group));
    CHECK(hsw_udp_join_multicast_v4(raw[0], "10.0.0.1", nullptr) == HSW_ERR_IO); // no group
    for (const char* const bad : {"", "::1", "localhost", "239.1.2"}) {
        CHECK(hsw_udp_join_multicast_v4(raw[0], bad, nullptr) == HSW_ERR_ARGUMENT);
        CHECK(hsw_udp_leave_multicast_v4(raw[0], group, bad) == HSW_ERR_ARGUMENT);
        CHECK(last_message() == "'" + std::string(bad) + "' is no IPv4 address");
    }
    CHECK(hsw_udp_join_multicast_v6(raw[0], "239.1.2.3", 0) == HSW_ERR_ARGUMENT);
    CHECK(hsw_udp_join_multicast_v4(raw[0], nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_udp_leave_multicast_v4(raw[0], nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_udp_join_multicast_v6(raw[0], nullptr, 0) == HSW_ERR_NULL);
    CHECK(hsw_udp_leave_multicast_v6(raw[0], nullptr, 0) == HSW_ERR_NULL);
    for (const hsw_socket member : raw) {
        CHECK(hsw_socket_release(member) == HSW_OK);
    }
}

TEST_CASE("a group of IPv6 is joined and left") {
    const no_leaks check;
    hsw_socket raw{};
    if (hsw_udp_bind("::1", 0, &raw) != HSW_OK) {
        MESSAGE("no IPv6 here");
        return;
    }
    // By the interface that has ::1.
    CHECK(hsw_udp_join_multicast_v6(raw, "ff12::1234", 1) == HSW_OK);
    CHECK(hsw_udp_leave_multicast_v6(raw, "ff12::1234", 1) == HSW_OK);
    CHECK(hsw_udp_leave_multicast_v6(raw, "ff12::1234", 1) == HSW_ERR_IO);
    CHECK(hsw_udp_join_multicast_v6(raw, "ff12::1234", 4'000'000'000) == HSW_ERR_IO);
    CHECK(hsw_socket_release(raw) == HSW_OK);
}

TEST_CASE("what datagrams cannot be sent with is one clear error") {
    const no_leaks check;
    const held here = udp();
    const hsw_address to = local(here);
    char byte = 0;
    std::size_t n = 99;
    hsw_socket nobody{};
    CHECK(hsw_udp_bind(nullptr, 0, &nobody) == HSW_ERR_NULL);
    CHECK(hsw_udp_bind("127.0.0.1", 0, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_udp_bind("localhost", 0, &nobody) == HSW_ERR_ARGUMENT);
    CHECK(hsw_udp_bind("203.0.113.1", 0, &nobody) == HSW_ERR_IO); // nobody's
    CHECK(hsw_last_error_errno() == EADDRNOTAVAIL);
    CHECK(hsw_udp_bind_shared(nullptr, 0, &nobody) == HSW_ERR_NULL);
    CHECK(hsw_udp_bind_shared("127.0.0.1", 0, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_udp_bind_shared("203.0.113.1", 0, &nobody) == HSW_ERR_IO);
    CHECK(nobody.handle == 0);
    CHECK(hsw_socket_send(here, nullptr, 1, &to) == HSW_ERR_NULL);
    CHECK(hsw_socket_receive(here, nullptr, 1, &n, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_socket_receive(here, &byte, 1, nullptr, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_socket_peek_from(here, nullptr, 1, &n, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(n == 99);
    // Addresses of other kinds, and none.
    const hsw_address path = unix_address("/nowhere");
    hsw_address none{};
    none.family = 77;
    for (const hsw_address& bad : {path, none}) {
        CHECK(hsw_socket_send(here, "x", 1, &bad) == HSW_ERR_ARGUMENT);
        CHECK(has(last_message(), "it is no IP address"));
        CHECK(hsw_socket_connect(here, &bad) == HSW_ERR_ARGUMENT);
    }
    CHECK(hsw_socket_send(here, "x", 1, nullptr) == HSW_ERR_IO);
    CHECK(hsw_socket_read(here, &byte, 1, &n) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "the socket is a UDP socket: it is not one that is read or written");
    CHECK(hsw_socket_write(here, &byte, 1, &n) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_end_writing(here) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_peek(here, &byte, 1, &n) == HSW_ERR_ARGUMENT);
    CHECK(hsw_tcp_accept(here, &nobody) == HSW_ERR_ARGUMENT);
    CHECK(hsw_unix_accept(here, &nobody) == HSW_ERR_ARGUMENT);
    // Closed without a word.
    {
        const waiting receiver([&] {
            CHECK(receive(here).status == HSW_ERR_IO);
            CHECK(hsw_last_error_errno() == EBADF);
            return HSW_OK;
        });
        close(descriptor(here));
    }
    CHECK(send_to(here, "x", to) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EBADF);
}

TEST_CASE("Unix connections have names of files and abstract ones") {
    const no_leaks check;
    folder at;
    for (const std::string& name : {at.name("s"), at.name("", 107), abstract_name("s"), [] {
                                        std::string longest = abstract_name("");
                                        longest.resize(108, 'y'); // '@' and 107 bytes
                                        return longest;
                                    }()}) {
        CAPTURE(name);
        held listener, one, other;
        REQUIRE(hsw_unix_listen(name.c_str(), &listener.raw) == HSW_OK);
        CHECK(text(local(listener)) == name);
        REQUIRE(hsw_unix_connect(name.c_str(), limit, &one.raw) == HSW_OK);
        REQUIRE(hsw_unix_accept(listener, &other.raw) == HSW_OK);
        CHECK(text(peer(one)) == name);
        CHECK(text(local(other)) == name);
        CHECK(text(local(one)).empty());
        CHECK(peer(other).family == HSW_FAMILY_UNIX);
        CHECK(peer(other).name_length == 0);
        char bytes[8];
        std::size_t n = 0;
        CHECK(hsw_socket_write(one, "data", 4, &n) == HSW_OK);
        CHECK(hsw_socket_read(other, bytes, sizeof bytes, &n) == HSW_OK);
        CHECK(n == 4);
        CHECK(hsw_socket_end_writing(other) == HSW_OK);
        CHECK(hsw_socket_read(one, bytes, sizeof bytes, &n) == HSW_OK);
        CHECK(n == 0);
        hsw_socket nobody{};
        CHECK(hsw_unix_listen(name.c_str(), &nobody) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == EADDRINUSE);
        CHECK(last_message().compare(0, name.size(), name) == 0);
        // Its options are those that all have.
        CHECK(hsw_socket_set_option(one, HSW_SOCKET_SEND_BUFFER, 20000) == HSW_OK);
        CHECK(option(one, HSW_SOCKET_SEND_BUFFER) >= 20000);
        CHECK(hsw_socket_set_option(one, HSW_SOCKET_TTL, 1) == HSW_ERR_ARGUMENT);
        CHECK(last_message() == "the socket is a Unix connection: it has no HSW_SOCKET_TTL");
        std::uint16_t port = 0;
        CHECK(hsw_socket_port(one, &port) == HSW_ERR_ARGUMENT);
        CHECK(hsw_socket_set_timeout(listener, 5 * ms) == HSW_OK);
        CHECK(option(listener, HSW_SOCKET_READ_TIMEOUT) == 5 * ms);
        CHECK(hsw_unix_accept(listener, &nobody) == HSW_ERR_TIMEOUT);
        CHECK(hsw_tcp_accept(listener, &nobody) == HSW_ERR_ARGUMENT);
        CHECK(last_message() == "the socket listens for Unix connections: it is not one that listens for TCP connections");
        CHECK(nobody.handle == 0);
    }
}

TEST_CASE("a name that is none, or where nobody is, is one clear error") {
    const no_leaks check;
    folder at;
    hsw_socket nobody{}, other{};
    hsw_address address{};
    const std::string long_path(108, 'p'), longer(5000, 'p');
    const std::string long_name = "@" + long_path;
    for (const std::string& bad : {std::string(), std::string("@"), long_path, longer, long_name}) {
        CAPTURE(bad);
        CHECK(hsw_unix_listen(bad.c_str(), &nobody) == HSW_ERR_ARGUMENT);
        CHECK(hsw_unix_connect(bad.c_str(), limit, &nobody) == HSW_ERR_ARGUMENT);
        CHECK(hsw_unix_datagram(bad.c_str(), &nobody) == HSW_ERR_ARGUMENT);
        CHECK(hsw_address_unix(bad.c_str(), &address) == HSW_ERR_ARGUMENT);
        CHECK(has(last_message(), bad.size() < 2 ? "an empty name" : "the system takes 107"));
    }
    CHECK(hsw_unix_listen(nullptr, &nobody) == HSW_ERR_NULL);
    CHECK(hsw_unix_connect(nullptr, limit, &nobody) == HSW_ERR_NULL);
    CHECK(hsw_address_unix(nullptr, &address) == HSW_ERR_NULL);
    const std::string name = at.name("nobody");
    CHECK(hsw_unix_listen(name.c_str(), nullptr) == HSW_ERR_NULL);
    CHECK(hsw_unix_connect(name.c_str(), limit, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_unix_datagram(name.c_str(), nullptr) == HSW_ERR_NULL);
    CHECK(hsw_unix_datagram(nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_address_unix(name.c_str(), nullptr) == HSW_ERR_NULL);
    CHECK(hsw_unix_pair(&nobody, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_unix_pair(nullptr, &other) == HSW_ERR_NULL);
    CHECK(hsw_unix_datagram_pair(&nobody, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_unix_datagram_pair(nullptr, &other) == HSW_ERR_NULL);
    CHECK(hsw_unix_connect(name.c_str(), limit, &nobody) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ENOENT);
    CHECK(last_message().compare(0, name.size(), name) == 0);
    CHECK(hsw_unix_connect(abstract_name("nobody").c_str(), limit, &nobody) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ECONNREFUSED);
    CHECK(hsw_unix_connect(name.c_str(), HSW_NO_LIMIT - 1, &nobody) == HSW_ERR_ARGUMENT);
    CHECK(hsw_unix_listen("/nowhere/at/all", &nobody) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ENOENT);
    CHECK(nobody.handle == 0);
    CHECK(other.handle == 0);
    // Addresses that somebody has made by hand.
    held sender;
    REQUIRE(hsw_unix_datagram(nullptr, &sender.raw) == HSW_OK);
    hsw_address bad = unix_address("/x");
    bad.name_length = 109;
    CHECK(send_to(sender, "x", bad) == HSW_ERR_ARGUMENT);
    char out[200];
    CHECK(hsw_address_text(&bad, out, sizeof out, nullptr) == HSW_ERR_ARGUMENT);
    bad.name_length = 108; // no room for its final zero byte
    std::memset(bad.name, 'x', sizeof bad.name);
    CHECK(send_to(sender, "x", bad) == HSW_ERR_ARGUMENT);
    bad.name_length = 3;
    bad.name[1] = 0;
    CHECK(send_to(sender, "x", bad) == HSW_ERR_ARGUMENT);
    CHECK(hsw_socket_connect(sender, &bad) == HSW_ERR_ARGUMENT);
    bad.name_length = 0;
    CHECK(send_to(sender, "x", bad) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "an empty name");
    CHECK(send_to(sender, "x", address_of("127.0.0.1", 9)) == HSW_ERR_ARGUMENT);
    CHECK(has(last_message(), "it is no Unix address"));
}

TEST_CASE("a path that fills all of the system's address is told whole, and ends in a zero byte") {
    const no_leaks check;
    folder at;
    const std::string path = at.name("", 108), name = abstract_name("whole");
    const std::string listens = abstract_name("listens");
    // Other programs' sockets, one for datagrams and one that connects.
    const auto make = [&](int kind, const std::string& its) {
        // Valgrind looks for a zero byte, also behind the address.
        struct {
            sockaddr_un address;
            char end;
        } place{};
        sockaddr_un& address = place.address;
        address.sun_family = AF_UNIX;
        REQUIRE(its.size() == sizeof address.sun_path);
        std::memcpy(address.sun_path, its.data(), its.size());
        const int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
        REQUIRE(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
        return fd;
    };
    const auto to = [](const std::string& abstract, const std::function<long(const sockaddr*, socklen_t)>& call) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path + 1, abstract.data() + 1, abstract.size() - 1);
        const std::size_t size = offsetof(sockaddr_un, sun_path) + abstract.size();
        return call(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size));
    };
    const auto is_whole = [](const hsw_address& address, const std::string& its) {
        CHECK(address.family == HSW_FAMILY_UNIX);
        CHECK(address.name_length == its.size());
        REQUIRE(std::memchr(address.name, 0, sizeof address.name) != nullptr);
        CHECK(std::string(address.name) == its);
        CHECK(text(address) == its);
    };
    held here, listener, accepted;
    REQUIRE(hsw_unix_datagram(name.c_str(), &here.raw) == HSW_OK);
    const int sender = make(SOCK_DGRAM, path);
    CHECK(to(name, [&](const sockaddr* address, socklen_t size) { return sendto(sender, "x", 1, 0, address, size); }) == 1);
    char byte = 0;
    std::size_t n = 0;
    hsw_address from{};
    std::memset(from.name, 'z', sizeof from.name);
    REQUIRE(hsw_socket_receive(here, &byte, 1, &n, nullptr, &from) == HSW_OK);
    is_whole(from, path);
    // It is an address of another program's: this library takes paths of 107 bytes.
    CHECK(send_to(here, "x", from) == HSW_ERR_ARGUMENT);
    CHECK(close(sender) == 0);
    CHECK(unlink(path.c_str()) == 0);

    REQUIRE(hsw_unix_listen(listens.c_str(), &listener.raw) == HSW_OK);
    const int connects = make(SOCK_STREAM, path);
    CHECK(to(listens, [&](const sockaddr* address, socklen_t size) { return connect(connects, address, size); }) == 0);
    REQUIRE(hsw_unix_accept(listener, &accepted.raw) == HSW_OK);
    is_whole(peer(accepted), path);
    CHECK(close(connects) == 0);
    CHECK(unlink(path.c_str()) == 0);
}

TEST_CASE("a connect to a Unix listener whose queue is full waits, as long as it may") {
    const no_leaks check;
    const std::string name = abstract_name("full");
    held listener, first, second, one, other;
    REQUIRE(hsw_unix_listen(name.c_str(), &listener.raw) == HSW_OK);
    REQUIRE(listen(descriptor(listener), 0) == 0); // a shorter queue
    REQUIRE(hsw_unix_connect(name.c_str(), limit, &first.raw) == HSW_OK);
    const auto begin = std::chrono::steady_clock::now();
    CHECK(hsw_unix_connect(name.c_str(), 30 * ms, &second.raw) == HSW_ERR_TIMEOUT);
    CHECK(std::chrono::steady_clock::now() - begin >= std::chrono::milliseconds(30));
    CHECK(hsw_unix_connect(name.c_str(), 0, &second.raw) == HSW_ERR_TIMEOUT);
    hsw_status told = HSW_OK;
    {
        const waiting killed([&] { return told = hsw_unix_connect(name.c_str(), HSW_NO_LIMIT, &second.raw); });
        CHECK(hsw_tasklet_kill(killed.raw, false) == HSW_OK);
    }
    CHECK(told == HSW_ERR_EXIT);
    CHECK(second.raw.handle == 0);
    const waiting connects([&] { return hsw_unix_connect(name.c_str(), limit, &second.raw); });
    REQUIRE(hsw_unix_accept(listener, &one.raw) == HSW_OK);
    REQUIRE(hsw_unix_accept(listener, &other.raw) == HSW_OK);
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(second.raw.handle != 0);
}

TEST_CASE("a write to a Unix connection that is ended says how much was sent") {
    const no_leaks check;
    held one, other;
    REQUIRE(hsw_unix_pair(&one.raw, &other.raw) == HSW_OK);
    std::vector<char> data(4 << 20, 'x');
    REQUIRE(hsw_socket_set_option(one, HSW_SOCKET_WRITE_TIMEOUT, 10 * ms) == HSW_OK);
    std::size_t sent[2]{}, n = 0, heard = 0;
    CHECK(hsw_socket_write(one, data.data(), data.size(), &sent[0]) == HSW_ERR_TIMEOUT);
    CHECK(sent[0] > 0);
    CHECK(sent[0] < data.size());
    const hsw_buffer pieces[] = {{data.data(), 1}, {data.data(), data.size()}};
    CHECK(hsw_socket_write_vectored(one, pieces, 2, &sent[1]) == HSW_ERR_TIMEOUT);
    CHECK(hsw_socket_end_writing(one) == HSW_OK);
    for (n = 1; n != 0; heard += n) {
        REQUIRE(hsw_socket_read(other, data.data(), data.size(), &n) == HSW_OK);
    }
    CHECK(heard == sent[0] + sent[1]);
}

TEST_CASE("Unix datagrams tell their senders' names, their length, and wait for room") {
    const no_leaks check;
    folder at;
    const std::string path = at.name("d"), name = abstract_name("d");
    held here, there, unnamed;
    REQUIRE(hsw_unix_datagram(path.c_str(), &here.raw) == HSW_OK);
    REQUIRE(hsw_unix_datagram(name.c_str(), &there.raw) == HSW_OK);
    REQUIRE(hsw_unix_datagram(nullptr, &unnamed.raw) == HSW_OK);
    for (const hsw_socket socket : {here.raw, there.raw, unnamed.raw}) {
        REQUIRE(hsw_socket_set_timeout(socket, limit) == HSW_OK);
    }
    CHECK(text(local(here)) == path);
    CHECK(text(local(there)) == name);
    CHECK(text(local(unnamed)).empty());
    CHECK(send_to(there, "hello", unix_address(path)) == HSW_OK);
    CHECK(send_to(unnamed, "who", local(here)) == HSW_OK);
    const got cut = receive(here, 2, true);
    CHECK(cut.bytes == "he");
    CHECK(cut.length == 5);
    CHECK(cut.from == name);
    // The address that was told is good for an answer.
    char bytes[8];
    std::size_t n = 0, length = 0;
    hsw_address from{};
    CHECK(hsw_socket_receive(here, bytes, sizeof bytes, &n, &length, &from) == HSW_OK);
    CHECK(n == 5);
    CHECK(send_to(here, "answer", from) == HSW_OK);
    CHECK(receive(there).from == path);
    const got whole = receive(here);
    CHECK(whole.bytes == "who");
    CHECK(whole.from.empty());
    CHECK(send_on(here, "x") == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ENOTCONN);
    const hsw_address gone = unix_address(at.name("gone"));
    CHECK(send_to(here, "x", gone) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ENOENT);
    CHECK(last_message().compare(0, text(gone).size(), text(gone)) == 0);
    CHECK(hsw_socket_connect(here, &gone) == HSW_ERR_IO);
    const hsw_address to = local(there);
    CHECK(hsw_socket_connect(unnamed, &to) == HSW_OK);
    CHECK(text(peer(unnamed)) == name);
    CHECK(hsw_udp_join_multicast_v4(here, "239.1.2.3", nullptr) == HSW_ERR_ARGUMENT);

    // Nobody receives: the queue is full at some time, for who is connected and who is not.
    for (const bool connected : {true, false}) {
        CAPTURE(connected);
        const hsw_socket sender = connected ? unnamed : here;
        const auto send_one = [&](std::uint64_t time) {
            REQUIRE(hsw_socket_set_option(sender, HSW_SOCKET_WRITE_TIMEOUT, time) == HSW_OK);
            return connected ? send_on(sender, "x") : send_to(sender, "x", to);
        };
        int sent = 0;
        hsw_status status = HSW_OK;
        while (status == HSW_OK && sent < 100'000) {
            status = send_one(10 * ms);
            sent += status == HSW_OK ? 1 : 0;
        }
        CHECK(status == HSW_ERR_TIMEOUT);
        {
            const waiting killed([&] { return status = send_one(HSW_NO_LIMIT); });
            CHECK(hsw_tasklet_kill(killed.raw, false) == HSW_OK);
        }
        CHECK(status == HSW_ERR_EXIT);
        {
            const waiting waits([&] {
                status = send_one(limit);
                return HSW_OK;
            });
            for (int i = 0; i <= sent; ++i) {
                REQUIRE(receive(there).bytes == "x"); // none is lost, and none came twice
            }
        }
        CHECK(status == HSW_OK);
    }
}
