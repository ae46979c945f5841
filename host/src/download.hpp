// A download: what is fetched, how far it is, how it ended, and the two ways to do it.
#pragma once

#include "http.hpp"
#include "sha256.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace host {

/// How a download waits for the network.
enum class way {
    nonblocking, ///< on a tasklet socket: the tasklet waits, the library polls
    workers,     ///< in plain blocking calls on the worker pool, one call per piece: the tasklet waits for the worker
};

const char* name(way how) noexcept;

/// Lives on the heap, shared by the tasklet that downloads, the worker that helps it, and the host that prints. The tasklet and
/// its worker take turns; the host reads `received`, `size` and `outcome` in between, always on the game thread.
struct download {
    std::string text; // the URL as given
    url where;
    way how = way::nonblocking;
    std::optional<std::string> expected_sha256;
    std::optional<std::uint64_t> expected_content; // the size of the origin's file that it must be (see content.hpp)
    double timeout_seconds = 30;

    std::uint64_t received = 0;        // bytes of the body so far
    std::optional<std::uint64_t> size; // of the body, once the head tells
    bool finished = false;
    std::string sha256_hex; // of the body, when finished without failure
    std::string failure;    // one line; empty: none

    bool good() const noexcept { return finished && failure.empty(); }
};

/// Downloads, checks length and hash, and fills in how it went. Runs in a tasklet. Throws nothing but hsw::tasklet_exit.
void run_download(const std::shared_ptr<download>& what);

} // namespace host
