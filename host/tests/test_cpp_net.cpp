// hardswitch.hpp: sockets of all kinds, their options and addresses, and waits for any descriptor.
#include <hardswitch.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct no_leaks {
    std::size_t before = hsw_live_handles();
    ~no_leaks() { CHECK(hsw_live_handles() == before); }
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
};

std::pair<hsw::tcp_stream, hsw::tcp_stream> connection() {
    hsw::tcp_listener listener("127.0.0.1");
    auto one = hsw::tcp_stream::connect("127.0.0.1", listener.port(), 20s);
    return {one, listener.accept()};
}

/// The number of the system's that a call fails with; 0 if it does not.
template <class F>
int number_of(F call) {
    try {
        call();
    } catch (const hsw::io_error& error) {
        return error.code();
    }
    return 0;
}

struct thrown : std::runtime_error {
    using std::runtime_error::runtime_error;
};

} // namespace

TEST_CASE("fd_wait returns what has come, and fails by exception") {
    const no_leaks check;
    const pipe_ends pipe;
    CHECK(hsw::fd_wait(pipe.fds[1], POLLOUT) == POLLOUT);
    CHECK_THROWS_AS(hsw::fd_wait(pipe.fds[0], POLLIN, 10ms), hsw::timeout);
    CHECK_THROWS_AS(hsw::fd_wait(pipe.fds[0], POLLIN, 0s), hsw::timeout);
    CHECK_THROWS_AS(hsw::fd_wait(pipe.fds[0], POLLIN, -5s), hsw::timeout);
    CHECK(number_of([] { hsw::fd_wait(-1, POLLIN); }) == EBADF);

    // Of two, one is thrown at and one is killed; the third gets what comes.
    std::string told;
    bool unwound = false;
    auto one = hsw::spawn([&] {
        try {
            hsw::fd_wait(pipe.fds[0], POLLIN, std::chrono::hours(24 * 365 * 1000));
        } catch (const thrown& error) {
            told = error.what();
        }
    });
    auto other = hsw::spawn([&] {
        struct mark {
            bool& set;
            ~mark() { set = true; }
        } const at_end{unwound};
        hsw::fd_wait(pipe.fds[0], POLLIN);
        FAIL_CHECK("it was killed");
    });
    short ready = 0;
    const auto third = hsw::spawn([&] { ready = hsw::fd_wait(pipe.fds[0], POLLIN, 20s); });
    hsw::schedule();
    one.raise(thrown("a word"));
    other.kill();
    CHECK(told == "a word");
    CHECK(unwound);
    CHECK(write(pipe.fds[1], "x", 1) == 1);
    hsw::run_until_idle();
    CHECK(ready == POLLIN);
}

TEST_CASE("a connection has options, addresses and vectors") {
    const no_leaks check;
    auto both = connection();
    hsw::tcp_stream &one = both.first, &other = both.second;
    CHECK(one.local_address() == other.peer_address());
    CHECK(one.local_address() != one.peer_address());
    CHECK(one.local_address().port() == one.port());
    CHECK(one.peer_address().text() == "127.0.0.1:" + std::to_string(other.port()));

    CHECK_FALSE(one.nodelay());
    one.set_nodelay(true);
    CHECK(one.nodelay());
    one.set_ttl(12);
    CHECK(one.ttl() == 12);
    CHECK(number_of([&] { one.set_ttl(256); }) == EINVAL);
    CHECK(one.linger() == hsw::forever);
    one.set_linger(3s);
    CHECK(one.linger() == 3s);
    one.set_linger(hsw::forever);
    CHECK(one.linger() == hsw::forever);
    CHECK_FALSE(one.keepalive());
    one.set_keepalive(hsw::keepalive{20s, 1500ms, 5});
    const auto kept = one.keepalive();
    REQUIRE(kept);
    CHECK(kept->idle == 20s);
    CHECK(kept->interval == 2s);
    CHECK(kept->probes == 5);
    one.set_keepalive(std::nullopt);
    CHECK_FALSE(one.keepalive());
    CHECK_THROWS_AS(one.set_keepalive(hsw::keepalive{0s, 1s, 5}), hsw::usage_error);
    one.set_receive_buffer_size(20000);
    CHECK(one.receive_buffer_size() >= 20000);
    one.set_send_buffer_size(20000);
    CHECK(one.send_buffer_size() >= 20000);
    CHECK_THROWS_AS(one.set_send_buffer_size(std::size_t{1} << 40), hsw::usage_error);
    CHECK(one.read_timeout() == hsw::forever);
    one.set_read_timeout(10ms);
    one.set_write_timeout(20s);
    CHECK(one.read_timeout() == 10ms);
    CHECK(one.write_timeout() == 20s);
    char bytes[16];
    CHECK_THROWS_AS(one.read(bytes, 1), hsw::timeout);
    CHECK_THROWS_AS(one.set_read_timeout(0s), hsw::usage_error);
    CHECK_THROWS_AS(one.set_timeout(-1s), hsw::usage_error);

    char first[] = "hel", second[] = "lo";
    const hsw_buffer pieces[] = {{first, 3}, {second, 2}};
    std::size_t sent = 0;
    other.write_all_vectored(pieces, 2, &sent);
    CHECK(sent == 5);
    one.set_read_timeout(20s);
    CHECK(one.peek(bytes, 1) == 1);
    std::string got;
    while (got.size() < 5) {
        char left[2], right[3];
        const hsw_buffer room[] = {{left, 2}, {right, 3}};
        const std::size_t n = one.read_vectored(room, 2);
        REQUIRE(n > 0);
        got.append(left, std::min<std::size_t>(n, 2));
        got.append(right, n - std::min<std::size_t>(n, 2));
    }
    CHECK(got == "hello");
    other.end_writing();
    CHECK(one.read(bytes, 1) == 0);
    other.end_reading();
    CHECK(other.read(bytes, 1) == 0);
    CHECK(one.take_error() == 0);
    int value = 0;
    socklen_t size = sizeof value;
    CHECK(getsockopt(one.fd(), IPPROTO_TCP, TCP_NODELAY, &value, &size) == 0);
    CHECK(value == 1);
    one.close();
    CHECK_THROWS_AS(one.fd(), hsw::io_error);
    CHECK_THROWS_AS(one.nodelay(), hsw::io_error);
    const hsw::tcp_stream moved = std::move(other);
    CHECK_THROWS_AS(other.nodelay(), hsw::usage_error);
}

TEST_CASE("a write of several pieces that has no more time says how much was sent") {
    const no_leaks check;
    auto both = connection();
    std::vector<char> data(8 << 20, 'x');
    const hsw_buffer pieces[] = {{data.data(), data.size()}, {data.data(), data.size()}};
    both.first.set_write_timeout(20ms);
    std::size_t sent = 0;
    CHECK_THROWS_AS(both.first.write_all_vectored(pieces, 2, &sent), hsw::timeout);
    CHECK(sent > 0);
    CHECK(sent < 2 * data.size());
    std::size_t heard = 0;
    both.first.end_writing();
    for (std::size_t n = 1; n != 0; heard += n) {
        n = both.second.read(data.data(), data.size());
    }
    CHECK(heard == sent);
}

TEST_CASE("a listener has a timeout, buffers and an address") {
    const no_leaks check;
    hsw::tcp_listener listener("127.0.0.1");
    CHECK(listener.local_address() == hsw::address("127.0.0.1", listener.port()));
    listener.set_timeout(10ms);
    CHECK(listener.read_timeout() == 10ms);
    CHECK_THROWS_AS(listener.accept(), hsw::timeout);
    listener.set_receive_buffer_size(10000);
    CHECK(listener.receive_buffer_size() >= 10000);
    CHECK(number_of([&] { hsw::tcp_listener("127.0.0.1", listener.port()); }) == EADDRINUSE);
    CHECK_THROWS_AS(hsw::tcp_listener("localhost"), hsw::usage_error);
    CHECK_THROWS_AS(hsw::address("localhost", 1), hsw::usage_error);
    CHECK(hsw::address("::1", 1).text() == "[::1]:1");
    CHECK(hsw::address("::1", 1) != hsw::address("::1", 2));
}

TEST_CASE("hosts are looked up, and look-ups and bursts have settings") {
    const no_leaks check;
    CHECK(hsw::lookup("::1", 1, 0s) == std::vector<hsw::address>{hsw::address("::1", 1)});
    hsw_lookup_settings settings = hsw::console_lookup_settings();
    CHECK(settings.names == 16);
    hsw::configure_lookups(settings);
    const auto found = hsw::lookup("localhost", 1, 60s);
    REQUIRE(!found.empty());
    CHECK(hsw::lookup("localhost", 1, 0s) == found);
    CHECK_THROWS_AS(
        for (int i = 0; i < 50; ++i) {
            hsw::forget_lookup("localhost");
            // No time for another look-up, unless a worker is very fast.
            hsw::lookup("localhost", 1, 0s);
        },
        hsw::timeout);
    hsw::forget_lookups();
    settings.threads = 0;
    CHECK_THROWS_AS(hsw::configure_lookups(settings), hsw::usage_error);
    hsw::configure_lookups(hsw::default_lookup_settings());
    CHECK_THROWS_AS(hsw::lookup("no host's name", 1), hsw::io_error);
    CHECK_THROWS_AS(hsw::lookup(std::string("a\0b", 3), 1), hsw::usage_error);

    const std::size_t before = hsw::loop_burst();
    hsw::set_loop_burst(4096);
    CHECK(hsw::loop_burst() == 4096);
    hsw::set_loop_burst(before);
}

TEST_CASE("UDP sockets send to each other, and say what was cut") {
    const no_leaks check;
    hsw::udp_socket here("127.0.0.1"), there("127.0.0.1");
    here.set_timeout(20s);
    there.set_timeout(20s);
    char bytes[3];
    const auto answers = hsw::spawn([there]() mutable {
        char buffer[16];
        const hsw::datagram got = there.receive(buffer, sizeof buffer);
        there.send_to(buffer, got.size, got.from);
    });
    here.send_to("hello", 5, there.local_address());
    CHECK(here.peek_from(bytes, 1).length == 5);
    const hsw::datagram got = here.receive(bytes, sizeof bytes);
    CHECK(std::string(bytes, got.size) == "hel");
    CHECK(got.length == 5);
    CHECK(got.from == there.local_address());
    CHECK(got.from.port() == there.port());
    here.connect(there.local_address());
    CHECK(here.peer_address() == there.local_address());
    here.send("", 0);
    CHECK(there.receive(bytes, sizeof bytes).length == 0);
    here.set_read_timeout(10ms);
    CHECK_THROWS_AS(here.receive(bytes, sizeof bytes), hsw::timeout);
    CHECK(number_of([&] { there.send("x", 1); }) == EDESTADDRREQ);
    CHECK_THROWS_AS(here.connect(hsw::address::unix_name("/nowhere")), hsw::usage_error);
    here.close();
    CHECK_THROWS_AS(here.send("x", 1), hsw::io_error);
}

TEST_CASE("a UDP socket has options and groups") {
    const no_leaks check;
    hsw::udp_socket socket("0.0.0.0");
    CHECK_FALSE(socket.broadcast());
    socket.set_broadcast(true);
    CHECK(socket.broadcast());
    socket.set_ttl(5);
    CHECK(socket.ttl() == 5);
    CHECK(socket.multicast_loop_v4());
    socket.set_multicast_loop_v4(false);
    CHECK_FALSE(socket.multicast_loop_v4());
    CHECK(socket.multicast_ttl_v4() == 1);
    socket.set_multicast_ttl_v4(3);
    CHECK(socket.multicast_ttl_v4() == 3);
    socket.set_send_buffer_size(20000);
    CHECK(socket.send_buffer_size() >= 20000);
    socket.join_multicast_v4("239.255.77.4", "127.0.0.1");
    CHECK(number_of([&] { socket.join_multicast_v4("239.255.77.4", "127.0.0.1"); }) == EADDRINUSE);
    socket.leave_multicast_v4("239.255.77.4", "127.0.0.1");
    CHECK_THROWS_AS(socket.join_multicast_v4("ff12::1234"), hsw::usage_error);
    CHECK_THROWS_AS(socket.join_multicast_v6("239.255.77.4"), hsw::usage_error);
    CHECK_THROWS_AS(socket.leave_multicast_v6("nowhere"), hsw::usage_error);
    const auto one = hsw::udp_socket::shared("127.0.0.1", 0);
    const auto other = hsw::udp_socket::shared("127.0.0.1", one.port());
    CHECK(other.port() == one.port());
    CHECK(number_of([&] { hsw::udp_socket("127.0.0.1", one.port()); }) == EADDRINUSE);
    CHECK_THROWS_AS(hsw::udp_socket("localhost"), hsw::usage_error);
}

TEST_CASE("Unix connections and datagrams have names") {
    const no_leaks check;
    const std::string name = "@hsw-cpp-net-" + std::to_string(getpid());
    char bytes[8];
    {
        hsw::unix_listener listener(name);
        CHECK(listener.local_address() == hsw::address::unix_name(name));
        CHECK(listener.local_address().text() == name);
        auto one = hsw::unix_stream::connect(name, 20s);
        auto other = listener.accept();
        CHECK(one.peer_address() == other.local_address());
        CHECK(one.local_address().text().empty());
        one.write_all("data", 4);
        CHECK(other.read(bytes, sizeof bytes) == 4);
        one.end_writing();
        CHECK(other.read(bytes, sizeof bytes) == 0);
        listener.set_timeout(5ms);
        CHECK_THROWS_AS(listener.accept(), hsw::timeout);
        CHECK(number_of([&] { hsw::unix_listener again(name); }) == EADDRINUSE);
    }
    CHECK(number_of([&] { hsw::unix_stream::connect(name); }) == ECONNREFUSED);
    CHECK_THROWS_AS(hsw::unix_stream::connect(std::string(200, 'x')), hsw::usage_error);
    // Not the name that ends there.
    CHECK_THROWS_AS(hsw::unix_listener(name + std::string(1, '\0') + "x"), hsw::usage_error);
    CHECK_THROWS_AS(hsw::unix_datagram(name + std::string(1, '\0')), hsw::usage_error);
    CHECK_THROWS_AS(hsw::address::unix_name(""), hsw::usage_error);

    auto streams = hsw::unix_stream::pair();
    streams.first.write_all("x", 1);
    CHECK(streams.second.read(bytes, sizeof bytes) == 1);

    hsw::unix_datagram here(name), sender;
    sender.send_to("hello", 5, hsw::address::unix_name(name));
    const hsw::datagram got = here.receive(bytes, 2);
    CHECK(got.size == 2);
    CHECK(got.length == 5);
    CHECK(got.from.text().empty());
    sender.connect(here.local_address());
    sender.send("x", 1);
    CHECK(here.receive(bytes, sizeof bytes).size == 1);
    auto datagrams = hsw::unix_datagram::pair();
    datagrams.first.send("ab", 2);
    CHECK(datagrams.second.peek_from(bytes, sizeof bytes).length == 2);
    CHECK(datagrams.second.receive(bytes, sizeof bytes).size == 2);
    datagrams.second.set_read_timeout(5ms);
    CHECK_THROWS_AS(datagrams.second.receive(bytes, sizeof bytes), hsw::timeout);
}
