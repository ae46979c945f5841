#include "origin.hpp"

#include "content.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

namespace host {
namespace {

constexpr std::size_t buffer_size = 64 * 1024;
constexpr std::size_t small_piece = 1371; // no divisor of anything: pieces straddle every boundary
constexpr std::size_t longest_request = 16 * 1024;

/// A file descriptor that closes itself.
class descriptor {
public:
    explicit descriptor(int fd = -1) noexcept : fd_(fd) {}
    descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    descriptor& operator=(descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~descriptor() { reset(); }

    int get() const noexcept { return fd_; }
    void reset() noexcept {
        if (fd_ >= 0) {
            ::close(fd_);
            fd_ = -1;
        }
    }

private:
    int fd_;
};

void make_nonblocking(int fd) {
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL, 0) | O_NONBLOCK);
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

enum class answer { file, chunked, drip, flip, shortened, cut, reset, garbage, silent, stall, missing };

struct request {
    answer kind = answer::missing;
    std::uint64_t size = 0;
};

bool parse_size(const std::string& text, std::uint64_t& size) {
    if (text.empty() || text.size() > 15 || text.find_first_not_of("0123456789") != std::string::npos) {
        return false;
    }
    size = std::stoull(text);
    return true;
}

request parse_path(const std::string& path) {
    static const std::pair<const char*, answer> sized[] = {
        {"/file/", answer::file},   {"/chunked/", answer::chunked}, {"/drip/", answer::drip},   {"/flip/", answer::flip},
        {"/short/", answer::shortened}, {"/cut/", answer::cut},     {"/reset/", answer::reset},
    };
    static const std::pair<const char*, answer> plain[] = {
        {"/garbage", answer::garbage}, {"/silent", answer::silent}, {"/stall", answer::stall}};
    request out;
    for (const auto& [prefix, kind] : sized) {
        const std::string begin = prefix;
        if (path.compare(0, begin.size(), begin) == 0 && parse_size(path.substr(begin.size()), out.size)) {
            out.kind = kind;
        }
    }
    for (const auto& [name, kind] : plain) {
        if (path == name) {
            out.kind = kind;
        }
    }
    return out;
}

/// One client: reads a request head, then sends what was asked for.
class connection {
public:
    explicit connection(descriptor socket) : socket_(std::move(socket)) {
        make_nonblocking(socket_.get());
        const int on = 1;
        ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }

    int fd() const noexcept { return socket_.get(); }
    bool finished() const noexcept { return socket_.get() < 0; }
    short wanted() const noexcept { return sending_ ? POLLOUT : POLLIN; }

    void ready() {
        if (sending_) {
            send_some();
        } else {
            read_some();
        }
    }

private:
    void read_some() {
        char bytes[4096];
        const ssize_t n = ::recv(socket_.get(), bytes, sizeof bytes, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            socket_.reset(); // the client has gone
            return;
        }
        if (answered_) {
            return; // whatever comes after the request is dropped
        }
        head_.append(bytes, static_cast<std::size_t>(n));
        if (head_.find("\r\n\r\n") != std::string::npos) {
            begin_answer();
        } else if (head_.size() > longest_request) {
            socket_.reset();
        }
    }

    void begin_answer() {
        answered_ = true;
        const std::size_t from = head_.find(' ') + 1;
        const std::size_t to = head_.find(' ', from);
        const bool get = head_.compare(0, 4, "GET ") == 0 && to != std::string::npos;
        request_ = get ? parse_path(head_.substr(from, to - from)) : request{};
        limit_ = request_.size;
        switch (request_.kind) {
        case answer::stall:
            return; // stays in the reading state until the client gives up
        case answer::silent:
            socket_.reset();
            return;
        case answer::garbage:
            append("\x01\x02 this is no HTTP at all\r\n\r\n");
            limit_ = 0;
            break;
        case answer::missing:
            append("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            limit_ = 0;
            break;
        case answer::chunked:
        case answer::cut:
            append("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
            break;
        default:
            append("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: "
                   + std::to_string(request_.size) + "\r\nConnection: close\r\n\r\n");
            break;
        }
        if (request_.kind == answer::shortened || request_.kind == answer::reset || request_.kind == answer::cut) {
            limit_ = request_.size / 2;
        }
        sending_ = true;
        send_some();
    }

    void send_some() {
        // A bound, so that one big file does not keep the others waiting.
        for (int turn = 0; turn < 4; ++turn) {
            if (sent_ == out_.size() && !refill()) {
                return;
            }
            const ssize_t n = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
            if (n < 0) {
                if (errno != EAGAIN && errno != EINTR) {
                    socket_.reset();
                }
                return;
            }
            sent_ += static_cast<std::size_t>(n);
        }
    }

    /// Puts the next piece of the answer into the buffer; false when there is none and the answer has been ended.
    bool refill() {
        out_.clear();
        sent_ = 0;
        if (made_ == limit_) {
            if (last_chunk()) {
                return true;
            }
            end_answer();
            return false;
        }
        const bool chunks = request_.kind == answer::chunked || request_.kind == answer::cut;
        const bool small = chunks || request_.kind == answer::drip;
        const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(limit_ - made_, small ? small_piece : buffer_size));
        if (chunks) {
            char line[32];
            std::snprintf(line, sizeof line, "%zx\r\n", request_.kind == answer::cut && made_ + size == limit_ ? size + 1 : size);
            append(line);
        }
        const std::size_t at = out_.size();
        out_.resize(at + size);
        fill_content(request_.size, made_, out_.data() + at, size);
        if (request_.kind == answer::flip && made_ == 0) {
            out_[at + size / 2] ^= 1;
        }
        made_ += size;
        if (chunks && !(request_.kind == answer::cut && made_ == limit_)) {
            append("\r\n");
        }
        return true;
    }

    /// The end mark of a chunked answer, once.
    bool last_chunk() {
        if (request_.kind != answer::chunked || last_chunk_made_) {
            return false;
        }
        last_chunk_made_ = true;
        append("0\r\n\r\n");
        return true;
    }

    void end_answer() {
        if (request_.kind == answer::reset) {
            const linger now = {1, 0}; // close() sends RST
            ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
            socket_.reset();
            return;
        }
        ::shutdown(socket_.get(), SHUT_WR);
        sending_ = false; // and wait for the client to close, or unread bytes of it would turn our close into a reset
    }

    void append(const std::string& text) { out_.insert(out_.end(), text.begin(), text.end()); }

    descriptor socket_;
    std::string head_;
    bool answered_ = false;
    bool sending_ = false;
    request request_;
    std::uint64_t limit_ = 0; // bytes of the file to send in all
    std::uint64_t made_ = 0;  // of them, put into the buffer so far
    bool last_chunk_made_ = false;
    std::vector<std::uint8_t> out_;
    std::size_t sent_ = 0; // of out_
};

} // namespace

class origin::server {
public:
    explicit server(std::uint16_t port) {
        listener_ = descriptor(::socket(AF_INET, SOCK_STREAM, 0));
        int ends[2] = {-1, -1};
        if (listener_.get() < 0 || ::pipe(ends) != 0) {
            fail(port);
        }
        stop_reader_ = descriptor(ends[0]);
        stop_writer_ = descriptor(ends[1]);
        make_nonblocking(listener_.get());
        const int on = 1;
        ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0
            || ::listen(listener_.get(), 64) != 0) {
            fail(port);
        }
        socklen_t size = sizeof address;
        ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
    }

    std::uint16_t port() const noexcept { return port_; }

    void stop() noexcept {
        const char byte = 0;
        const ssize_t ignored = ::write(stop_writer_.get(), &byte, 1);
        static_cast<void>(ignored);
    }

    void serve() {
        std::vector<pollfd> polled;
        for (;;) {
            polled.clear();
            polled.push_back({stop_reader_.get(), POLLIN, 0});
            polled.push_back({listener_.get(), POLLIN, 0});
            for (const connection& client : clients_) {
                polled.push_back({client.fd(), client.wanted(), 0});
            }
            if (::poll(polled.data(), static_cast<nfds_t>(polled.size()), -1) < 0) {
                continue; // EINTR; anything else would be a mistake of ours that the next turn meets again
            }
            if (polled[0].revents != 0) {
                return;
            }
            for (std::size_t i = 0; i < clients_.size(); ++i) {
                if (polled[i + 2].revents != 0) {
                    clients_[i].ready();
                }
            }
            clients_.erase(std::remove_if(clients_.begin(), clients_.end(), [](const connection& c) { return c.finished(); }),
                           clients_.end());
            if (polled[1].revents != 0) {
                const int fd = ::accept(listener_.get(), nullptr, nullptr);
                if (fd >= 0) {
                    clients_.emplace_back(descriptor(fd));
                }
            }
        }
    }

private:
    [[noreturn]] static void fail(std::uint16_t port) {
        throw std::system_error(errno, std::generic_category(), "port " + std::to_string(port) + " of the embedded origin");
    }

    descriptor listener_;
    descriptor stop_reader_;
    descriptor stop_writer_;
    std::uint16_t port_ = 0;
    std::vector<connection> clients_;
};

origin::origin(std::uint16_t port) : server_(std::make_unique<server>(port)) {
    port_ = server_->port();
    thread_ = std::thread([this] { server_->serve(); });
}

origin::~origin() {
    server_->stop();
    thread_.join();
}

std::string origin::url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }

bool content_path(const std::string& path, std::uint64_t& size) {
    const request what = parse_path(path);
    size = what.size;
    switch (what.kind) {
    case answer::garbage:
    case answer::silent:
    case answer::stall:
    case answer::missing:
        return false;
    default:
        return true;
    }
}

} // namespace host
