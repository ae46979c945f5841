// The command line of the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace host {

struct download_option {
    std::string url;                   // http://..., or a path of the embedded origin
    std::optional<std::string> sha256; // 64 lower-case hex digits
};

struct options {
    std::size_t npcs = 2000;
    bool nonblocking = true; // --io
    bool workers = true;     // --io
    std::vector<download_option> downloads;
    std::uint16_t port = 0;
    double seconds = 2;
    double hz = 60;
    double budget_ms = 8;
    double timeout_seconds = 30;
    std::optional<std::size_t> windows;     // none: the library's default
    std::optional<std::size_t> window_size; // bytes
    std::size_t park = 0;
    bool stats = false;
    bool rows = false;
    bool help = false;
    bool version = false;
};

/// The command line is wrong. what() is one line that names the option or value.
struct usage_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// Reads the arguments (without the program's name). Throws usage_error.
options parse_options(const std::vector<std::string>& arguments);

/// The text of --help.
const char* help_text() noexcept;

} // namespace host
