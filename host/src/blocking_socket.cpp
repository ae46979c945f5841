#include "blocking_socket.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <memory>
#include <system_error>

namespace host {
namespace {

/// Connects within the time; 0 or the error number.
int connect_within(int fd, const addrinfo& to, double seconds) {
    const int flags = ::fcntl(fd, F_GETFL, 0);
    ::fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (::connect(fd, to.ai_addr, to.ai_addrlen) != 0) {
        if (errno != EINPROGRESS) {
            return errno;
        }
        pollfd wait = {fd, POLLOUT, 0};
        const int ready = ::poll(&wait, 1, static_cast<int>(std::lround(std::fmin(seconds * 1000, 1e9))));
        if (ready <= 0) {
            return ready == 0 ? ETIMEDOUT : errno;
        }
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
            return error;
        }
    }
    ::fcntl(fd, F_SETFL, flags);
    return 0;
}

} // namespace

std::string no_progress(double timeout_seconds) {
    char text[64];
    std::snprintf(text, sizeof text, "no progress for %g s", timeout_seconds);
    return text;
}

void blocking_socket::fail(int code) const {
    if (code == EAGAIN || code == EWOULDBLOCK || code == ETIMEDOUT) {
        throw std::runtime_error(no_progress(timeout_seconds_));
    }
    throw std::runtime_error(std::generic_category().message(code));
}

blocking_socket::blocking_socket(const std::string& host, std::uint16_t port, double timeout_seconds)
    : timeout_seconds_(timeout_seconds) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int looked_up = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (looked_up != 0) {
        throw std::runtime_error("cannot find '" + host + "': " + ::gai_strerror(looked_up));
    }
    const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> addresses(found, &::freeaddrinfo);
    int error = EADDRNOTAVAIL;
    for (const addrinfo* to = found; to != nullptr; to = to->ai_next) {
        const int fd = ::socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, to->ai_protocol);
        if (fd < 0) {
            error = errno;
            continue;
        }
        error = connect_within(fd, *to, timeout_seconds);
        if (error == 0) {
            fd_ = fd;
            break;
        }
        ::close(fd);
    }
    if (fd_ < 0) {
        fail(error);
    }
    timeval limit{};
    limit.tv_sec = static_cast<decltype(limit.tv_sec)>(timeout_seconds);
    limit.tv_usec = static_cast<decltype(limit.tv_usec)>(std::fmod(timeout_seconds, 1.0) * 1e6);
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

blocking_socket::~blocking_socket() {
    if (fd_ >= 0) {
        ::close(fd_);
    }
}

void blocking_socket::write_all(const char* data, std::size_t size) {
    while (size != 0) {
        const ssize_t n = ::send(fd_, data, size, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            fail(errno);
        }
        data += n;
        size -= static_cast<std::size_t>(n);
    }
}

std::size_t blocking_socket::read_full(char* data, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t n = ::recv(fd_, data + done, size - done, 0);
        if (n == 0) {
            break;
        }
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            fail(errno);
        }
        done += static_cast<std::size_t>(n);
    }
    return done;
}

} // namespace host
