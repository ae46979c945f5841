// A client for HTTP/1.1. A part of hardswitch.hpp, which says what holds for all of it.
#ifndef HARDSWITCH_HTTP_HPP
#define HARDSWITCH_HTTP_HPP

#include "language.hpp"
#ifdef HSW_DETAIL_LANGUAGE

#include "tasklet.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace hsw {

/// A client for HTTP/1.1. The library has it if it was built with the feature `http`, as ci/install builds it; otherwise the linker names the function
/// that it misses.
namespace http {

/// What went wrong with a request; hardswitch.h says what each is.
enum class problem : int {
    none = HSW_HTTP_PROBLEM_NONE,
    bad_url = HSW_HTTP_PROBLEM_BAD_URL,
    bad_header = HSW_HTTP_PROBLEM_BAD_HEADER,
    bad_request = HSW_HTTP_PROBLEM_BAD_REQUEST,
    connect = HSW_HTTP_PROBLEM_CONNECT,
    connection = HSW_HTTP_PROBLEM_CONNECTION,
    too_slow = HSW_HTTP_PROBLEM_TOO_SLOW,
    short_head = HSW_HTTP_PROBLEM_SHORT_HEAD,
    head_too_long = HSW_HTTP_PROBLEM_HEAD_TOO_LONG,
    too_many_interim = HSW_HTTP_PROBLEM_TOO_MANY_INTERIM,
    bad_answer = HSW_HTTP_PROBLEM_BAD_ANSWER,
    unsupported = HSW_HTTP_PROBLEM_UNSUPPORTED,
    bad_redirect = HSW_HTTP_PROBLEM_BAD_REDIRECT,
    too_many_redirects = HSW_HTTP_PROBLEM_TOO_MANY_REDIRECTS,
    request_body = HSW_HTTP_PROBLEM_REQUEST_BODY,
    changed = HSW_HTTP_PROBLEM_CHANGED,
    no_range = HSW_HTTP_PROBLEM_NO_RANGE,
    short_body = HSW_HTTP_PROBLEM_SHORT_BODY,
    body_too_long = HSW_HTTP_PROBLEM_BODY_TOO_LONG,
    status = HSW_HTTP_PROBLEM_STATUS,
    other = HSW_HTTP_PROBLEM_OTHER,
};

/// What a request was doing when it failed.
enum class phase : int {
    preparing = HSW_HTTP_PHASE_PREPARING,
    connecting = HSW_HTTP_PHASE_CONNECTING,
    sending = HSW_HTTP_PHASE_SENDING,
    reading_head = HSW_HTTP_PHASE_READING_HEAD,
    redirecting = HSW_HTTP_PHASE_REDIRECTING,
    reading_body = HSW_HTTP_PHASE_READING_BODY,
};

/// A request that failed by what the server has answered, or not. what() names the method, the URL and the phase. The other failures of requests are
/// hsw::timeout, hsw::io_error (no connection, or it has failed) and usage_error (a request that cannot be sent), with the same words.
class error : public hsw::error {
public:
    error(hsw_status status, const std::string& words, const hsw_http_error& raw) : hsw::error(status, words), raw_(raw) {}
    http::problem problem() const noexcept { return static_cast<http::problem>(raw_.problem); }
    http::phase phase() const noexcept { return static_cast<http::phase>(raw_.phase); }
    /// If the problem is the status of the answer: the status, such as 404. Otherwise 0.
    unsigned answered() const noexcept { return raw_.status; }

private:
    hsw_http_error raw_;
};

} // namespace http

namespace detail {

/// As check(), for calls about requests.
inline void check_request(hsw_status status) {
    if (status == HSW_ERR_HTTP) {
        const std::string words = hsw_last_error_message();
        hsw_http_error raw{};
        hsw_http_last_error(&raw);
        throw http::error(status, words, raw);
    }
    check(status);
}

inline std::optional<std::uint64_t> known_length(std::uint64_t length) noexcept {
    return length == HSW_HTTP_UNKNOWN ? std::nullopt : std::optional<std::uint64_t>(length);
}

} // namespace detail

namespace http {

/// How much of an answer is kept, and how long it may take. `hsw::forever` is no limit.
struct limits {
    /// Those that a client has by default.
    limits() : limits(defaults().limits) {}
    explicit limits(const hsw_http_limits& raw)
        : head(raw.head), interim(raw.interim), redirects(raw.redirects), total(hsw::detail::time_of(raw.total_ns)),
          connect(hsw::detail::time_of(raw.connect_ns)), io(hsw::detail::time_of(raw.io_ns)), least_bytes(raw.least_bytes),
          least_time(hsw::detail::time_of(raw.least_time_ns)) {}

    std::size_t head;                   ///< bytes of all heads together
    std::size_t interim;                ///< interim answers (1xx)
    std::uint32_t redirects;            ///< redirects that are followed; 0: an answer that is one is returned
    std::chrono::nanoseconds total;     ///< from the beginning of the request to the end of the body
    std::chrono::nanoseconds connect;   ///< to look the name up and to connect
    std::chrono::nanoseconds io;        ///< for each read and write
    std::uint64_t least_bytes;          ///< the least speed: so many bytes of the answer ...
    std::chrono::nanoseconds least_time; ///< ... may take this time of waiting

    hsw_http_limits raw() const noexcept {
        hsw_http_limits out{};
        out.head = head;
        out.interim = interim;
        out.redirects = redirects;
        out.total_ns = hsw::detail::nanoseconds(total);
        out.connect_ns = hsw::detail::nanoseconds(connect);
        out.io_ns = hsw::detail::nanoseconds(io);
        out.least_bytes = least_bytes;
        out.least_time_ns = hsw::detail::nanoseconds(least_time);
        return out;
    }
    static hsw_http_settings defaults() { return hsw::detail::ask(&hsw_http_settings_default); }
};

/// What a client is to be.
struct settings {
    settings() : settings(http::limits::defaults()) {}
    http::limits limits;                ///< of its requests, if they do not say otherwise
    std::size_t idle;                   ///< connections that are kept for later requests
    std::chrono::nanoseconds idle_time; ///< how long one is kept without a request
    std::string user_agent{};           ///< the User-Agent field; empty: the library and its version

private:
    explicit settings(const hsw_http_settings& raw) : limits(raw.limits), idle(raw.idle), idle_time(hsw::detail::time_of(raw.idle_time_ns)) {}
};

/// An answer: its head is there, its body is read by the caller. Copies are handles of the same answer. Belongs to the thread that sent the request,
/// which is the worker's in an offload(). While one tasklet reads the body, another one can ask about the head; that reads it throws state_error.
///
/// A read whose time was up, or at whose tasklet something was thrown, has lost nothing: the next one goes on where it was. Every other failure is
/// final, and each later read throws it again (but error of body_too_long, and what a sink has thrown: the bytes are still there).
class answer : public hsw::detail::handle<hsw_http_answer, &hsw_http_answer_retain, &hsw_http_answer_release> {
public:
    /// The status code, 200 for a success.
    unsigned status() const { return info().status; }
    /// The server's word for it; may be empty.
    std::string reason() const { return text(&hsw_http_answer_reason); }
    /// The URL that has answered: after a redirect, the last one.
    std::string url() const { return text(&hsw_http_answer_url); }
    /// The first header field of that name (upper and lower case are the same); nothing if there is none.
    std::optional<std::string> header(const std::string& name) const {
        const char* const raw = hsw::detail::without_zero(name);
        bool found = false;
        std::string value = hsw::detail::text_of([&](char* buffer, std::size_t capacity, std::size_t* length) {
            return hsw_http_answer_header(raw_, raw, buffer, capacity, length, &found);
        });
        return found ? std::optional<std::string>(std::move(value)) : std::nullopt;
    }
    /// All header fields, with names in lower case; those of one name in the order they came.
    std::vector<std::pair<std::string, std::string>> headers() const {
        std::vector<std::pair<std::string, std::string>> out;
        const std::size_t count = info().headers;
        for (std::size_t at = 0; at < count; ++at) {
            out.emplace_back(text(&hsw_http_answer_header_name, at), text(&hsw_http_answer_header_value, at));
        }
        return out;
    }
    /// The length of the body, if it was announced. After a HEAD, what a GET would have.
    std::optional<std::uint64_t> length() const { return hsw::detail::known_length(info().length); }
    /// Bytes of the body that were read so far.
    std::uint64_t received() const { return info().received; }
    /// Of a download: which byte of the file comes first, 0 or where the earlier one has ended.
    std::uint64_t start() const { return info().start; }
    /// Of a download: the length of the whole file, if the server says it.
    std::optional<std::uint64_t> file_length() const { return hsw::detail::known_length(info().file_length); }
    /// What tells this version of the file from another, for download::resume_from; empty if the server sends nothing that is good for that.
    std::string validator() const { return text(&hsw_http_answer_validator); }
    /// Throws http::error if the status is none of success (2xx). The body can be read all the same.
    void check_status() const { hsw::detail::check_request(hsw_http_answer_check_status(raw_)); }

    /// Reads up to `size` bytes of the body; waits while there are none. 0: its end.
    std::size_t read(void* buffer, std::size_t size) {
        std::size_t received = 0;
        hsw::detail::check_request(hsw_http_answer_read(raw_, buffer, size, &received));
        return received;
    }
    /// The rest of the body. Throws http::error (body_too_long) if that has more than `limit` bytes.
    std::string read_all(std::size_t limit) {
        void* data = nullptr;
        std::size_t size = 0;
        hsw::detail::check_request(hsw_http_answer_read_all(raw_, limit, &data, &size));
        struct memory {
            ~memory() { std::free(data); }
            void* data;
        } const kept{data};
        return std::string(static_cast<const char*>(data), size);
    }
    /// Calls `sink(data, size)` with each piece (a const char* and its size) of the rest of the body, and `progress(received, length)` after it: how many
    /// bytes have come, and how many there are in all (a std::optional), of a download those of the whole file. Both may wait. What they throw arrives
    /// here; then the connection is still there, and a piece that the sink has thrown at comes again. Returns how many bytes it has copied.
    template <class Sink, class Progress>
    std::uint64_t copy_to(Sink&& sink, Progress&& progress) {
        struct call {
            std::remove_reference_t<Sink>& sink;
            std::remove_reference_t<Progress>& progress;
            static hsw_status take(void* user, const void* data, std::size_t size, std::uint64_t received, std::uint64_t length) noexcept {
                return hsw::detail::guard([&] {
                    auto* const self = static_cast<call*>(user);
                    self->sink(static_cast<const char*>(data), size);
                    self->progress(received, hsw::detail::known_length(length));
                });
            }
        } both{sink, progress};
        std::uint64_t copied = 0;
        hsw::detail::check_request(hsw_http_answer_copy_to(raw_, &call::take, &both, &copied));
        return copied;
    }
    template <class Sink>
    std::uint64_t copy_to(Sink&& sink) {
        return copy_to(std::forward<Sink>(sink), [](std::uint64_t, std::optional<std::uint64_t>) {});
    }

private:
    friend class request;
    friend class download;
    answer() noexcept {}
    hsw_http_answer_info info() const { return hsw::detail::ask(&hsw_http_answer_get_info, raw_); }
    template <class Copy, class... At>
    std::string text(Copy copy, At... at) const {
        return hsw::detail::text_of([&](char* buffer, std::size_t capacity, std::size_t* length) { return copy(raw_, at..., buffer, capacity, length); });
    }
};

class client;
class download;

/// A request that is put together, from client::request() and its like. What is wrong with it is thrown by send().
class request {
public:
    /// Adds a header field. It replaces the client's own Accept, Host or User-Agent. Fields that frame messages, such as Content-Length, are refused.
    request& header(const std::string& name, const std::string& value) {
        hsw::detail::without_zero(name);
        hsw::detail::without_zero(value);
        headers_.emplace_back(name, value);
        return *this;
    }
    /// Sends these bytes as the body.
    request& body(std::string bytes) {
        body_ = std::move(bytes);
        return *this;
    }
    /// Sends what `source(buffer, size)` gives as the body: it writes up to `size` bytes to a char* and returns how many, 0 at the end. They are `length`
    /// bytes; without a length, they are sent in chunks. It may wait. What it throws arrives at who sends (or reads the answer, if the server answers
    /// before it has read everything); the server sees half a request then. It lives until it is not needed any more, with the answer at the latest.
    template <class Source>
    request& body_from(Source source, std::optional<std::uint64_t> length = std::nullopt) {
        source_ = std::make_unique<std::function<std::size_t(char*, std::size_t)>>(std::move(source));
        length_ = length;
        return *this;
    }
    /// The time for all of it, from send() to the end of the body.
    template <class Rep, class Period>
    request& timeout(std::chrono::duration<Rep, Period> total) {
        timeout_ns_ = std::max<std::uint64_t>(hsw::detail::nanoseconds(total), 1);
        return *this;
    }
    request& limits(const http::limits& wanted) {
        limits_ = wanted.raw();
        return *this;
    }
    /// Sends it, once, and returns when the head of its answer has come. The status is not judged: see answer::check_status().
    http::answer send() {
        http::answer out;
        with_raw([&](const hsw_http_request* raw) { hsw::detail::check_request(hsw_http_send(client_->raw(), raw, &out.raw_)); });
        return out;
    }

private:
    friend class client;
    friend class download;
    using client_handle = hsw::detail::handle<hsw_http_client, &hsw_http_client_retain, &hsw_http_client_release>;
    request(const client_handle& by, std::string method, std::string url)
        : client_(std::make_unique<client_handle>(by)), method_(std::move(method)), url_(std::move(url)) {
        hsw::detail::without_zero(method_);
        hsw::detail::without_zero(url_);
    }

    static hsw_status give(void* user, void* buffer, std::size_t size, std::size_t* given) noexcept {
        return hsw::detail::guard([&] {
            *given = (*static_cast<std::function<std::size_t(char*, std::size_t)>*>(user))(static_cast<char*>(buffer), size);
        });
    }

    template <class Send>
    void with_raw(Send&& send) {
        std::vector<hsw_http_header> headers;
        for (const auto& header : headers_) {
            headers.push_back({header.first.c_str(), header.second.c_str()});
        }
        hsw_http_request raw{};
        raw.url = url_.c_str();
        raw.method = method_.c_str();
        raw.headers = headers.data();
        raw.header_count = headers.size();
        if (body_) {
            raw.body = body_->data();
            raw.body_size = body_->size();
        }
        if (source_) {
            raw.source = &request::give;
            raw.source_has_length = length_.has_value();
            raw.source_length = length_.value_or(0);
            raw.user = source_.release();
            raw.destroy_user = &hsw::detail::destroy_boxed<std::function<std::size_t(char*, std::size_t)>>;
        }
        raw.limits = limits_ ? &*limits_ : nullptr;
        raw.timeout_ns = timeout_ns_;
        send(&raw);
    }

    std::unique_ptr<client_handle> client_;
    std::string method_;
    std::string url_;
    std::vector<std::pair<std::string, std::string>> headers_{};
    std::optional<std::string> body_{};
    std::unique_ptr<std::function<std::size_t(char*, std::size_t)>> source_{};
    std::optional<std::uint64_t> length_{};
    std::optional<hsw_http_limits> limits_{};
    std::uint64_t timeout_ns_ = 0;
};

/// A file that is loaded, and may go on where an earlier download has ended; from client::download().
class download {
public:
    /// The first `bytes` of the file are there already, and are of the version that answer::validator() has told. The server is asked for the rest if the
    /// file is still the same; whether `bytes` are all, only the length that a HEAD tells can say.
    download& resume_from(std::uint64_t bytes, const std::string& validator) {
        hsw::detail::without_zero(validator);
        from_ = bytes;
        validator_ = validator;
        return *this;
    }
    /// If the file is another one now, or shorter, or the server sends no parts: load the whole file, answer::start() is 0 then. Otherwise send() throws
    /// http::error (changed, no_range).
    download& start_anew_if_changed() {
        start_anew_ = true;
        return *this;
    }
    download& header(const std::string& name, const std::string& value) {
        request_.header(name, value);
        return *this;
    }
    template <class Rep, class Period>
    download& timeout(std::chrono::duration<Rep, Period> total) {
        request_.timeout(total);
        return *this;
    }
    download& limits(const http::limits& wanted) {
        request_.limits(wanted);
        return *this;
    }
    /// Sends the request, and returns when the head of its answer has come. An answer that is no file is an http::error (status).
    http::answer send() {
        const hsw_http_resume resume{from_, validator_.c_str(), start_anew_};
        http::answer out;
        request_.with_raw([&](const hsw_http_request* raw) {
            hsw::detail::check_request(hsw_http_download(request_.client_->raw(), raw, &resume, &out.raw_));
        });
        return out;
    }

private:
    friend class client;
    explicit download(request&& file) noexcept : request_(std::move(file)) {}

    request request_;
    std::uint64_t from_ = 0;
    std::string validator_{};
    bool start_anew_ = false;
};

/// Sends requests, and keeps connections for the next ones. Copies are handles of the same client. Any thread may use it: in a tasklet, or in main, only
/// that waits; in an offload() the worker does.
class client : public hsw::detail::handle<hsw_http_client, &hsw_http_client_retain, &hsw_http_client_release> {
public:
    client() { hsw::detail::check(hsw_http_client_new(nullptr, &raw_)); }
    explicit client(const settings& wanted) {
        hsw_http_settings raw{};
        raw.limits = wanted.limits.raw();
        raw.idle = wanted.idle;
        raw.idle_time_ns = hsw::detail::nanoseconds(wanted.idle_time);
        raw.user_agent = wanted.user_agent.empty() ? nullptr : hsw::detail::without_zero(wanted.user_agent);
        hsw::detail::check(hsw_http_client_new(&raw, &raw_));
    }

    /// A request with this method, an upper-case word as a rule.
    http::request request(const std::string& method, const std::string& url) const { return http::request(*this, method, url); }
    http::request get(const std::string& url) const { return request("GET", url); }
    http::request head(const std::string& url) const { return request("HEAD", url); }
    http::request post(const std::string& url) const { return request("POST", url); }
    http::request put(const std::string& url) const { return request("PUT", url); }
    http::request del(const std::string& url) const { return request("DELETE", url); }
    /// A file, which may go on where an earlier download has ended.
    http::download download(const std::string& url) const { return http::download(get(url)); }
    /// How many connections are kept for later requests.
    std::size_t idle() const { return hsw::detail::ask(&hsw_http_client_idle, raw_); }
};

} // namespace http

} // namespace hsw

#endif
#endif
