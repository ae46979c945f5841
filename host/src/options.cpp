#include "options.hpp"


#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>

namespace host {
namespace {

double real(const std::string& name, const std::string& text, double least, double most) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0' || !std::isfinite(value) || value < least || value > most) {
        char range[64];
        std::snprintf(range, sizeof range, "%g to %g", least, most);
        throw usage_error(name + " takes a number from " + range + ", not '" + text + "'");
    }
    return value;
}

/// A whole number, with an optional K, M or G (powers of 1024).
std::size_t whole(const std::string& name, const std::string& text, std::size_t least, std::size_t most) {
    errno = 0;
    char* end = nullptr;
    unsigned long long value = std::strtoull(text.c_str(), &end, 10);
    bool good = !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) && errno == 0;
    unsigned shift = 0;
    switch (*end) {
    case 'K':
        shift = 10;
        break;
    case 'M':
        shift = 20;
        break;
    case 'G':
        shift = 30;
        break;
    default:
        break;
    }
    good = good && end[shift == 0 ? 0 : 1] == '\0' && (value << shift) >> shift == value;
    value <<= shift;
    if (!good || value < least || value > most) {
        throw usage_error(name + " takes a whole number from " + std::to_string(least) + " to " + std::to_string(most) + ", not '"
                          + text + "'");
    }
    return static_cast<std::size_t>(value);
}

std::string hash(const std::string& text) {
    std::string out;
    for (const unsigned char c : text) {
        if (!std::isxdigit(c)) {
            throw usage_error("--sha256 takes 64 hexadecimal digits, not '" + text + "'");
        }
        out += static_cast<char>(std::tolower(c));
    }
    if (out.size() != 64) {
        throw usage_error("--sha256 takes 64 hexadecimal digits, not '" + text + "'");
    }
    return out;
}

} // namespace

options parse_options(const std::vector<std::string>& arguments) {
    options out;
    using setter = std::function<void(const std::string& name, const std::string& value)>;
    const std::map<std::string, setter> valued = {
        {"--npcs", [&](auto& n, auto& v) { out.npcs = whole(n, v, 0, 10'000'000); }},
        {"--io",
         [&](auto&, auto& v) {
             if (v != "nonblocking" && v != "workers" && v != "both") {
                 throw usage_error("--io takes nonblocking, workers or both, not '" + v + "'");
             }
             out.nonblocking = v != "workers";
             out.workers = v != "nonblocking";
         }},
        {"--url",
         [&](auto&, auto& v) {
             if (v.compare(0, 1, "/") != 0 && v.compare(0, 7, "http://") != 0) {
                 throw usage_error("--url '" + v + "': not an http:// URL");
             }
             out.downloads.push_back({v, std::nullopt});
         }},
        {"--sha256",
         [&](auto& n, auto& v) {
             if (out.downloads.empty()) {
                 throw usage_error(n + " belongs behind the --url it is for");
             }
             out.downloads.back().sha256 = hash(v);
         }},
        {"--port", [&](auto& n, auto& v) { out.port = static_cast<std::uint16_t>(whole(n, v, 0, 65535)); }},
        {"--seconds", [&](auto& n, auto& v) { out.seconds = real(n, v, 0, 1e9); }},
        {"--hz", [&](auto& n, auto& v) { out.hz = real(n, v, 0.1, 10000); }},
        {"--budget-ms", [&](auto& n, auto& v) { out.budget_ms = real(n, v, 0.01, 10000); }},
        {"--timeout", [&](auto& n, auto& v) { out.timeout_seconds = real(n, v, 0.01, 1e6); }},
        {"--windows", [&](auto& n, auto& v) { out.windows = whole(n, v, 1, 1024); }},
        {"--window-size", [&](auto& n, auto& v) { out.window_size = whole(n, v, 16 * 1024, std::size_t{1} << 30); }},
        {"--park", [&](auto& n, auto& v) { out.park = whole(n, v, 1, 10'000'000); }},
    };
    const std::map<std::string, std::function<void()>> plain = {
        {"--stats", [&] { out.stats = true; }},
        {"--rows", [&] { out.rows = true; }},
        {"--help", [&] { out.help = true; }},
        {"-h", [&] { out.help = true; }},
        {"--version", [&] { out.version = true; }},
    };
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        std::string name = arguments[i];
        std::optional<std::string> value;
        const std::size_t equals = name.find('=');
        if (name.compare(0, 2, "--") == 0 && equals != std::string::npos) {
            value = name.substr(equals + 1);
            name.resize(equals);
        }
        if (const auto it = plain.find(name); it != plain.end()) {
            if (value) {
                throw usage_error(name + " takes no value");
            }
            it->second();
        } else if (const auto known = valued.find(name); known != valued.end()) {
            if (!value) {
                if (++i == arguments.size()) {
                    throw usage_error(name + " needs a value");
                }
                value = arguments[i];
            }
            known->second(name, *value);
        } else {
            throw usage_error("unknown " + std::string(name.compare(0, 1, "-") == 0 ? "option" : "argument") + " '" + arguments[i]
                              + "'; --help lists the options");
        }
    }
    return out;
}

const char* help_text() noexcept {
    return R"(hsw-host: a headless game host on hardswitch. Ticks, runs tasklets, downloads files while it ticks.

usage: hsw-host [option...]

the game
  --npcs N         tasklets that think, sleep some ticks and message each other (default 2000)
  --hz F           ticks a second (default 60)
  --budget-ms F    time for tasklets within one tick, in milliseconds (default 8)
  --seconds F      run at least so long (default 2); the host ends when the downloads have ended, too
  --windows N      stack windows of the game thread (default: the library's)
  --window-size N  bytes of a window; K, M and G may follow the number (default: the library's)

the downloads
  --url URL        download this; may be given many times. http://HOST[:PORT]/PATH, or a /PATH of the embedded origin:
                   /file/N, /chunked/N, /drip/N, and the faults /flip/N /short/N /cut/N /reset/N /garbage /silent /stall
                   (default: /file/1024, /chunked/1048576 and /file/67108864)
  --sha256 HEX     the SHA-256 that the body of the --url before it must have
  --io WAY         nonblocking (tasklet sockets), workers (the worker pool) or both (default)
  --timeout F      seconds without progress after which a download fails (default 30)
  --port N         port of the embedded origin on 127.0.0.1 (default 0: any free one)

measuring
  --stats          print at the end what the tasklets cost: bytes a parked tasklet, switches, copies
  --rows           print figures as records, whose fields have names: Second(at_s=1.0, ticks=60, ...)
  --park N         park N tasklets in a receive, print bytes a tasklet, wake them all, and do nothing else
  --version        print the version of the library
  --help           print this

exit status: 0 when everything was right, 1 when a download or the game went wrong, 2 for a wrong command line
)";
}

} // namespace host
