// A download: what is fetched, how far it is, how it ended, and the two ways to do it.
#pragma once

#include <hardswitch.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace host {

/// How a download waits for the network.
enum class way {
    nonblocking, ///< the tasklet waits, the library polls
    workers,     ///< in a job of the worker pool: the worker waits, and the tasklet for the worker
};

const char* name(way how) noexcept;

/// Lives on the heap, shared by the tasklet that downloads, the worker that helps it, and the host that prints. While a worker
/// has it, the host reads `received` and `size` alone.
struct download {
    static constexpr std::uint64_t unknown = UINT64_MAX;

    std::string url;
    way how = way::nonblocking;
    std::optional<std::string> expected_sha256;
    std::optional<std::uint64_t> expected_content; // the size of the origin's file that it must be (see content.hpp)
    double timeout_seconds = 30;

    std::atomic<std::uint64_t> received{0};   // bytes of the body so far
    std::atomic<std::uint64_t> size{unknown}; // of the body, once the head tells
    bool finished = false;
    std::string sha256_hex; // of the body, when finished without failure
    std::string failure;    // one line; empty: none

    bool good() const noexcept { return finished && failure.empty(); }
};

/// Downloads, checks length and hash, and fills in how it went. Runs in a tasklet. Throws nothing but hsw::tasklet_exit.
void run_download(const hsw::http::client& client, const std::shared_ptr<download>& what);

} // namespace host
