#include "http.hpp"

#include <algorithm>
#include <cctype>
#include <limits>

namespace host {
namespace {

constexpr std::size_t longest_line = 8 * 1024;
constexpr std::size_t longest_head = 64 * 1024;

bool equals_ignoring_case(std::string_view a, std::string_view b) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](unsigned char x, unsigned char y) {
               return std::tolower(x) == std::tolower(y);
           });
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) {
        text.remove_prefix(1);
    }
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) {
        text.remove_suffix(1);
    }
    return text;
}

/// The number that is all of `text`, in base 10 or 16; nothing when there is something else or it does not fit.
std::optional<std::uint64_t> number(std::string_view text, unsigned base) {
    if (text.empty()) {
        return std::nullopt;
    }
    std::uint64_t value = 0;
    for (const char c : text) {
        unsigned digit = 99;
        if (c >= '0' && c <= '9') {
            digit = static_cast<unsigned>(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            digit = static_cast<unsigned>(c - 'a') + 10;
        } else if (c >= 'A' && c <= 'F') {
            digit = static_cast<unsigned>(c - 'A') + 10;
        }
        if (digit >= base || value > (std::numeric_limits<std::uint64_t>::max() - digit) / base) {
            return std::nullopt;
        }
        value = value * base + digit;
    }
    return value;
}

/// Foreign bytes made fit for an error line.
std::string printable(std::string_view text) {
    std::string out = "\"";
    for (const unsigned char c : text.substr(0, 40)) {
        out += c >= 0x20 && c < 0x7f ? static_cast<char>(c) : '?';
    }
    return out + (text.size() > 40 ? "...\"" : "\"");
}

} // namespace

url url::parse(std::string_view text) {
    constexpr std::string_view scheme = "http://";
    if (text.substr(0, scheme.size()) != scheme) {
        throw http_error("not an http:// URL");
    }
    if (std::any_of(text.begin(), text.end(), [](unsigned char c) { return c <= ' ' || c == 0x7f; })) {
        throw http_error("a URL may not hold blanks or control characters");
    }
    text.remove_prefix(scheme.size());
    text = text.substr(0, text.find('#'));
    url out;
    const std::size_t path = std::min(text.find_first_of("/?"), text.size());
    std::string_view authority = text.substr(0, path);
    if (path < text.size()) {
        out.target = (text[path] == '/' ? "" : "/") + std::string(text.substr(path));
    }
    if (authority.find('@') != std::string_view::npos) {
        throw http_error("a URL with a user name is not supported");
    }
    std::string_view port;
    bool has_port = false;
    if (!authority.empty() && authority.front() == '[') {
        const std::size_t close = authority.find(']');
        if (close == std::string_view::npos) {
            throw http_error("the bracket of the address is not closed");
        }
        out.host = authority.substr(1, close - 1);
        authority.remove_prefix(close + 1);
        has_port = !authority.empty();
        if (has_port && authority.front() != ':') {
            throw http_error("only a port may follow the bracketed address");
        }
        port = has_port ? authority.substr(1) : std::string_view();
    } else {
        const std::size_t colon = authority.find(':');
        has_port = colon != std::string_view::npos;
        out.host = authority.substr(0, colon);
        port = has_port ? authority.substr(colon + 1) : std::string_view();
    }
    if (out.host.empty()) {
        throw http_error("the URL names no host");
    }
    if (has_port) {
        const auto value = number(port, 10);
        if (!value || *value == 0 || *value > 65535) {
            throw http_error("the port must be a number from 1 to 65535");
        }
        out.port = static_cast<std::uint16_t>(*value);
    }
    return out;
}

std::string url::authority() const {
    const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
    return port == 80 ? name : name + ":" + std::to_string(port);
}

std::string get_request(const url& from) {
    return "GET " + from.target + " HTTP/1.1\r\nHost: " + from.authority()
           + "\r\nUser-Agent: hsw-host\r\nAccept: */*\r\nConnection: close\r\n\r\n";
}

void http_reader::feed(const char* data, std::size_t size) {
    while (size != 0 && state_ != state::done) {
        if (state_ == state::body || state_ == state::chunk_data) {
            const std::size_t part =
                content_length_ || chunked_ ? static_cast<std::size_t>(std::min<std::uint64_t>(left_, size)) : size;
            body(data, part);
            data += part;
            size -= part;
            continue;
        }
        // Everything else comes in lines.
        const char* const newline = std::find(data, data + size, '\n');
        const auto part = static_cast<std::size_t>(newline - data);
        line_.append(data, part);
        const bool complete = part < size;
        data += part + (complete ? 1 : 0);
        size -= part + (complete ? 1 : 0);
        if (!status_seen_ && line_.compare(0, 5, "HTTP/", 0, std::min<std::size_t>(5, line_.size())) != 0) {
            throw http_error("the answer is not HTTP: it begins with " + printable(line_));
        }
        if (line_.size() > longest_line) {
            throw http_error("a line of the answer is longer than 8 KiB");
        }
        if (complete) {
            if (!line_.empty() && line_.back() == '\r') {
                line_.pop_back();
            }
            const std::string whole = std::move(line_);
            line_.clear();
            line(whole);
        }
    }
}

void http_reader::line(std::string_view text) {
    switch (state_) {
    case state::head:
        head_line(text);
        break;
    case state::chunk_size: {
        const auto value = number(trim(text.substr(0, text.find(';'))), 16);
        if (!value) {
            throw http_error("bad chunk size " + printable(text));
        }
        left_ = *value;
        state_ = left_ == 0 ? state::trailer : state::chunk_data;
        break;
    }
    case state::chunk_end:
        if (!text.empty()) {
            throw http_error("a chunk is longer than it says");
        }
        state_ = state::chunk_size;
        break;
    case state::trailer:
        if (text.empty()) {
            state_ = state::done;
        }
        break;
    default:
        break;
    }
}

void http_reader::head_line(std::string_view text) {
    head_size_ += text.size() + 2;
    if (head_size_ > longest_head) {
        throw http_error("the head of the answer is longer than 64 KiB");
    }
    if (status_seen_) {
        if (text.empty()) {
            head_complete();
        } else {
            header(text);
        }
        return;
    }
    const std::size_t blank = text.find(' ');
    const auto code =
        blank == std::string_view::npos ? std::nullopt : number(text.substr(blank + 1, 3), 10);
    if (text.substr(0, 7) != "HTTP/1." || !code) {
        throw http_error("the answer is not HTTP/1: it begins with " + printable(text));
    }
    if (*code != 200) {
        throw http_error("the server answered " + printable(trim(text.substr(blank + 1))));
    }
    status_seen_ = true;
}

void http_reader::header(std::string_view text) {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos || colon == 0) {
        throw http_error("bad header line " + printable(text));
    }
    const std::string_view name = text.substr(0, colon);
    const std::string_view value = trim(text.substr(colon + 1));
    if (equals_ignoring_case(name, "content-length")) {
        const auto length = number(value, 10);
        if (!length || (content_length_ && *content_length_ != *length)) {
            throw http_error("bad Content-Length " + printable(value));
        }
        content_length_ = length;
    } else if (equals_ignoring_case(name, "transfer-encoding")) {
        if (!equals_ignoring_case(value, "chunked")) {
            throw http_error("unsupported Transfer-Encoding " + printable(value));
        }
        chunked_ = true;
    }
}

void http_reader::head_complete() {
    if (chunked_) {
        content_length_.reset(); // RFC 9112, 6.3: the encoding decides
        state_ = state::chunk_size;
        return;
    }
    left_ = content_length_.value_or(0);
    state_ = content_length_ && left_ == 0 ? state::done : state::body;
}

void http_reader::body(const char* data, std::size_t size) {
    body_size_ += size;
    sink_(data, size);
    if (!content_length_ && !chunked_) {
        return; // until the connection is closed
    }
    left_ -= size;
    if (left_ == 0) {
        state_ = chunked_ ? state::chunk_end : state::done;
    }
}

void http_reader::end() {
    if (state_ == state::done) {
        return;
    }
    if (!status_seen_) {
        throw http_error("the server closed the connection without an answer");
    }
    if (state_ == state::head) {
        throw http_error("the connection ended within the head of the answer");
    }
    if (state_ == state::body && !content_length_) {
        state_ = state::done;
        return;
    }
    throw http_error(content_length_ ? "short body: " + std::to_string(body_size_) + " of "
                                           + std::to_string(*content_length_) + " bytes"
                                     : "short body: the connection ended within the chunks, after "
                                           + std::to_string(body_size_) + " bytes");
}

} // namespace host
