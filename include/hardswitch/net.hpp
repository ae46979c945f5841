// Sockets, and waiting for any descriptor. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_NET_HPP
#define HARDSWITCH_NET_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "main_loop.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hsw {

/// poll() with POSIX's contract: it fails (io_error) only with an error of the call, never with that of a socket. Fills in `revents`;
/// returns how many descriptors have any, 0 after `limit`. `backend`: the calls that are used; null: the system's. Blocks the thread.
template <class Rep = std::int64_t, class Period = std::nano>
std::size_t poll(hsw_pollfd* fds, std::size_t count, std::chrono::duration<Rep, Period> limit = forever, const hsw_net_backend* backend = nullptr) {
    std::size_t ready = 0;
    detail::check(hsw_poll(backend, fds, count, detail::nanoseconds(limit), &ready));
    return ready;
}

/// As poll, with a signal mask (a `const sigset_t*`) meanwhile. Null: the thread's.
template <class Rep = std::int64_t, class Period = std::nano>
std::size_t ppoll(hsw_pollfd* fds, std::size_t count, const void* mask, std::chrono::duration<Rep, Period> limit = forever, const hsw_net_backend* backend = nullptr) {
    std::size_t ready = 0;
    detail::check(hsw_ppoll(backend, fds, count, detail::nanoseconds(limit), mask, &ready));
    return ready;
}

/// select() with POSIX's contract, as poll, for descriptors below `nfds`. The sets are the system's `fd_set`s, or null. (`select` is a
/// wait for channels.) Leaves in them what is ready; returns how many that are.
template <class Rep = std::int64_t, class Period = std::nano>
std::size_t select_fds(int nfds, void* read_set, void* write_set, void* except_set, std::chrono::duration<Rep, Period> limit = forever, const hsw_net_backend* backend = nullptr) {
    std::size_t ready = 0;
    detail::check(hsw_select_fds(backend, nfds, read_set, write_set, except_set, detail::nanoseconds(limit), &ready));
    return ready;
}

/// As select_fds, with a signal mask as in ppoll.
template <class Rep = std::int64_t, class Period = std::nano>
std::size_t pselect_fds(int nfds, void* read_set, void* write_set, void* except_set, const void* mask, std::chrono::duration<Rep, Period> limit = forever, const hsw_net_backend* backend = nullptr) {
    std::size_t ready = 0;
    detail::check(hsw_pselect_fds(backend, nfds, read_set, write_set, except_set, detail::nanoseconds(limit), mask, &ready));
    return ready;
}

/// The pending error of a socket (its number on Linux), which is no longer pending then; 0: none.
inline int take_error(int fd, const hsw_net_backend* backend = nullptr) {
    std::int32_t out = 0;
    detail::check(hsw_take_error(backend, fd, &out));
    return out;
}

/// Has the calling thread's main loop poll through this backend, which is copied; null: through the system's calls.
inline void set_loop_backend(const hsw_net_backend* backend) { detail::check(hsw_loop_set_backend(backend)); }

/// Blocks the tasklet until one of the events of `interest` (the bits of <poll.h>) has come for a descriptor of any kind, or an error or
/// hang-up, which are always waited for. Returns what has come. The descriptor stays the caller's: close it only when no tasklet waits for it.
/// Throws hsw::timeout (a `limit` of zero: it does not wait); io_error with EBADF if it is no open descriptor.
template <class Rep = std::int64_t, class Period = std::nano>
short fd_wait(int fd, short interest, std::chrono::duration<Rep, Period> limit = forever) {
    std::int16_t ready = 0;
    detail::check(hsw_fd_wait(fd, interest, detail::nanoseconds(limit), &ready));
    return ready;
}

/// The address of a socket.
class address {
public:
    /// An IP address ("127.0.0.1", "::1", "fe80::1%2") and a port. Looks no names up. Throws usage_error for another text.
    address(const std::string& ip, std::uint16_t port) { detail::check(hsw_address_parse(ip.c_str(), port, &raw_)); }
    explicit address(const hsw_address& raw) noexcept : raw_(raw) {}
    /// Of a Unix socket: a path, or '@' and an abstract name ("./@x" is a path). Throws usage_error if it is empty or longer than 107 bytes.
    static address unix_name(const std::string& name) {
        hsw_address raw{};
        detail::check(hsw_address_unix(detail::without_zero(name), &raw));
        return address(raw);
    }

    std::uint16_t port() const noexcept { return raw_.port; }
    /// "127.0.0.1:80", "[::1]:80", a path, '@' and an abstract name, or nothing for a Unix socket without a name.
    std::string text() const {
        std::size_t length = 0;
        detail::check(hsw_address_text(&raw_, nullptr, 0, &length));
        std::string out(length + 1, '\0');
        detail::check(hsw_address_text(&raw_, &out[0], out.size(), nullptr));
        out.resize(length);
        return out;
    }
    const hsw_address& raw() const noexcept { return raw_; }

    friend bool operator==(const address& one, const address& other) noexcept {
        return one.raw_.family == other.raw_.family && one.raw_.port == other.raw_.port && one.raw_.scope == other.raw_.scope &&
               one.raw_.name_length == other.raw_.name_length && std::memcmp(one.raw_.ip, other.raw_.ip, sizeof one.raw_.ip) == 0 &&
               std::memcmp(one.raw_.name, other.raw_.name, sizeof one.raw_.name) == 0;
    }
    friend bool operator!=(const address& one, const address& other) noexcept { return !(one == other); }

private:
    hsw_address raw_{};
};

/// The addresses of a host, given by name or address, with this port, in the order in which they are to be tried. Only the tasklet waits
/// while a name is looked up. Throws io_error (the name is unknown, has no address, ...); hsw::timeout.
template <class Rep = std::int64_t, class Period = std::nano>
std::vector<address> lookup(const std::string& host, std::uint16_t port, std::chrono::duration<Rep, Period> limit = forever) {
    std::vector<hsw_address> found(8);
    for (;;) {
        std::size_t count = 0;
        detail::check(hsw_lookup(detail::without_zero(host), port, detail::nanoseconds(limit), found.data(), found.size(), &count));
        const bool all = count <= found.size();
        found.resize(count);
        if (all) {
            return std::vector<address>(found.begin(), found.end());
        }
    }
}

/// What the look-ups of the process may use; hardswitch.h says what each is.
inline hsw_lookup_settings default_lookup_settings() { return detail::ask(&hsw_lookup_settings_default); }
inline hsw_lookup_settings console_lookup_settings() { return detail::ask(&hsw_lookup_settings_console); }
/// Sets it, for all threads. Throws usage_error for 0 threads. Kept answers are forgotten.
inline void configure_lookups(const hsw_lookup_settings& wanted) { detail::check(hsw_lookup_configure(&wanted)); }
/// Forgets the kept answer for a name, or all answers.
inline void forget_lookup(const std::string& host) { detail::check(hsw_lookup_forget(detail::without_zero(host))); }
inline void forget_lookups() { detail::check(hsw_lookup_forget(nullptr)); }

/// A datagram that has come.
struct datagram {
    std::size_t size;   // how many of its bytes are in the buffer
    std::size_t length; // how many it has; if that is more, the rest is lost
    address from;       // who has sent it
};

/// How the system finds out whether a silent peer is still there. Times are rounded up to whole seconds.
struct keepalive {
    std::chrono::nanoseconds idle;     // the silence after which it asks first
    std::chrono::nanoseconds interval; // between questions
    std::uint32_t probes;              // how many may stay without an answer
};

namespace detail {

/// What all sockets share. Copies are handles of the same socket; it is closed with the last one.
class any_socket : public handle<hsw_socket, &hsw_socket_retain, &hsw_socket_release> {
public:
    /// How long a single wait may last, in either direction; of a listener, a wait for a connection. `forever`: no limit.
    template <class Rep, class Period>
    void set_timeout(std::chrono::duration<Rep, Period> limit) {
        check(hsw_socket_set_timeout(raw_, nanoseconds(limit)));
    }
    /// The same of reads, receives and accepts alone.
    template <class Rep, class Period>
    void set_read_timeout(std::chrono::duration<Rep, Period> limit) {
        set(HSW_SOCKET_READ_TIMEOUT, nanoseconds(limit));
    }
    std::chrono::nanoseconds read_timeout() const { return time_of(get(HSW_SOCKET_READ_TIMEOUT)); }
    /// The room for what has come, or for what has not left yet, in bytes. The system may round it, Linux doubles it.
    void set_receive_buffer_size(std::size_t bytes) { set(HSW_SOCKET_RECEIVE_BUFFER, bytes); }
    std::size_t receive_buffer_size() const { return static_cast<std::size_t>(get(HSW_SOCKET_RECEIVE_BUFFER)); }
    void set_send_buffer_size(std::size_t bytes) { set(HSW_SOCKET_SEND_BUFFER, bytes); }
    std::size_t send_buffer_size() const { return static_cast<std::size_t>(get(HSW_SOCKET_SEND_BUFFER)); }
    /// The descriptor, for the system's calls. It stays the socket's: do not close it.
    int fd() const { return ask(&hsw_socket_fd, raw_); }
    /// The pending error (its number on Linux), which is no longer pending then; 0: none.
    int take_error() { return ask(&hsw_socket_take_error, raw_); }
    /// The address of this end.
    address local_address() const { return address(ask(&hsw_socket_local_address, raw_)); }
    /// Closes it at once, for all handles: whoever waits on it fails.
    void close() { check(hsw_socket_close(raw_)); }

protected:
    any_socket() noexcept = default;
    void set(hsw_socket_option option, std::uint64_t value) { check(hsw_socket_set_option(raw_, option, value)); }
    std::uint64_t get(hsw_socket_option option) const {
        std::uint64_t value = 0;
        check(hsw_socket_get_option(raw_, option, &value));
        return value;
    }
};

/// Of sockets that are connections or datagram sockets.
class two_way_socket : public any_socket {
public:
    /// How long a single wait of a write or a send may last.
    template <class Rep, class Period>
    void set_write_timeout(std::chrono::duration<Rep, Period> limit) {
        set(HSW_SOCKET_WRITE_TIMEOUT, nanoseconds(limit));
    }
    std::chrono::nanoseconds write_timeout() const { return time_of(get(HSW_SOCKET_WRITE_TIMEOUT)); }
    /// The address of the other end. Throws io_error (ENOTCONN) if there is none, or if it has gone.
    address peer_address() const { return address(ask(&hsw_socket_peer_address, raw_)); }
};

/// A connection. Buffers may lie on the tasklet's stack, also a sliced one. Failures: io_error, hsw::timeout.
class stream_socket : public two_way_socket {
public:
    /// Receives up to `size` bytes; waits while there are none. 0: the peer has ended the stream.
    std::size_t read(void* buffer, std::size_t size) {
        std::size_t received = 0;
        check(hsw_socket_read(raw_, buffer, size, &received));
        return received;
    }
    /// As read, into several buffers, which do not overlap: each is filled before the next one gets anything.
    std::size_t read_vectored(const hsw_buffer* buffers, std::size_t count) {
        std::size_t received = 0;
        check(hsw_socket_read_vectored(raw_, buffers, count, &received));
        return received;
    }
    /// Sends all of it. `sent` (may be null) gets how much the system has taken, also when this throws: who finds the time over goes on
    /// with the rest.
    void write_all(const void* data, std::size_t size, std::size_t* sent = nullptr) { check(hsw_socket_write(raw_, data, size, sent)); }
    /// As write_all, of several pieces, one after the other. Nothing is written to them.
    void write_all_vectored(const hsw_buffer* pieces, std::size_t count, std::size_t* sent = nullptr) {
        check(hsw_socket_write_vectored(raw_, pieces, count, sent));
    }
    /// Ends the sending: the peer reads to the end of the stream.
    void end_writing() { check(hsw_socket_end_writing(raw_)); }
    /// Ends the receiving: after what has come, readers are at the end of the stream, also those that wait.
    void end_reading() { check(hsw_socket_end_reading(raw_)); }
};

/// A socket that sends and receives datagrams: each is sent whole, or not at all. Buffers may lie on the tasklet's stack, also a sliced
/// one. Failures: io_error, hsw::timeout.
class datagram_socket : public two_way_socket {
public:
    /// From now on sends to this address, and receives only from there. Does not wait.
    void connect(const address& peer) { check(hsw_socket_connect(raw_, &peer.raw())); }
    /// Sends a datagram to the peer that it is connected to; waits while there is no room for it.
    void send(const void* data, std::size_t size) { check(hsw_socket_send(raw_, data, size, nullptr)); }
    /// The same, to an address.
    void send_to(const void* data, std::size_t size, const address& to) { check(hsw_socket_send(raw_, data, size, &to.raw())); }
    /// Waits for a datagram. What does not fit into the buffer is lost; the result says how much that is. Several tasklets may wait: each
    /// gets the next one, in the order in which they began.
    datagram receive(void* buffer, std::size_t size) { return next(&hsw_socket_receive, buffer, size); }
    /// As receive, but the datagram stays to be received again, all of it.
    datagram peek_from(void* buffer, std::size_t size) { return next(&hsw_socket_peek_from, buffer, size); }

private:
    template <class Call>
    datagram next(Call call, void* buffer, std::size_t size) {
        std::size_t received = 0, length = 0;
        hsw_address from{};
        check(call(raw_, buffer, size, &received, &length, &from));
        return datagram{received, length, address(from)};
    }
};

} // namespace detail

/// A TCP connection whose calls block the tasklet, not the thread. Copies are handles of the same connection; it is closed with the
/// last one. Buffers may lie on the tasklet's stack, also a sliced one. Failures: io_error, hsw::timeout.
class tcp_stream : public detail::stream_socket {
public:
    /// Connects to a host given by name or address; names are looked up by a worker.
    template <class Rep = std::int64_t, class Period = std::nano>
    static tcp_stream connect(const std::string& host, std::uint16_t port, std::chrono::duration<Rep, Period> limit = forever) {
        tcp_stream out;
        detail::check(hsw_tcp_connect(host.c_str(), port, detail::nanoseconds(limit), &out.raw_));
        return out;
    }

    /// As read, but the data stays to be read again.
    std::size_t peek(void* buffer, std::size_t size) {
        std::size_t received = 0;
        detail::check(hsw_socket_peek(raw_, buffer, size, &received));
        return received;
    }
    /// The port of this end.
    std::uint16_t port() const { return detail::ask(&hsw_socket_port, raw_); }
    /// Are small writes sent at once, instead of collected (Nagle)?
    void set_nodelay(bool nodelay) { set(HSW_SOCKET_NODELAY, nodelay); }
    bool nodelay() const { return get(HSW_SOCKET_NODELAY) != 0; }
    /// How many routers a packet may pass, 1 to 255.
    void set_ttl(std::uint32_t ttl) { set(HSW_SOCKET_TTL, ttl); }
    std::uint32_t ttl() const { return static_cast<std::uint32_t>(get(HSW_SOCKET_TTL)); }
    /// How long the last close may take to send what was not sent yet, rounded up to whole seconds; the system may block the thread that
    /// long. Zero: that is lost, and the connection reset. `forever`, the default: it is sent in the background.
    template <class Rep, class Period>
    void set_linger(std::chrono::duration<Rep, Period> limit) {
        set(HSW_SOCKET_LINGER, detail::nanoseconds(limit));
    }
    std::chrono::nanoseconds linger() const { return detail::time_of(get(HSW_SOCKET_LINGER)); }
    /// Has the system ask a silent peer whether it is still there; nothing, the default: it does not. Of a peer that is not, users of the
    /// connection are told with io_error (ETIMEDOUT).
    void set_keepalive(const std::optional<hsw::keepalive>& asked) {
        if (!asked) {
            return detail::check(hsw_socket_set_keepalive(raw_, nullptr));
        }
        const hsw_keepalive raw{detail::nanoseconds(asked->idle), detail::nanoseconds(asked->interval), asked->probes};
        detail::check(hsw_socket_set_keepalive(raw_, &raw));
    }
    std::optional<hsw::keepalive> keepalive() const {
        bool on = false;
        hsw_keepalive raw{};
        detail::check(hsw_socket_keepalive(raw_, &on, &raw));
        if (!on) {
            return std::nullopt;
        }
        return hsw::keepalive{detail::time_of(raw.idle_ns), detail::time_of(raw.interval_ns), raw.probes};
    }

private:
    friend class tcp_listener;
    tcp_stream() noexcept {}
};

/// Waits for TCP connections; otherwise as tcp_stream. Its timeout is that of accept().
class tcp_listener : public detail::any_socket {
public:
    /// Listens at an IP address and a port, 0 for any that is free. (The port of a listener that has just been closed can be had at once:
    /// SO_REUSEADDR is set.)
    explicit tcp_listener(const std::string& ip, std::uint16_t port = 0) {
        detail::check(hsw_tcp_listen(ip.c_str(), port, &raw_));
    }
    /// Waits for a connection.
    tcp_stream accept() {
        tcp_stream out;
        detail::check(hsw_tcp_accept(raw_, &out.raw_));
        return out;
    }
    std::uint16_t port() const { return detail::ask(&hsw_socket_port, raw_); }
};

/// A UDP socket whose calls block the tasklet, not the thread.
class udp_socket : public detail::datagram_socket {
public:
    /// With an IP address and a port, 0 for any that is free.
    explicit udp_socket(const std::string& ip, std::uint16_t port = 0) { detail::check(hsw_udp_bind(ip.c_str(), port, &raw_)); }
    /// With an address that others may have as well if they ask for it in this way: each gets what is sent to a group, and one of them what
    /// is sent to the address alone.
    static udp_socket shared(const std::string& ip, std::uint16_t port) {
        udp_socket out;
        detail::check(hsw_udp_bind_shared(ip.c_str(), port, &out.raw_));
        return out;
    }

    std::uint16_t port() const { return detail::ask(&hsw_socket_port, raw_); }
    /// May it send to broadcast addresses? By default it may not.
    void set_broadcast(bool may) { set(HSW_SOCKET_BROADCAST, may); }
    bool broadcast() const { return get(HSW_SOCKET_BROADCAST) != 0; }
    /// How many routers a datagram may pass, 1 to 255.
    void set_ttl(std::uint32_t ttl) { set(HSW_SOCKET_TTL, ttl); }
    std::uint32_t ttl() const { return static_cast<std::uint32_t>(get(HSW_SOCKET_TTL)); }
    /// Does this machine get what it sends to a group, also of IPv6? By default it does.
    void set_multicast_loop_v4(bool gets) { set(HSW_SOCKET_MULTICAST_LOOP, gets); }
    bool multicast_loop_v4() const { return get(HSW_SOCKET_MULTICAST_LOOP) != 0; }
    /// How many routers a datagram to a group may pass, also of IPv6, 0 to 255; 1, the default: none.
    void set_multicast_ttl_v4(std::uint32_t ttl) { set(HSW_SOCKET_MULTICAST_TTL, ttl); }
    std::uint32_t multicast_ttl_v4() const { return static_cast<std::uint32_t>(get(HSW_SOCKET_MULTICAST_TTL)); }
    /// Receives what is sent to the group, by the interface with this address; empty: the system chooses.
    void join_multicast_v4(const std::string& group, const std::string& interface = {}) {
        detail::check(hsw_udp_join_multicast_v4(raw_, group.c_str(), interface.empty() ? nullptr : interface.c_str()));
    }
    void leave_multicast_v4(const std::string& group, const std::string& interface = {}) {
        detail::check(hsw_udp_leave_multicast_v4(raw_, group.c_str(), interface.empty() ? nullptr : interface.c_str()));
    }
    /// The same, by the interface of this number; 0: the system chooses.
    void join_multicast_v6(const std::string& group, std::uint32_t interface = 0) {
        detail::check(hsw_udp_join_multicast_v6(raw_, group.c_str(), interface));
    }
    void leave_multicast_v6(const std::string& group, std::uint32_t interface = 0) {
        detail::check(hsw_udp_leave_multicast_v6(raw_, group.c_str(), interface));
    }

private:
    udp_socket() noexcept {}
};

/// A connection between two processes of this machine. Its names are those of address::unix_name.
class unix_stream : public detail::stream_socket {
public:
    /// Connects to the listener with this name; waits while its queue is full.
    template <class Rep = std::int64_t, class Period = std::nano>
    static unix_stream connect(const std::string& name, std::chrono::duration<Rep, Period> limit = forever) {
        unix_stream out;
        detail::check(hsw_unix_connect(detail::without_zero(name), detail::nanoseconds(limit), &out.raw_));
        return out;
    }
    /// Two connected sockets, without names.
    static std::pair<unix_stream, unix_stream> pair() {
        std::pair<unix_stream, unix_stream> out{unix_stream(), unix_stream()};
        detail::check(hsw_unix_pair(&out.first.raw_, &out.second.raw_));
        return out;
    }

private:
    friend class unix_listener;
    unix_stream() noexcept {}
};

/// Waits for connections of this machine. The file of a path stays when it is closed.
class unix_listener : public detail::any_socket {
public:
    explicit unix_listener(const std::string& name) { detail::check(hsw_unix_listen(detail::without_zero(name), &raw_)); }
    /// Waits for a connection.
    unix_stream accept() {
        unix_stream out;
        detail::check(hsw_unix_accept(raw_, &out.raw_));
        return out;
    }
};

/// A socket for datagrams between processes of this machine. They arrive whole, in order, and none is lost: a sender waits while the
/// receiver's queue is full.
class unix_datagram : public detail::datagram_socket {
public:
    /// Without a name: it can send.
    unix_datagram() { detail::check(hsw_unix_datagram(nullptr, &raw_)); }
    explicit unix_datagram(const std::string& name) { detail::check(hsw_unix_datagram(detail::without_zero(name), &raw_)); }
    /// Two connected sockets, without names.
    static std::pair<unix_datagram, unix_datagram> pair() {
        std::pair<unix_datagram, unix_datagram> out{unix_datagram(nothing{}), unix_datagram(nothing{})};
        detail::check(hsw_unix_datagram_pair(&out.first.raw_, &out.second.raw_));
        return out;
    }

private:
    struct nothing {};
    explicit unix_datagram(nothing) noexcept {}
};

} // namespace hsw

#endif
#endif
