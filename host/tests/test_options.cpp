#include "options.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

std::string refusal(const std::vector<std::string>& arguments) {
    try {
        host::parse_options(arguments);
    } catch (const host::usage_error& e) {
        return e.what();
    }
    return "";
}

} // namespace

TEST_CASE("without options the host does what the help says") {
    const host::options how = host::parse_options({});
    CHECK(how.npcs == 2000);
    CHECK(how.nonblocking);
    CHECK(how.workers);
    CHECK(how.downloads.empty());
    CHECK(how.port == 0);
    CHECK(how.hz == 60);
    CHECK(how.park == 0);
}

TEST_CASE("options are read, with their value beside or behind them") {
    const std::string hash(64, 'A');
    const host::options how = host::parse_options({"--npcs=7", "--io", "workers", "--url", "http://h/1", "--url", "/file/2", "--sha256", hash,
                                                   "--window-size", "64K", "--seconds", "0.5", "--stats", "--rows"});
    CHECK(how.npcs == 7);
    CHECK_FALSE(how.nonblocking);
    CHECK(how.workers);
    REQUIRE(how.downloads.size() == 2);
    CHECK(how.downloads[0].url == "http://h/1");
    CHECK_FALSE(how.downloads[0].sha256);
    CHECK(how.downloads[1].url == "/file/2");
    CHECK(how.downloads[1].sha256 == std::string(64, 'a'));
    CHECK(how.window_size == 65536u);
    CHECK(how.seconds == 0.5);
    CHECK(how.stats);
    CHECK(how.rows);
}

TEST_CASE("a wrong command line is refused in one line that names the culprit") {
    CHECK(refusal({"--frobnicate"}) == "unknown option '--frobnicate'; --help lists the options");
    CHECK(refusal({"stray"}) == "unknown argument 'stray'; --help lists the options");
    CHECK(refusal({"--npcs"}) == "--npcs needs a value");
    CHECK(refusal({"--npcs", "-1"}) == "--npcs takes a whole number from 0 to 10000000, not '-1'");
    CHECK(refusal({"--npcs", "3x"}) == "--npcs takes a whole number from 0 to 10000000, not '3x'");
    CHECK(refusal({"--npcs", ""}) == "--npcs takes a whole number from 0 to 10000000, not ''");
    CHECK(refusal({"--npcs", "99999999999999999999"}) == "--npcs takes a whole number from 0 to 10000000, not '99999999999999999999'");
    CHECK(refusal({"--port", "65536"}) == "--port takes a whole number from 0 to 65535, not '65536'");
    CHECK(refusal({"--hz", "nan"}) == "--hz takes a number from 0.1 to 10000, not 'nan'");
    CHECK(refusal({"--hz", "0"}) == "--hz takes a number from 0.1 to 10000, not '0'");
    CHECK(refusal({"--io", "carrier-pigeon"}) == "--io takes nonblocking, workers or both, not 'carrier-pigeon'");
    CHECK(refusal({"--url", "ftp://h/"}) == "--url 'ftp://h/': not an http:// URL");
    CHECK(refusal({"--sha256", std::string(64, '0')}) == "--sha256 belongs behind the --url it is for");
    CHECK(refusal({"--url", "/file/1", "--sha256", "abc"}) == "--sha256 takes 64 hexadecimal digits, not 'abc'");
    CHECK(refusal({"--url", "/file/1", "--sha256", std::string(64, 'g')})
          == "--sha256 takes 64 hexadecimal digits, not '" + std::string(64, 'g') + "'");
    CHECK(refusal({"--stats=yes"}) == "--stats takes no value");
}
