// HTTP/1.1 as far as a downloader needs it: URLs, the request text, and a response reader that is pure logic (no input or
// output of its own), so that both ways of downloading, on tasklet sockets and through the worker pool, share it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace host {

/// The answer is not what HTTP allows, or not what a downloader can use. what() says what was wrong with it.
struct http_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct url {
    std::string host; // a name, an IPv4 address, or an IPv6 address without its brackets
    std::uint16_t port = 80;
    std::string target = "/"; // path and query

    /// Throws http_error for anything but http://HOST[:PORT][/PATH].
    static url parse(std::string_view text);

    /// The value of the Host header.
    std::string authority() const;
};

/// A GET request for `from`. The connection is closed after the answer.
std::string get_request(const url& from);

class http_reader {
public:
    using sink = std::function<void(const char* data, std::size_t size)>;

    /// The bytes of the body go to `body` as they arrive.
    explicit http_reader(sink body) : sink_(std::move(body)) {}

    /// Takes the next bytes of the stream. Throws http_error when they are no HTTP answer, or one with a status other than 200.
    void feed(const char* data, std::size_t size);

    /// The peer closed the connection. Throws http_error when the body is not complete.
    void end();

    bool done() const noexcept { return state_ == state::done; }
    std::optional<std::uint64_t> content_length() const noexcept { return content_length_; }
    std::uint64_t body_size() const noexcept { return body_size_; }

private:
    enum class state { head, body, chunk_size, chunk_data, chunk_end, trailer, done };

    void head_line(std::string_view line);
    void line(std::string_view line);
    void header(std::string_view line);
    void head_complete();
    void body(const char* data, std::size_t size);

    sink sink_;
    state state_ = state::head;
    std::string line_; // a line that is not complete yet
    std::size_t head_size_ = 0;
    bool status_seen_ = false;
    bool chunked_ = false;
    std::optional<std::uint64_t> content_length_;
    std::uint64_t left_ = 0; // bytes missing of the body or of the current chunk
    std::uint64_t body_size_ = 0;
};

} // namespace host
