// hsw-host as a user meets it: what works, and what one line says when it does not.
#include "content.hpp"
#include "process.hpp"

#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <vector>

using test::has;
using test::lines;
using test::result;
using test::run_host;

namespace {

/// A TCP port of this machine that is taken as long as this lives; nobody accepts on it.
class taken_port {
public:
    taken_port() : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        REQUIRE(::bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
        REQUIRE(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
        port_ = std::to_string(ntohs(address.sin_port));
    }
    ~taken_port() { ::close(fd_); }
    taken_port(const taken_port&) = delete;
    taken_port& operator=(const taken_port&) = delete;

    void listen() { REQUIRE(::listen(fd_, 1) == 0); }
    const std::string& port() const { return port_; }

private:
    int fd_;
    std::string port_;
};

/// A short game: what the tests are about are the downloads.
std::vector<std::string> quick(std::vector<std::string> more) {
    std::vector<std::string> out = {"--npcs", "50", "--seconds", "0"};
    out.insert(out.end(), more.begin(), more.end());
    return out;
}

/// A download that fails in both ways, beside one that does not.
void one_fails(const std::string& url, const std::string& nonblocking, const std::string& workers, const std::string& sha256 = "") {
    CAPTURE(url);
    std::vector<std::string> arguments = quick({"--timeout", "2", "--url", "/file/5000", "--url", url});
    if (!sha256.empty()) {
        arguments.insert(arguments.end(), {"--sha256", sha256});
    }
    const result ran = run_host(arguments);
    CAPTURE(ran.out);
    CAPTURE(ran.err);
    CHECK(ran.status == 1);
    CHECK(lines(ran.err) == 2); // one line a way
    const std::string name = url[0] == '/' ? url : url.substr(0, 40);
    CHECK(has(ran.err, name));
    CHECK(has(ran.err, nonblocking));
    CHECK(has(ran.err, workers));
    // The other one is unharmed, in both ways.
    std::size_t good = 0;
    for (std::size_t at = ran.out.find("ok   "); at != std::string::npos; at = ran.out.find("ok   ", at + 1)) {
        ++good;
    }
    CHECK(good == 2);
}

} // namespace

TEST_CASE("the game plays, three kinds of files arrive in both ways") {
    const result ran = run_host({"--npcs", "200", "--seconds", "1.2", "--stats", "--url", "/file/1024", "--url", "/chunked/1048576", "--url",
                                 "/drip/100000", "--url", "/file/0", "--url", "/chunked/0", "--url", "/file/9000000"});
    CAPTURE(ran.out);
    CHECK(ran.err == "");
    CHECK(ran.status == 0);
    for (const char* way : {"nonblocking", "workers    "}) {
        for (const std::size_t size : {std::size_t{1024}, std::size_t{1048576}, std::size_t{100000}, std::size_t{0}, std::size_t{9000000}}) {
            CHECK(has(ran.out, std::string("ok   ") + way));
            CHECK(has(ran.out, std::to_string(size) + " bytes, sha256 " + host::content_sha256(size)));
        }
    }
    CHECK(has(ran.out, "tick p50"));
    CHECK(has(ran.out, "switches/s"));
    CHECK(has(ran.out, "downloads 12/12"));
    CHECK(has(ran.out, "bytes of slice a parked tasklet"));
    CHECK(has(ran.out, " 0 wrong\n"));
}

TEST_CASE("figures are told as records, whose fields have names") {
    const result ran = run_host({"--npcs", "50", "--seconds", "1.3", "--stats", "--rows", "--url", "/file/1000"});
    CAPTURE(ran.out);
    CHECK(ran.status == 0);
    CHECK_FALSE(has(ran.out, "tick p50"));
    // The last second: both downloads have ended.
    const std::size_t row = ran.out.rfind("\nSecond(at_s=1.");
    REQUIRE(row != std::string::npos);
    const std::string last = ran.out.substr(row, ran.out.find('\n', row + 1) - row);
    CHECK(has(last, ", p50_ms="));
    CHECK(has(last, ", tasklets="));
    CHECK(has(last, ", downloads_ended=2, downloads=2, received_bytes=2000, total_bytes=2000)"));
    CHECK(has(ran.out, "\nAll(ticks="));
    CHECK(has(ran.out, ", slice_peak_bytes="));
}

TEST_CASE("one way alone can be chosen") {
    const result one = run_host(quick({"--io", "nonblocking", "--url", "/file/1000"}));
    CHECK(one.status == 0);
    CHECK(has(one.out, "ok   nonblocking"));
    CHECK_FALSE(has(one.out, "ok   workers"));
    const result other = run_host(quick({"--io=workers", "--url", "/file/1000"}));
    CHECK(other.status == 0);
    CHECK_FALSE(has(other.out, "ok   nonblocking"));
    CHECK(has(other.out, "ok   workers"));
}

TEST_CASE("a game without NPCs, and one in small windows, play too") {
    CHECK(run_host({"--npcs", "0", "--seconds", "0.1", "--url", "/file/10"}).status == 0);
    CHECK(run_host({"--npcs", "1", "--seconds", "0.1", "--url", "/file/10"}).status == 0);
    const result small = run_host({"--npcs", "300", "--seconds", "0.5", "--windows", "1", "--window-size", "64K", "--url", "/file/100000"});
    CHECK(small.err == "");
    CHECK(small.status == 0);
}

TEST_CASE("ten thousand parked tasklets wake, each once") {
    const result ran = run_host({"--park", "10000"});
    CHECK(ran.status == 0);
    CHECK(has(ran.out, "parked 10000 tasklets"));
    CHECK(has(ran.out, "bytes of slice a tasklet"));
    CHECK(has(ran.out, "woke 10000 tasklets"));
}

TEST_CASE("help and version go to stdout") {
    const result help = run_host({"--help"});
    CHECK(help.status == 0);
    CHECK(help.err == "");
    for (const char* option : {"--npcs", "--hz", "--budget-ms", "--seconds", "--windows", "--window-size", "--url", "--sha256", "--io",
                               "--timeout", "--port", "--stats", "--rows", "--park", "--help"}) {
        CHECK(has(help.out, option));
    }
    CHECK(run_host({"--version"}).status == 0);
}

TEST_CASE("a wrong command line is one line, and nothing is done") {
    for (const std::vector<std::string>& arguments :
         {std::vector<std::string>{"--frobnicate"}, {"--npcs"}, {"--npcs", "many"}, {"--url", "gopher://h/"}, {"file"}, {"--io", "telepathy"},
          {"--sha256", "00"}, {"--port", "99999"}}) {
        const result ran = run_host(arguments);
        CAPTURE(arguments[0]);
        CHECK(ran.status == 2);
        CHECK(ran.out == "");
        CHECK(lines(ran.err) == 1);
        CHECK(has(ran.err, "hsw-host: "));
        CHECK(has(ran.err, arguments[0]));
    }
}

TEST_CASE("a port in use is one line that names it") {
    taken_port taken;
    taken.listen();
    const result ran = run_host({"--port", taken.port()});
    CHECK(ran.status == 1);
    CHECK(lines(ran.err) == 1);
    CHECK(has(ran.err, taken.port()));
    CHECK(has(ran.err, "in use"));
}

TEST_CASE("settings that cannot be are one line") {
    const result ran = run_host({"--windows", "1024", "--window-size", "1G", "--npcs", "1", "--seconds", "0", "--url", "/file/1"});
    // Either the machine has that much address space, or it is an error value.
    CHECK((ran.status == 0 || (ran.status == 1 && lines(ran.err) == 1)));
}

TEST_CASE("a refused connection is a failed download, the other is unharmed") {
    const taken_port nobody_listens;
    one_fails("http://127.0.0.1:" + nobody_listens.port() + "/x", "refused", "refused");
}

TEST_CASE("a host that does not exist is a failed download") {
    one_fails("http://no-such-host.invalid/x", "no-such-host.invalid", "no-such-host.invalid");
}

TEST_CASE("a server that never answers is a failed download, in time") {
    one_fails("/stall", "no progress for 2 s", "no progress for 2 s");
}

TEST_CASE("a server that takes the connection and hears nothing is a failed download, in time") {
    taken_port deaf;
    deaf.listen(); // the system connects, nobody answers
    one_fails("http://127.0.0.1:" + deaf.port() + "/x", "no progress for 2 s", "no progress for 2 s");
}

TEST_CASE("a reset connection is a failed download") { one_fails("/reset/100000", "reset", "reset"); }

TEST_CASE("a short body is a failed download") {
    one_fails("/short/100000", "after 50000 of 100000 bytes", "after 50000 of 100000 bytes");
    one_fails("/cut/100000", "short body", "short body");
}

TEST_CASE("a wrong bit is a failed download") { one_fails("/flip/100000", "wrong hash", "wrong hash"); }

TEST_CASE("a wrong expectation is a failed download") {
    one_fails("/file/1000", "wrong hash: expected 0000", "wrong hash: expected 0000", std::string(64, '0'));
}

TEST_CASE("an answer that is no HTTP is a failed download") { one_fails("/garbage", "breaks the protocol", "breaks the protocol"); }

TEST_CASE("no answer at all is a failed download") { one_fails("/silent", "ended before the head of the answer", "ended before the head of the answer"); }

TEST_CASE("a missing file is a failed download") { one_fails("/nowhere", "404", "404"); }
