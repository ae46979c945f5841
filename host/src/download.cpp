#include "download.hpp"

#include "content.hpp"
#include "sha256.hpp"

#include <chrono>
#include <cstdio>
#include <stdexcept>

namespace host {
namespace {

std::string no_progress(double seconds) {
    char line[64];
    std::snprintf(line, sizeof line, "no progress for %g s", seconds);
    return line;
}

/// Fetches it and hashes the body: the same in a tasklet and in a worker's job. Returns the hash.
std::string fetch(const hsw::http::client& client, download& what) {
    hsw::http::limits limits;
    limits.connect = limits.io = std::chrono::nanoseconds(static_cast<std::int64_t>(what.timeout_seconds * 1e9));
    hsw::http::answer answer = client.get(what.url).limits(limits).send();
    answer.check_status();
    what.size = answer.length().value_or(download::unknown);
    sha256 hash;
    answer.copy_to([&](const char* data, std::size_t size) {
        hash.update(data, size);
        what.received += size;
        if (what.how == way::nonblocking) {
            hsw::schedule(); // a fast network must not starve the game
        }
    });
    return to_hex(hash.finish());
}

void check_result(download& what) {
    const std::uint64_t received = what.received;
    if (what.expected_content && *what.expected_content != received) {
        throw std::runtime_error("wrong length: expected " + std::to_string(*what.expected_content) + " bytes, got "
                                 + std::to_string(received));
    }
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

void run_download(const hsw::http::client& client, const std::shared_ptr<download>& what) {
    try {
        // The job holds what it needs by value: this stack is not there while the worker runs.
        what->sha256_hex = what->how == way::nonblocking ? fetch(client, *what) : hsw::offload([client, what] { return fetch(client, *what); });
        check_result(*what);
    } catch (const hsw::timeout&) {
        what->failure = no_progress(what->timeout_seconds);
    } catch (const std::exception& e) {
        what->failure = e.what();
    }
    what->finished = true;
}

} // namespace host
