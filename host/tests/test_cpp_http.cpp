// hardswitch.hpp: requests of HTTP.
#include "http_server.hpp"

#include <hardswitch.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using test::http_request;
using test::http_server;

namespace {

struct no_leaks {
    std::size_t before = hsw_live_handles();
    std::size_t shared_before = hsw_live_shared_handles();
    ~no_leaks() {
        CHECK(hsw_live_handles() == before);
        CHECK(hsw_live_shared_handles() == shared_before);
    }
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct disk_full : std::runtime_error {
    disk_full() : std::runtime_error("the disk is full") {}
};

/// The body that came, with the method and a field; a file with parts; redirects; and a stall.
bool answers(http_server& server, const http_request& request, int fd) {
    if (request.target == "/echo") {
        return http_server::reply(fd, "200 OK", request.method == "HEAD" ? "" : request.body,
                                  "X-Method: " + request.method + "\r\nX-Field: " + request.header("x-field") +
                                      "\r\nX-Chunked: " + (request.chunked ? "yes" : "no") + "\r\n");
    }
    if (request.target == "/file") {
        const std::string whole(100'000, 'z');
        const std::string range = request.header("range");
        if (range.empty() || request.header("if-range") != "\"v1\"") {
            return http_server::reply(fd, "200 OK", whole, "ETag: \"v1\"\r\n");
        }
        const std::size_t from = std::strtoul(range.c_str() + std::strlen("bytes="), nullptr, 10);
        return http_server::reply(fd, "206 Part", whole.substr(from),
                                  "Content-Range: bytes " + std::to_string(from) + "-99999/100000\r\nETag: \"v1\"\r\n");
    }
    if (request.target == "/away") {
        return http_server::reply(fd, "303 See Other", "", "Location: /echo\r\n");
    }
    if (request.target == "/stall") {
        server.hold();
        return false;
    }
    return http_server::reply(fd, "404 Not Found", "nothing here");
}

struct origin {
    http_server server{[this](const http_request& request, int fd) { return answers(server, request, fd); }};
    std::string url(const std::string& target) const { return server.url(target); }
};

// Shown in docs/net.md.
// Tells a server some points, and loads a level into a file, on from where it was.
std::string play(const hsw::http::client& client, const std::string& server, std::FILE* file,
                 std::uint64_t have, std::string& version) {
    auto said = client.post(server + "/scores")
                    .header("Content-Type", "text/plain")
                    .body("7 points")
                    .timeout(20s)
                    .send();
    said.check_status();

    auto level = client.download(server + "/level")
                     .resume_from(have, version)
                     .start_anew_if_changed()
                     .send();
    std::fseek(file, static_cast<long>(level.start()), SEEK_SET);
    level.copy_to([&](const char* data, std::size_t size) {
        if (std::fwrite(data, 1, size, file) != size) {
            throw std::runtime_error("the disk is full"); // arrives at who called play
        }
    });
    version = level.validator();
    return said.read_all(1000);
}

/// The same in a tasklet and in a job of a worker. What it throws arrives.
void in_both_ways(const std::function<void()>& test) {
    SUBCASE("in a tasklet") {
        hsw::spawn_detached([&] { test(); });
        hsw::run_until_idle();
    }
    SUBCASE("in a job") { hsw::offload([&] { test(); }); }
}

} // namespace

TEST_CASE("requests with all kinds of bodies are sent, and answers read") {
    const no_leaks check;
    const origin server;
    in_both_ways([&] {
        const hsw::http::client client;
        auto got = client.post(server.url("/echo")).header("X-Field", "1").body("some body").send();
        got.check_status();
        CHECK(got.status() == 200);
        CHECK(got.reason() == "OK");
        CHECK(got.url() == server.url("/echo"));
        CHECK(got.header("X-METHOD") == "POST");
        CHECK(got.header("x-field") == "1");
        CHECK_FALSE(got.header("X-Other"));
        CHECK(got.headers().size() == 4);
        CHECK(got.headers()[1] == std::pair<std::string, std::string>("x-method", "POST"));
        CHECK(got.length() == 9);
        CHECK(got.read_all(9) == "some body");
        CHECK(got.received() == 9);

        CHECK(client.get(server.url("/echo")).send().header("x-method") == "GET");
        CHECK(client.head(server.url("/file")).send().length() == 100'000);
        CHECK(client.del(server.url("/echo")).send().header("x-method") == "DELETE");
        CHECK(client.request("BREW", server.url("/echo")).send().header("x-method") == "BREW");
        CHECK(client.post(server.url("/away")).body("x").send().header("x-method") == "GET");
        CHECK(client.put(server.url("/echo")).body("").send().header("x-chunked") == "no");

        for (const std::optional<std::uint64_t> length : {std::optional<std::uint64_t>(5000), std::optional<std::uint64_t>()}) {
            auto sent = client.put(server.url("/echo"))
                            .body_from(
                                [left = std::size_t{5000}](char* buffer, std::size_t size) mutable {
                                    const std::size_t many = std::min({left, size, std::size_t{777}});
                                    std::memset(buffer, 'y', many);
                                    left -= many;
                                    return many;
                                },
                                length)
                            .send();
            CHECK(sent.header("x-chunked") == (length ? "no" : "yes"));
            CHECK(sent.read_all(1 << 20) == std::string(5000, 'y'));
        }
        CHECK(client.idle() == 1);
    });
}

TEST_CASE("the example of the docs posts points, and loads a level on from where it was") {
    const no_leaks check;
    http_server server([](const http_request& request, int fd) {
        if (request.target == "/scores") {
            return http_server::reply(fd, "201 Created", "well done: " + request.body);
        }
        return request.header("range") == "bytes=4-"
                   ? http_server::reply(fd, "206 Part", "456", "Content-Range: bytes 4-6/7\r\nETag: \"v1\"\r\n")
                   : http_server::reply(fd, "200 OK", "0123456", "ETag: \"v1\"\r\n");
    });
    in_both_ways([&] {
        std::FILE* const file = std::tmpfile();
        REQUIRE(file != nullptr);
        std::fputs("0123", file);
        std::string version = "\"v1\"";
        CHECK(play(hsw::http::client(), server.url(""), file, 4, version) == "well done: 7 points");
        char bytes[10] = {};
        std::rewind(file);
        CHECK(std::fread(bytes, 1, sizeof bytes, file) == 7);
        CHECK(std::string(bytes) == "0123456");
        CHECK(version == "\"v1\"");
        std::fclose(file);
    });
}

TEST_CASE("a download goes into a sink with progress, and on from where it was") {
    const no_leaks check;
    const origin server;
    in_both_ways([&] {
        const hsw::http::client client;
        std::string file;
        std::uint64_t last = 0;
        auto whole = client.download(server.url("/file")).send();
        const std::uint64_t copied = whole.copy_to([&](const char* data, std::size_t size) { file.append(data, size); },
                                                   [&](std::uint64_t received, std::optional<std::uint64_t> length) {
                                                       CHECK(received == file.size());
                                                       CHECK(length == 100'000);
                                                       last = received;
                                                   });
        CHECK(copied == 100'000);
        CHECK(last == 100'000);
        CHECK(file == std::string(100'000, 'z'));
        const std::string validator = whole.validator();
        CHECK(validator == "\"v1\"");

        auto rest = client.download(server.url("/file")).resume_from(99'990, validator).send();
        CHECK(rest.start() == 99'990);
        CHECK(rest.file_length() == 100'000);
        std::string end;
        CHECK(rest.copy_to([&](const char* data, std::size_t size) { end.append(data, size); }) == 10);
        CHECK(end == std::string(10, 'z'));

        try {
            client.download(server.url("/file")).resume_from(5, "\"v0\"").send();
            FAIL_CHECK("the file is another one");
        } catch (const hsw::http::error& e) {
            CHECK(e.problem() == hsw::http::problem::changed);
            CHECK(e.status() == HSW_ERR_HTTP);
        }
        CHECK(client.download(server.url("/file")).resume_from(5, "\"v0\"").start_anew_if_changed().send().start() == 0);
        CHECK_THROWS_AS(client.download(server.url("/file")).resume_from(5, "what?").send(), hsw::usage_error);
    });
}

TEST_CASE("what a callback throws arrives as itself, after the request was ended") {
    const no_leaks check;
    const origin server;
    in_both_ways([&] {
        const hsw::http::client client;
        const auto guard = std::make_shared<int>(0);
        CHECK_THROWS_AS(client.post(server.url("/echo")).body_from([guard](char*, std::size_t) -> std::size_t { throw disk_full(); }).send(), disk_full);
        CHECK(guard.use_count() == 1); // the source has gone
        CHECK_THROWS_AS(client.post(server.url("/echo")).body_from([](char*, std::size_t) -> std::size_t { throw 5; }, 7).send(), int);
        CHECK_THROWS_AS(client.post(server.url("/echo")).body_from([](char*, std::size_t size) { return size + 1; }).send(), hsw::usage_error);

        auto got = client.get(server.url("/file")).send();
        std::size_t taken = 0;
        auto sink = [&, failed = false](const char*, std::size_t size) mutable {
            if (taken > 0 && !failed) {
                failed = true;
                throw disk_full();
            }
            taken += size;
        };
        CHECK_THROWS_AS(got.copy_to(sink), disk_full);
        got.copy_to(sink);
        CHECK(taken == 100'000);
        CHECK(client.idle() == 1); // of those before, none can be used
        auto more = client.get(server.url("/file")).send();
        CHECK_THROWS_AS(more.copy_to([](const char*, std::size_t) {}, [](std::uint64_t, std::optional<std::uint64_t>) { throw disk_full(); }), disk_full);
    });
}

TEST_CASE("failures are exceptions that name the request") {
    const no_leaks check;
    const origin server;
    in_both_ways([&] {
        const hsw::http::client client;
        auto missing = client.get(server.url("/missing")).send();
        try {
            missing.check_status();
            FAIL_CHECK("it is missing");
        } catch (const hsw::http::error& e) {
            CHECK(e.problem() == hsw::http::problem::status);
            CHECK(e.phase() == hsw::http::phase::reading_head);
            CHECK(e.answered() == 404);
            CHECK(e.what() == "GET " + server.url("/missing") + ": waiting for the answer: the server answered 404 Not Found");
        }
        try {
            missing.read_all(3);
            FAIL_CHECK("it is longer");
        } catch (const hsw::http::error& e) {
            CHECK(e.problem() == hsw::http::problem::body_too_long);
        }
        CHECK(missing.read_all(100) == "nothing here");
        CHECK_THROWS_AS(client.download(server.url("/missing")).send(), hsw::http::error);
        CHECK_THROWS_AS(client.get(server.url("/stall")).timeout(20ms).send(), hsw::timeout);
        hsw::http::limits limits;
        CHECK(limits.redirects == 10);
        CHECK(limits.connect == 10s);
        CHECK(limits.total == hsw::forever);
        limits.io = 20ms;
        CHECK_THROWS_AS(client.get(server.url("/stall")).limits(limits).send(), hsw::timeout);
        limits = hsw::http::limits();
        limits.redirects = 0;
        CHECK(client.get(server.url("/away")).limits(limits).send().status() == 303);
        std::string gone;
        { gone = http_server([](const http_request&, int) { return false; }).url("/"); }
        try {
            client.get(gone).send();
            FAIL_CHECK("nobody is there");
        } catch (const hsw::io_error& e) {
            CHECK(e.code() == ECONNREFUSED);
            CHECK(has(e.what(), "GET " + gone + ": connecting: "));
        }
        for (const char* const url : {"", "h", "https://h/", "http://h/a b", "http://h:0/"}) {
            CHECK_THROWS_AS(client.get(url).send(), hsw::usage_error);
        }
        // Line ends and zero bytes, in whatever is sent.
        using namespace std::string_literals;
        for (const std::string& evil : {"a\r\nX: y"s, "a\nX: y"s, "a\0b"s}) {
            CHECK_THROWS_AS(client.get(server.url("/echo")).header("X", evil).send(), hsw::usage_error);
            CHECK_THROWS_AS(client.get(server.url("/echo")).header(evil, "x").send(), hsw::usage_error);
            CHECK_THROWS_AS(client.get(server.url("/" + evil)).send(), hsw::usage_error);
            CHECK_THROWS_AS(client.request(evil, server.url("/echo")).send(), hsw::usage_error);
            hsw::http::settings settings;
            settings.user_agent = evil;
            CHECK_THROWS_AS(hsw::http::client(settings).get(server.url("/echo")).send(), hsw::usage_error);
        }
    });
}

TEST_CASE("a tasklet is killed in a callback and in a wait, and its objects are unwound") {
    const no_leaks check;
    origin server;
    const hsw::http::client client;
    int unwound = 0, inside = 0;
    const auto counted = [&] { return std::shared_ptr<int>(&unwound, [](int* count) { ++*count; }); };
    auto waits = hsw::spawn([&] {
        const auto mine = counted();
        client.get(server.url("/stall")).send();
    });
    auto in_source = hsw::spawn([&] {
        const auto mine = counted();
        client.post(server.url("/echo")).body_from([&](char*, std::size_t) -> std::size_t {
            const auto inner = counted();
            ++inside;
            hsw::sleep(std::chrono::hours(1));
            return 0;
        }).send();
    });
    auto in_sink = hsw::spawn([&] {
        const auto mine = counted();
        client.get(server.url("/file")).send().copy_to([&](const char*, std::size_t) {
            const auto inner = counted();
            ++inside;
            hsw::sleep(std::chrono::hours(1));
        });
    });
    hsw::spawn_detached([&] {
        while (inside < 2) {
            hsw::sleep(1ms);
        }
        waits.kill();
        in_source.kill();
        in_sink.kill();
        // Also by a time around the request.
        CHECK_THROWS_AS(hsw::within(20ms, [&] { client.get(server.url("/stall")).send(); }), hsw::timeout);
    });
    hsw::run_until_idle();
    CHECK(unwound == 5);
    server.server.release();
}

TEST_CASE("a client is shared by tasklets and workers, and keeps what its settings say") {
    const no_leaks check;
    const origin server;
    hsw::http::settings settings;
    settings.idle = 2;
    settings.user_agent = "game/1";
    settings.limits.total = 100s;
    const hsw::http::client client(settings);
    for (int i = 0; i < 4; ++i) {
        hsw::spawn_detached([&] {
            CHECK(client.get(server.url("/file")).send().read_all(1 << 20).size() == 100'000);
            const std::size_t size = hsw::offload([client, url = server.url("/file")] { return client.get(url).send().read_all(1 << 20).size(); });
            CHECK(size == 100'000);
        });
    }
    hsw::run_until_idle();
    CHECK(client.idle() <= 2);
    CHECK(client.idle() >= 1);
    auto answer = client.get(server.url("/file")).send();
    const auto same = answer;
    CHECK(same.status() == 200);
    CHECK(answer.read_all(1 << 20).size() == 100'000);
}
