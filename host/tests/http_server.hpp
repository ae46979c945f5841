// A server for the tests of the HTTP client, on plain POSIX sockets: each connection has a thread, and what is answered is the test's.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace test {

/// A request as it has come. A body in chunks has been put together.
struct http_request {
    std::string method;
    std::string target;
    std::string head; // all lines, names in lower case
    std::string body;
    bool chunked = false;

    /// The value of a header field, whose name is in lower case; "" if there is none.
    std::string header(const std::string& name) const {
        const std::size_t at = head.find("\r\n" + name + ": ");
        if (at == std::string::npos) {
            return "";
        }
        const std::size_t from = at + 2 + name.size() + 2;
        return head.substr(from, head.find("\r\n", from) - from);
    }
};

class http_server {
public:
    /// Answers a request on the descriptor; whether the connection stays.
    using answer = std::function<bool(const http_request&, int fd)>;

    explicit http_server(answer how) : answer_(std::move(how)), listener_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(listener_, 64) != 0 ||
            ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
            throw std::runtime_error("no port for a server");
        }
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept(); });
    }
    ~http_server() {
        release();
        ending_ = true;
        ::shutdown(listener_, SHUT_RDWR); // accept() fails
        acceptor_.join();
        ::close(listener_);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            for (const int fd : open_) {
                ::shutdown(fd, SHUT_RDWR);
            }
        }
        for (std::thread& thread : threads_) {
            thread.join();
        }
    }
    http_server(const http_server&) = delete;
    http_server& operator=(const http_server&) = delete;

    std::uint16_t port() const { return port_; }
    std::string url(const std::string& target) const { return "http://127.0.0.1:" + std::to_string(port_) + target; }
    /// Connections that there were.
    std::size_t connections() const { return connections_; }

    /// Waits in an answer until the test releases it.
    void hold() {
        std::unique_lock<std::mutex> lock(mutex_);
        released_changed_.wait(lock, [this] { return released_; });
    }
    void release() {
        const std::lock_guard<std::mutex> lock(mutex_);
        released_ = true;
        released_changed_.notify_all();
    }

    /// Sends it; whether the client was there.
    static bool send(int fd, const std::string& text) {
        for (std::size_t sent = 0; sent < text.size();) {
            const ssize_t n = ::send(fd, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
            if (n <= 0) {
                return false;
            }
            sent += static_cast<std::size_t>(n);
        }
        return true;
    }
    /// Sends an answer with its length.
    static bool reply(int fd, const std::string& status, const std::string& body, const std::string& fields = "") {
        return send(fd, "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + fields + "\r\n" + body);
    }
    /// The connection is reset, not ended, when it is closed.
    static bool reset(int fd) {
        const linger now = {1, 0};
        ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        return false;
    }

private:
    void accept() {
        for (;;) {
            const int fd = ::accept(listener_, nullptr, nullptr);
            if (fd < 0 || ending_) {
                if (fd >= 0) {
                    ::close(fd);
                }
                return;
            }
            ++connections_;
            const std::lock_guard<std::mutex> lock(mutex_);
            open_.push_back(fd);
            threads_.emplace_back([this, fd] { serve(fd); });
        }
    }

    void serve(int fd) {
        std::string buffer;
        http_request request;
        while (read_request(fd, buffer, request) && answer_(request, fd)) {
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        for (int& open : open_) {
            if (open == fd) {
                open = open_.back();
                open_.pop_back();
                break;
            }
        }
        ::close(fd);
    }

    static bool more(int fd, std::string& buffer) {
        char bytes[4096];
        const ssize_t n = ::recv(fd, bytes, sizeof bytes, 0);
        if (n <= 0) {
            return false;
        }
        buffer.append(bytes, static_cast<std::size_t>(n));
        return true;
    }

    /// Takes `size` bytes off the buffer, which come first.
    static bool take(int fd, std::string& buffer, std::size_t size, std::string& out) {
        while (buffer.size() < size) {
            if (!more(fd, buffer)) {
                return false;
            }
        }
        out.append(buffer, 0, size);
        buffer.erase(0, size);
        return true;
    }
    static bool take_until(int fd, std::string& buffer, const std::string& end, std::string& out) {
        std::size_t at = 0;
        while ((at = buffer.find(end)) == std::string::npos) {
            if (!more(fd, buffer)) {
                return false;
            }
        }
        return take(fd, buffer, at + end.size(), out);
    }

    static bool read_request(int fd, std::string& buffer, http_request& out) {
        out = {};
        if (!take_until(fd, buffer, "\r\n\r\n", out.head)) {
            return false;
        }
        const std::size_t first = out.head.find(' ');
        const std::size_t second = out.head.find(' ', first + 1);
        out.method = out.head.substr(0, first);
        out.target = out.head.substr(first + 1, second - first - 1);
        out.chunked = out.header("transfer-encoding") == "chunked";
        if (!out.chunked) {
            return take(fd, buffer, std::strtoul(out.header("content-length").c_str(), nullptr, 10), out.body);
        }
        for (;;) {
            std::string line, end;
            if (!take_until(fd, buffer, "\r\n", line)) {
                return false;
            }
            const std::size_t size = std::strtoul(line.c_str(), nullptr, 16);
            if (!take(fd, buffer, size, out.body) || !take(fd, buffer, 2, end)) {
                return false;
            }
            if (size == 0) {
                return true;
            }
        }
    }

    answer answer_;
    int listener_;
    std::uint16_t port_ = 0;
    std::atomic<bool> ending_{false};
    std::atomic<std::size_t> connections_{0};
    std::mutex mutex_;
    std::condition_variable released_changed_;
    bool released_ = false;
    std::vector<int> open_;
    std::vector<std::thread> threads_;
    std::thread acceptor_;
};

} // namespace test
