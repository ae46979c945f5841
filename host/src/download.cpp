#include "download.hpp"

#include "blocking_socket.hpp"
#include "content.hpp"

#include <hardswitch.hpp>

#include <chrono>
#include <stdexcept>
#include <vector>

namespace host {
namespace {

/// Bytes a tasklet socket is asked for at once: with their hashing the longest time a download holds the game thread.
constexpr std::size_t piece_nonblocking = 64 * 1024;
/// Bytes a worker fetches and hashes in one call.
constexpr std::size_t piece_workers = 256 * 1024;

/// Takes the stream apart and hashes the body. On the heap: a worker writes to it while the tasklet's stack is away.
struct body_check {
    sha256 hash;
    http_reader reader{[this](const char* data, std::size_t size) { hash.update(data, size); }};
    std::vector<char> buffer;
};

std::chrono::nanoseconds timeout_of(const download& what) {
    return std::chrono::nanoseconds(static_cast<std::int64_t>(what.timeout_seconds * 1e9));
}

void show_progress(download& what, const http_reader& reader) {
    what.received = reader.body_size();
    what.size = reader.content_length();
}

void fetch_nonblocking(download& what, body_check& check) {
    hsw::tcp_stream stream = hsw::tcp_stream::connect(what.where.host, what.where.port, timeout_of(what));
    stream.set_timeout(timeout_of(what));
    const std::string request = get_request(what.where);
    stream.write_all(request.data(), request.size());
    check.buffer.resize(piece_nonblocking);
    while (!check.reader.done()) {
        const std::size_t size = stream.read(check.buffer.data(), check.buffer.size());
        if (size == 0) {
            check.reader.end();
            break;
        }
        check.reader.feed(check.buffer.data(), size);
        show_progress(what, check.reader);
        hsw::schedule(); // a fast network must not starve the game
    }
}

void fetch_workers(download& what, const std::shared_ptr<body_check>& check) {
    check->buffer.resize(piece_workers);
    // Every closure holds what it needs by value: this stack is not there while the worker runs.
    const auto socket = hsw::offload([where = what.where, seconds = what.timeout_seconds] {
        auto out = std::make_shared<blocking_socket>(where.host, where.port, seconds);
        const std::string request = get_request(where);
        out->write_all(request.data(), request.size());
        return out;
    });
    while (!check->reader.done()) {
        const bool more = hsw::offload([socket, check] {
            const std::size_t size = socket->read_full(check->buffer.data(), check->buffer.size());
            check->reader.feed(check->buffer.data(), size);
            return size == check->buffer.size();
        });
        show_progress(what, check->reader);
        if (!more) {
            check->reader.end();
            break;
        }
    }
}

void check_result(download& what, body_check& check) {
    show_progress(what, check.reader);
    if (what.expected_content && *what.expected_content != what.received) {
        throw std::runtime_error("wrong length: expected " + std::to_string(*what.expected_content) + " bytes, got "
                                 + std::to_string(what.received));
    }
    what.sha256_hex = to_hex(check.hash.finish());
    std::optional<std::string> expected = what.expected_sha256;
    if (!expected && what.expected_content) {
        // From the generator, not from anything that was transferred; on a worker, since it takes a while.
        expected = hsw::offload([size = *what.expected_content] { return content_sha256(size); });
    }
    if (expected && *expected != what.sha256_hex) {
        throw std::runtime_error("wrong hash: expected " + *expected + ", got " + what.sha256_hex);
    }
}

} // namespace

const char* name(way how) noexcept { return how == way::nonblocking ? "nonblocking" : "workers"; }

void run_download(const std::shared_ptr<download>& what) {
    try {
        const auto check = std::make_shared<body_check>();
        if (what->how == way::nonblocking) {
            fetch_nonblocking(*what, *check);
        } else {
            fetch_workers(*what, check);
        }
        check_result(*what, *check);
    } catch (const hsw::timeout&) {
        what->failure = no_progress(what->timeout_seconds);
    } catch (const std::exception& e) {
        what->failure = e.what();
    }
    what->finished = true;
}

} // namespace host
