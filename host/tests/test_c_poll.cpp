// hardswitch.h and hardswitch.hpp: poll and select over a system that fails them for one socket.
#include "c_helpers.hpp"

#include <hardswitch.hpp>

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

namespace {

/// A descriptor that is closed at the end.
struct owned {
    int fd;
    explicit owned(int number) : fd(number) { REQUIRE(fd >= 0); }
    owned(owned&& other) noexcept : fd(other.fd) { other.fd = -1; }
    owned(const owned&) = delete;
    owned& operator=(const owned&) = delete;
    owned& operator=(owned&&) = delete;
    ~owned() {
        if (fd >= 0) {
            close(fd);
        }
    }
};

sockaddr_in loopback() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// Two ends of a connection.
std::pair<owned, owned> connection() {
    const owned listener(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address = loopback();
    socklen_t size = sizeof address;
    REQUIRE(bind(listener.fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
    REQUIRE(listen(listener.fd, 1) == 0);
    REQUIRE(getsockname(listener.fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    owned one(socket(AF_INET, SOCK_STREAM, 0));
    REQUIRE(connect(one.fd, reinterpret_cast<sockaddr*>(&address), size) == 0);
    owned other(accept(listener.fd, nullptr, nullptr));
    return {std::move(one), std::move(other)};
}

void wait_for(int fd, short events) {
    pollfd one{fd, events, 0};
    for (int i = 0; i < 500 && (one.revents & events) == 0; ++i) {
        REQUIRE(poll(&one, 1, 20) >= 0);
    }
    REQUIRE((one.revents & events) != 0);
}

/// A connection that its peer has reset, after an urgent byte.
owned lost() {
    auto [one, other] = connection();
    REQUIRE(send(other.fd, "!", 1, MSG_OOB) == 1);
    wait_for(one.fd, POLLPRI);
    const linger at_once{1, 0};
    REQUIRE(setsockopt(other.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once) == 0);
    close(other.fd);
    other.fd = -1;
    wait_for(one.fd, POLLERR);
    return std::move(one);
}

/// A datagram socket that has a datagram, and was told that its peer is gone.
owned unreachable() {
    owned one(socket(AF_INET, SOCK_DGRAM, 0));
    owned other(socket(AF_INET, SOCK_DGRAM, 0));
    sockaddr_in here = loopback(), there = loopback();
    socklen_t size = sizeof here;
    REQUIRE(bind(one.fd, reinterpret_cast<sockaddr*>(&here), size) == 0);
    REQUIRE(bind(other.fd, reinterpret_cast<sockaddr*>(&there), size) == 0);
    REQUIRE(getsockname(one.fd, reinterpret_cast<sockaddr*>(&here), &size) == 0);
    REQUIRE(getsockname(other.fd, reinterpret_cast<sockaddr*>(&there), &size) == 0);
    REQUIRE(connect(one.fd, reinterpret_cast<sockaddr*>(&there), size) == 0);
    REQUIRE(sendto(other.fd, "data", 4, 0, reinterpret_cast<sockaddr*>(&here), size) == 4);
    wait_for(one.fd, POLLIN);
    close(other.fd);
    other.fd = -1;
    REQUIRE(send(one.fd, "?", 1, 0) == 1);
    wait_for(one.fd, POLLERR);
    return one;
}

/// Linux' calls, made to fail for a socket as the console's do.
struct console {
    bool filled;
    std::map<int, int> errors;
    int failures = 0;
    std::uint64_t last_timeout = 0;
    bool complains = false;

    int error_of(int fd) const {
        const auto found = errors.find(fd);
        return found == errors.end() ? 0 : found->second;
    }
    hsw_net_backend backend();
};

console& of(void* context) { return *static_cast<console*>(context); }

timespec time_of(std::uint64_t nanoseconds) {
    return {static_cast<time_t>(nanoseconds / 1000000000U), static_cast<long>(nanoseconds % 1000000000U)};
}

std::int32_t console_poll(void* context, hsw_pollfd* fds, std::size_t count, std::uint64_t timeout_ns, const void* mask) {
    console& self = of(context);
    self.last_timeout = timeout_ns;
    if (self.complains) {
        REQUIRE(hsw_channel_release(hsw_channel{0xdead}) != HSW_OK);
    }
    std::vector<pollfd> answer(count);
    std::transform(fds, fds + count, answer.begin(), [](hsw_pollfd fd) { return pollfd{fd.fd, fd.events, fd.revents}; });
    int error = 0;
    for (const pollfd& fd : answer) {
        error = error != 0 ? error : self.error_of(fd.fd);
    }
    // It fails at once.
    const timespec time = time_of(error != 0 ? 0 : timeout_ns);
    const bool unlimited = error == 0 && timeout_ns == HSW_NO_LIMIT;
    const int n = ppoll(answer.data(), count, unlimited ? nullptr : &time, static_cast<const sigset_t*>(mask));
    if (n < 0) {
        return -errno;
    }
    if (error == 0 || self.filled) {
        std::transform(answer.begin(), answer.end(), fds, [](pollfd fd) { return hsw_pollfd{fd.fd, fd.events, fd.revents}; });
    }
    self.failures += error != 0;
    return error != 0 ? -error : n;
}

std::int32_t console_select(void* context, std::int32_t nfds, void* read, void* write, void* except, std::uint64_t timeout_ns, const void* mask) {
    console& self = of(context);
    fd_set sets[3];
    void* const given[3] = {read, write, except};
    int error = 0;
    for (int i = 0; i < 3; ++i) {
        std::memcpy(&sets[i], given[i], sizeof(fd_set));
        for (int fd = 0; fd < nfds; ++fd) {
            error = error == 0 && FD_ISSET(fd, &sets[i]) ? self.error_of(fd) : error;
        }
    }
    const timespec time = time_of(error != 0 ? 0 : timeout_ns);
    const bool unlimited = error == 0 && timeout_ns == HSW_NO_LIMIT;
    const int n = pselect(nfds, &sets[0], &sets[1], &sets[2], unlimited ? nullptr : &time, static_cast<const sigset_t*>(mask));
    if (n < 0) {
        return -errno;
    }
    for (int i = 0; i < 3 && (error == 0 || self.filled); ++i) {
        std::memcpy(given[i], &sets[i], sizeof(fd_set));
    }
    self.failures += error != 0;
    return error != 0 ? -error : n;
}

std::int32_t console_kind(void*, std::int32_t fd) {
    int kind = 0;
    socklen_t size = sizeof kind;
    REQUIRE(getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &size) == 0);
    return kind == SOCK_DGRAM ? HSW_KIND_DATAGRAM : HSW_KIND_STREAM;
}

std::int32_t console_unread(void*, std::int32_t fd) {
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : -errno;
}

std::int32_t console_urgent(void*, std::int32_t fd) {
    int next = 0; // sockatmark() does not set it before, and Valgrind does not know that the system does
    return ioctl(fd, SIOCATMARK, &next) == 0 ? next : -errno;
}

std::int32_t console_error(void*, std::int32_t fd) {
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : -errno;
}

hsw_net_backend console::backend() {
    hsw_net_backend out{};
    out.context = this;
    out.poll = &console_poll;
    out.select = &console_select;
    out.kind = &console_kind;
    out.unread = &console_unread;
    out.urgent = &console_urgent;
    out.take_error = &console_error;
    return out;
}

} // namespace

TEST_CASE("poll over a system that fails for a socket answers as plain poll does") {
    const owned broken = lost(), told = unreachable();
    const auto [quiet, peer] = connection();
    const short questions[] = {0, POLLIN, POLLOUT, POLLIN | POLLPRI | POLLOUT | POLLRDHUP, POLLRDNORM | POLLWRBAND};
    for (const bool filled : {true, false}) {
        console system{filled, {{broken.fd, ECONNRESET}, {told.fd, ECONNREFUSED}}};
        const hsw_net_backend backend = system.backend();
        for (const short question : questions) {
            pollfd plain[4] = {{quiet.fd, question, 7}, {broken.fd, question, 7}, {-1, question, 7}, {told.fd, question, 7}};
            hsw_pollfd got[4];
            std::memcpy(got, plain, sizeof plain);
            const int n = poll(plain, 4, 0);
            std::size_t ready = 99;
            REQUIRE(hsw_poll(&backend, got, 4, 0, &ready) == HSW_OK);
            CHECK(ready == static_cast<std::size_t>(n));
            for (int i = 0; i < 4; ++i) {
                CAPTURE(filled);
                CAPTURE(question);
                CAPTURE(i);
                CHECK(got[i].revents == plain[i].revents);
            }
        }
        CHECK(system.failures > 4);
    }
    // In C++, and without a backend.
    console system{false, {{broken.fd, ECONNRESET}}};
    const hsw_net_backend backend = system.backend();
    hsw_pollfd one{broken.fd, POLLIN, 0};
    CHECK(hsw::poll(&one, 1, std::chrono::seconds(5), &backend) == 1);
    CHECK(one.revents == (POLLIN | POLLERR | POLLHUP));
    one.revents = 0;
    CHECK(hsw::poll(&one, 1) == 1);
    CHECK(one.revents == (POLLIN | POLLERR | POLLHUP));
    // The error is still there; whoever asks takes it.
    CHECK(hsw::take_error(broken.fd, &backend) == ECONNRESET);
    CHECK(hsw::take_error(broken.fd) == 0);
}

TEST_CASE("select over a system that fails for a socket answers as plain select does") {
    const owned broken = lost(), told = unreachable();
    const auto [quiet, peer] = connection();
    const int nfds = std::max({broken.fd, told.fd, quiet.fd}) + 1;
    for (const bool filled : {true, false}) {
        console system{filled, {{broken.fd, ECONNRESET}, {told.fd, ECONNREFUSED}}};
        const hsw_net_backend backend = system.backend();
        for (int question = 1; question < 8; ++question) {
            for (int members = 1; members < 8; ++members) {
                fd_set plain[3], got[3];
                for (int i = 0; i < 3; ++i) {
                    FD_ZERO(&plain[i]);
                    const int fds[] = {broken.fd, told.fd, quiet.fd};
                    for (int k = 0; k < 3; ++k) {
                        if ((question >> i & 1) != 0 && (members >> k & 1) != 0) {
                            FD_SET(fds[k], &plain[i]);
                        }
                    }
                    got[i] = plain[i];
                }
                timeval now{0, 0};
                const int n = select(nfds, &plain[0], &plain[1], &plain[2], &now);
                std::size_t ready = 99;
                REQUIRE(hsw_select_fds(&backend, nfds, &got[0], &got[1], &got[2], 0, &ready) == HSW_OK);
                CAPTURE(filled);
                CAPTURE(question);
                CAPTURE(members);
                CHECK(ready == static_cast<std::size_t>(n));
                CHECK(std::memcmp(plain, got, sizeof plain) == 0);
            }
        }
        CHECK(system.failures > 4);
    }
    fd_set read;
    FD_ZERO(&read);
    FD_SET(broken.fd, &read);
    CHECK(hsw::select_fds(nfds, &read, nullptr, nullptr) == 1);
    CHECK(FD_ISSET(broken.fd, &read));
}

TEST_CASE("what poll and select cannot use is one clear error, and changes nothing") {
    std::size_t ready = 99;
    hsw_pollfd one{-1, POLLIN, 7};
    CHECK(hsw_poll(nullptr, nullptr, 1, 0, &ready) == HSW_ERR_NULL);
    CHECK(hsw_poll(nullptr, &one, 1, 0, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_poll(nullptr, nullptr, 0, 0, &ready) == HSW_OK);
    CHECK(ready == 0);
    ready = 99;
    CHECK(hsw_poll(nullptr, &one, 1, static_cast<std::uint64_t>(-1000000), &ready) == HSW_ERR_ARGUMENT);
    CHECK(has(last_message(), "-1000000 ns"));
    CHECK(hsw_poll(nullptr, &one, SIZE_MAX, 0, &ready) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EINVAL);
    CHECK(ready == 99);
    // No time at all is enough for what is ready; the longest one is no error.
    const auto [quiet, peer] = connection();
    one = {quiet.fd, POLLOUT, 0};
    CHECK(hsw_poll(nullptr, &one, 1, INT64_MAX, &ready) == HSW_OK);
    CHECK(ready == 1);

    fd_set read;
    FD_ZERO(&read);
    FD_SET(quiet.fd, &read);
    const fd_set before = read;
    for (const int nfds : {-1, 1025, INT32_MAX, INT32_MIN}) {
        CHECK(hsw_select_fds(nullptr, nfds, &read, nullptr, nullptr, 0, &ready) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == EINVAL);
        CHECK(has(last_message(), "nfds is " + std::to_string(nfds)));
    }
    CHECK_THROWS_AS(hsw::select_fds(1025, &read, nullptr, nullptr), hsw::io_error);
    // A number that is no descriptor any more: told by poll, an error of select.
    const int gone = fcntl(quiet.fd, F_DUPFD, 900);
    REQUIRE(gone >= 900);
    close(gone);
    FD_SET(gone, &read);
    const fd_set with_gone = read;
    CHECK(hsw_select_fds(nullptr, gone + 1, &read, nullptr, nullptr, 0, &ready) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EBADF);
    CHECK(std::memcmp(&read, &with_gone, sizeof read) == 0);
    // It is not below this one.
    read = before;
    FD_SET(gone, &read);
    CHECK(hsw_select_fds(nullptr, quiet.fd + 1, &read, nullptr, nullptr, 0, &ready) == HSW_OK);
    one = {gone, POLLIN, 0};
    CHECK(hsw_poll(nullptr, &one, 1, 0, &ready) == HSW_OK);
    CHECK(one.revents == POLLNVAL);
    std::int32_t error = 99;
    CHECK(hsw_take_error(nullptr, gone, &error) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == EBADF);

    // Functions that are not there.
    const hsw_net_backend nothing{};
    one = {quiet.fd, POLLOUT, 0};
    CHECK(hsw_poll(&nothing, &one, 1, 0, &ready) == HSW_ERR_IO);
    CHECK(hsw_last_error_errno() == ENOSYS);
    CHECK(hsw_select_fds(&nothing, 0, nullptr, nullptr, nullptr, 0, &ready) == HSW_ERR_IO);
    CHECK(hsw_take_error(&nothing, quiet.fd, &error) == HSW_ERR_IO);
    CHECK(hsw_loop_set_backend(&nothing) == HSW_ERR_NULL);
}

TEST_CASE("a signal mask holds for the time of the call") {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    REQUIRE(sigaction(SIGUSR2, &action, nullptr) == 0);
    sigset_t blocked, none, before;
    sigemptyset(&none);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    REQUIRE(pthread_sigmask(SIG_BLOCK, &blocked, &before) == 0);
    const auto [quiet, peer] = connection();
    console system{true, {}};
    const hsw_net_backend backend = system.backend();
    const hsw_net_backend* const both[] = {nullptr, &backend};
    for (const hsw_net_backend* const with : both) {
        hsw_pollfd one{quiet.fd, POLLIN, 0};
        std::size_t ready = 99;
        REQUIRE(pthread_kill(pthread_self(), SIGUSR2) == 0);
        CHECK(hsw_ppoll(with, &one, 1, 0, &blocked, &ready) == HSW_OK);
        CHECK(ready == 0);
        CHECK(hsw_ppoll(with, &one, 1, 5000000000U, &none, &ready) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == EINTR);
        REQUIRE(pthread_kill(pthread_self(), SIGUSR2) == 0);
        fd_set read;
        FD_ZERO(&read);
        FD_SET(quiet.fd, &read);
        CHECK(hsw_pselect_fds(with, quiet.fd + 1, &read, nullptr, nullptr, 5000000000U, &none, &ready) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == EINTR);
        CHECK(FD_ISSET(quiet.fd, &read));
        CHECK(hsw::ppoll(&one, 1, &blocked, std::chrono::milliseconds(1), with) == 0);
        CHECK(hsw::pselect_fds(quiet.fd + 1, &read, nullptr, nullptr, &blocked, std::chrono::milliseconds(1), with) == 0);
    }
    REQUIRE(pthread_sigmask(SIG_SETMASK, &before, nullptr) == 0);
}

TEST_CASE("what a backend does with the library leaves its caller's last error alone") {
    console system{true, {}};
    system.complains = true;
    const hsw_net_backend backend = system.backend();
    CHECK(hsw_channel_release(hsw_channel{0xbad}) != HSW_OK);
    const std::string before = last_message();
    const hsw_status status = hsw_last_error_status();
    std::size_t ready = 99;
    CHECK(hsw_poll(&backend, nullptr, 0, 0, &ready) == HSW_OK);
    CHECK(hsw_last_error_status() == status);
    CHECK(last_message() == before);
}

TEST_CASE("a loop polls through a backend of the host's") {
    console system{false, {}};
    const hsw_net_backend backend = system.backend();
    hsw::set_loop_backend(&backend);
    hsw::tcp_listener listener("127.0.0.1");
    std::string got;
    hsw::spawn([listener, &got]() mutable {
        hsw::tcp_stream stream = listener.accept();
        char bytes[16];
        std::size_t n = 0;
        while ((n = stream.read(bytes, sizeof bytes)) > 0) {
            got.append(bytes, n);
        }
    });
    hsw::spawn([port = listener.port()] {
        hsw::tcp_stream stream = hsw::tcp_stream::connect("127.0.0.1", port);
        hsw::sleep(std::chrono::milliseconds(5));
        stream.write_all("through it", 10);
    });
    system.last_timeout = 12345;
    hsw::run_until_idle();
    CHECK(got == "through it");
    CHECK(system.last_timeout != 12345);
    hsw::set_loop_backend(nullptr);
}
