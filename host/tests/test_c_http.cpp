// hardswitch.h: requests of HTTP.
#include "c_helpers.hpp"
#include "http_server.hpp"

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using test::http_request;
using test::http_server;

extern "C" int c_http_program(const char* posted, const char* loaded);

namespace {

constexpr std::uint64_t ms = 1'000'000;

/// Answers with what has come: `/echo` the body, with the method in a field; `/file` "hello" and its parts; and faults.
class origin {
public:
    origin() : server_([this](const http_request& request, int fd) { return answer(request, fd); }) {}
    std::string url(const std::string& target) const { return server_.url(target); }
    http_server& server() { return server_; }
    std::string last_head; // of the last request to /echo; read when its answer has come

private:
    bool answer(const http_request& request, int fd) {
        const bool head = request.method == "HEAD";
        if (request.target == "/echo") {
            last_head = request.head;
            return http_server::reply(fd, "200 Fine", head ? "" : request.body,
                                      "X-Method: " + request.method + "\r\nX-Chunked: " + (request.chunked ? "yes" : "no") +
                                          "\r\nX-Two: 1\r\nX-Two: 2\r\n");
        }
        if (request.target == "/file") {
            const std::string range = request.header("range");
            if (range.empty()) {
                return http_server::send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"v1\"\r\n\r\n" + std::string(head ? "" : "hello"));
            }
            const std::size_t from = std::strtoul(range.c_str() + std::strlen("bytes="), nullptr, 10);
            if (from >= 5) {
                return http_server::reply(fd, "416 Not So Long", "", "Content-Range: bytes */5\r\n");
            }
            if (request.header("if-range") != "\"v1\"") {
                return http_server::reply(fd, "200 OK", "hello", "ETag: \"v1\"\r\n");
            }
            return http_server::reply(fd, "206 Part", std::string("hello").substr(from),
                                      "Content-Range: bytes " + std::to_string(from) + "-4/5\r\nETag: \"v1\"\r\n");
        }
        if (request.target == "/away") {
            return http_server::reply(fd, "303 See Other", "", "Location: /echo\r\n");
        }
        if (request.target == "/circle") {
            return http_server::reply(fd, "302 Found", "", "Location: /circle\r\n");
        }
        if (request.target == "/missing") {
            return http_server::reply(fd, "404 Not Found", "nothing here");
        }
        if (request.target == "/short") {
            http_server::send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            return false;
        }
        if (request.target == "/reset") {
            http_server::send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            return http_server::reset(fd);
        }
        if (request.target == "/stall") {
            server_.hold();
            return false;
        }
        if (request.target == "/half") { // and the rest when the test says so
            http_server::send(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            server_.hold();
            return http_server::send(fd, "world");
        }
        if (request.target == "/long") {
            return http_server::reply(fd, "200 OK", std::string(300'000, 'x'));
        }
        if (request.target == "/garbage") {
            http_server::send(fd, "\x01\x02 no HTTP at all\r\n\r\n");
        }
        return false; // without an answer
    }

    http_server server_;
};

struct client {
    hsw_http_client raw{};
    explicit client(const hsw_http_settings* settings = nullptr) { REQUIRE(hsw_http_client_new(settings, &raw) == HSW_OK); }
    client(const client&) = delete;
    client& operator=(const client&) = delete;
    ~client() { hsw_http_client_release(raw); }
    operator hsw_http_client() const { return raw; }
    std::size_t idle() const {
        std::size_t count = 0;
        CHECK(hsw_http_client_idle(raw, &count) == HSW_OK);
        return count;
    }
};

struct answer {
    hsw_http_answer raw{};
    answer() = default;
    answer(const answer&) = delete;
    answer& operator=(const answer&) = delete;
    ~answer() {
        if (raw.handle != 0) {
            CHECK(hsw_http_answer_release(raw) == HSW_OK);
        }
    }
    operator hsw_http_answer() const { return raw; }
};

hsw_http_settings default_settings() {
    hsw_http_settings out{};
    CHECK(hsw_http_settings_default(&out) == HSW_OK);
    return out;
}

hsw_http_request get(const std::string& url) {
    hsw_http_request out{};
    out.url = url.c_str();
    return out;
}

hsw_http_error problem() {
    hsw_http_error out{};
    CHECK(hsw_http_last_error(&out) == HSW_OK);
    return out;
}

hsw_http_answer_info info(hsw_http_answer of) {
    hsw_http_answer_info out{};
    CHECK(hsw_http_answer_get_info(of, &out) == HSW_OK);
    return out;
}

std::string read_all(hsw_http_answer from, std::size_t limit = 1 << 20) {
    void* data = nullptr;
    std::size_t size = 0;
    const hsw_status status = hsw_http_answer_read_all(from, limit, &data, &size);
    if (status != HSW_OK) {
        return std::string("error: ") + hsw_last_error_message();
    }
    const std::string out(static_cast<const char*>(data), size);
    CHECK(static_cast<const char*>(data)[size] == '\0');
    std::free(data);
    return out;
}

template <class Copy, class... At>
std::string text(Copy copy, hsw_http_answer of, At... at) {
    std::size_t length = 0;
    CHECK(copy(of, at..., nullptr, 0, &length) == HSW_OK);
    std::string out(length, '\0');
    CHECK(copy(of, at..., &out[0], length + 1, &length) == HSW_OK);
    return out;
}

std::string header(hsw_http_answer of, const char* name) {
    char out[100] = "?";
    bool found = false;
    CHECK(hsw_http_answer_header(of, name, out, sizeof out, nullptr, &found) == HSW_OK);
    return found ? out : "(none)";
}

/// A source that calls a function of the test's.
using source = std::function<hsw_status(char*, std::size_t, std::size_t*)>;
hsw_status call_source(void* user, void* buffer, std::size_t size, std::size_t* given) {
    return (*static_cast<source*>(user))(static_cast<char*>(buffer), size, given);
}
using sink = std::function<hsw_status(std::string, std::uint64_t, std::uint64_t)>;
hsw_status call_sink(void* user, const void* data, std::size_t size, std::uint64_t received, std::uint64_t length) {
    return (*static_cast<sink*>(user))(std::string(static_cast<const char*>(data), size), received, length);
}

/// The same in main, in a tasklet, and in a job of a worker.
void in_each_way(const std::function<void()>& test) {
    SUBCASE("in main") { test(); }
    SUBCASE("in a tasklet") {
        hsw_tasklet_release(spawn([&] {
            test();
            return HSW_OK;
        }));
        CHECK(hsw_run_until_idle() == HSW_OK);
    }
    SUBCASE("in a job") {
        void* result = nullptr;
        const auto job = [](void* argument) -> void* {
            (*static_cast<const std::function<void()>*>(argument))();
            CHECK(hsw_live_handles() == 0);
            return nullptr;
        };
        CHECK(hsw_offload(job, const_cast<std::function<void()>*>(&test), nullptr, nullptr, HSW_NO_LIMIT, &result) == HSW_OK);
    }
}

} // namespace

TEST_CASE("a program in C posts and loads") {
    const no_leaks check;
    origin server;
    CHECK(c_http_program(server.url("/echo").c_str(), server.url("/file").c_str()) == 0);
}

TEST_CASE("every method and body arrives, and connections are kept, in each way to wait") {
    const no_leaks check;
    origin server;
    in_each_way([&] {
        const client mine;
        const std::size_t before = server.server().connections();
        for (const char* const method : {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"}) {
            CAPTURE(method);
            const std::string body = *method == 'G' || *method == 'H' ? "" : "some body";
            const std::string url = server.url("/echo");
            hsw_http_request request = get(url);
            request.method = method;
            request.body = body.empty() ? nullptr : body.data();
            request.body_size = body.size();
            answer got;
            REQUIRE(hsw_http_send(mine, &request, &got.raw) == HSW_OK);
            CHECK(header(got, "x-METHOD") == method);
            CHECK(header(got, "x-chunked") == "no");
            CHECK(read_all(got) == body);
            CHECK(info(got).received == body.size());
        }
        CHECK(server.server().connections() == before + 1);
        CHECK(mine.idle() == 1);
    });
}

TEST_CASE("a body comes from a callback, with a length or without") {
    const no_leaks check;
    origin server;
    in_each_way([&] {
        const client mine;
        for (const bool sized : {true, false}) {
            std::size_t left = 100'000;
            source gives = [&left](char* buffer, std::size_t size, std::size_t* given) {
                *given = std::min({left, size, std::size_t{777}});
                std::memset(buffer, 'y', *given);
                left -= *given;
                return HSW_OK;
            };
            const std::string url = server.url("/echo");
            hsw_http_request request = get(url);
            request.method = "PUT";
            request.source = &call_source;
            request.source_has_length = sized;
            request.source_length = sized ? left : 5;
            request.user = &gives;
            answer got;
            REQUIRE(hsw_http_send(mine, &request, &got.raw) == HSW_OK);
            CHECK(header(got, "x-chunked") == (sized ? "no" : "yes"));
            CHECK(read_all(got) == std::string(100'000, 'y'));
        }
    });
}

TEST_CASE("what comes with an answer is told") {
    const no_leaks check;
    origin server;
    const client mine;
    const std::string url = server.url("/echo");
    const hsw_http_header fields[] = {{"X-Mine", "caf\xc3\xa9"}, {"User-Agent", "me"}};
    hsw_http_request request = get(url);
    request.headers = fields;
    request.header_count = 2;
    answer got;
    REQUIRE(hsw_http_send(mine, &request, &got.raw) == HSW_OK);
    CHECK(has(server.last_head, "\r\nx-mine: caf\xc3\xa9\r\n"));
    CHECK(has(server.last_head, "\r\nuser-agent: me\r\n"));
    const hsw_http_answer_info told = info(got);
    CHECK(told.status == 200);
    CHECK(told.length == 0);
    CHECK(told.start == 0);
    CHECK(told.headers == 5);
    CHECK(text(&hsw_http_answer_url, got) == url);
    CHECK(text(&hsw_http_answer_reason, got) == "Fine");
    CHECK(text(&hsw_http_answer_validator, got) == "");
    CHECK(header(got, "X-Two") == "1");
    CHECK(header(got, "x-three") == "(none)");
    std::string all;
    for (std::size_t at = 0; at < told.headers; ++at) {
        all += text(&hsw_http_answer_header_name, got, at) + "=" + text(&hsw_http_answer_header_value, got, at) + " ";
    }
    CHECK(has(all, "x-two=1 x-two=2 "));
    CHECK(hsw_http_answer_header_name(got, told.headers, nullptr, 0, nullptr) == HSW_ERR_ARGUMENT);
    CHECK(last_message() == "header field 5 of 5");
    CHECK(hsw_http_answer_header_value(got, SIZE_MAX, nullptr, 0, nullptr) == HSW_ERR_ARGUMENT);

    // A HEAD tells the length that a GET would have.
    const std::string file = server.url("/file");
    request = get(file);
    request.method = "HEAD";
    answer head;
    REQUIRE(hsw_http_send(mine, &request, &head.raw) == HSW_OK);
    CHECK(info(head).length == 5);
    CHECK(read_all(head) == "");
    CHECK(text(&hsw_http_answer_validator, head) == "\"v1\"");
}

TEST_CASE("redirects are followed, as often as the limits say") {
    const no_leaks check;
    origin server;
    const client mine;
    std::string url = server.url("/away");
    hsw_http_request request = get(url);
    request.method = "POST";
    request.body = "x";
    request.body_size = 1;
    answer got;
    REQUIRE(hsw_http_send(mine, &request, &got.raw) == HSW_OK);
    CHECK(text(&hsw_http_answer_url, got) == server.url("/echo"));
    CHECK(header(got, "x-method") == "GET");

    hsw_http_limits limits = default_settings().limits;
    limits.redirects = 0;
    request.limits = &limits;
    answer itself;
    REQUIRE(hsw_http_send(mine, &request, &itself.raw) == HSW_OK);
    CHECK(info(itself).status == 303);
    limits.redirects = 3;
    url = server.url("/circle");
    request = get(url);
    request.limits = &limits;
    hsw_http_answer none{};
    CHECK(hsw_http_send(mine, &request, &none) == HSW_ERR_HTTP);
    CHECK(problem().problem == HSW_HTTP_PROBLEM_TOO_MANY_REDIRECTS);
    CHECK(problem().phase == HSW_HTTP_PHASE_REDIRECTING);
    CHECK(last_message() == "GET " + url + ": following a redirect: more than the 3 redirects allowed");
    CHECK(none.handle == 0);
}

TEST_CASE("a body is read piece by piece, whole within a limit, or into a sink") {
    const no_leaks check;
    origin server;
    in_each_way([&] {
        const client mine;
        const std::string url = server.url("/long");
        const hsw_http_request request = get(url);
        answer got;
        REQUIRE(hsw_http_send(mine, &request, &got.raw) == HSW_OK);
        char piece[1000];
        std::size_t size = 0;
        REQUIRE(hsw_http_answer_read(got, piece, sizeof piece, &size) == HSW_OK);
        REQUIRE(size > 0);
        CHECK(piece[size - 1] == 'x');
        CHECK(info(got).received == size);
        // A limit that is too small loses nothing.
        CHECK(read_all(got, 1000) == "error: GET " + url + ": reading the body: the body is longer than the 1000 bytes allowed");
        CHECK(problem().problem == HSW_HTTP_PROBLEM_BODY_TOO_LONG);
        CHECK(info(got).received == size);
        std::uint64_t last = 0, copied = 0;
        bool refused = false;
        sink takes = [&](const std::string& data, std::uint64_t received, std::uint64_t length) -> hsw_status {
            CHECK(length == 300'000);
            if (received > 100'000 && !refused) {
                refused = true;
                return hsw_fail(nullptr, nullptr, "the disk is full");
            }
            CHECK(received - (last == 0 ? size : last) == data.size()); // none is missing, none comes twice
            last = received;
            return HSW_OK;
        };
        CHECK(hsw_http_answer_copy_to(got, &call_sink, &takes, &copied) == HSW_ERR_THROWN);
        CHECK(last_message() == "the disk is full");
        CHECK(copied == last - size);
        CHECK(info(got).received == last);
        CHECK(hsw_http_answer_copy_to(got, &call_sink, &takes, &copied) == HSW_OK);
        CHECK(last == 300'000);
        CHECK(hsw_http_answer_read(got, piece, sizeof piece, &size) == HSW_OK);
        CHECK(size == 0);
        CHECK(mine.idle() == 1);
    });
}

TEST_CASE("a download goes on where an earlier one has ended") {
    const no_leaks check;
    origin server;
    in_each_way([&] {
        const client mine;
        const std::string url = server.url("/file");
        const hsw_http_request request = get(url);
        std::string file;
        sink takes = [&](const std::string& data, std::uint64_t received, std::uint64_t length) -> hsw_status {
            file += data;
            CHECK(received == file.size());
            CHECK(length == 5);
            return HSW_OK;
        };
        {
            answer whole;
            REQUIRE(hsw_http_download(mine, &request, nullptr, &whole.raw) == HSW_OK);
            CHECK(text(&hsw_http_answer_validator, whole) == "\"v1\"");
            CHECK(hsw_http_answer_copy_to(whole, &call_sink, &takes, nullptr) == HSW_OK);
            CHECK(file == "hello");
        }
        {
            file = "he";
            const hsw_http_resume resume{2, "\"v1\"", false};
            answer rest;
            REQUIRE(hsw_http_download(mine, &request, &resume, &rest.raw) == HSW_OK);
            CHECK(info(rest).start == 2);
            CHECK(info(rest).file_length == 5);
            CHECK(info(rest).status == 206);
            CHECK(hsw_http_answer_copy_to(rest, &call_sink, &takes, nullptr) == HSW_OK);
            CHECK(file == "hello");
        }
        // Another version, and a file that is shorter.
        hsw_http_resume resume{2, "\"v0\"", false};
        hsw_http_answer none{};
        CHECK(hsw_http_download(mine, &request, &resume, &none) == HSW_ERR_HTTP);
        CHECK(problem().problem == HSW_HTTP_PROBLEM_CHANGED);
        resume.from = 9;
        resume.validator = "\"v1\"";
        CHECK(hsw_http_download(mine, &request, &resume, &none) == HSW_ERR_HTTP);
        CHECK(problem().problem == HSW_HTTP_PROBLEM_NO_RANGE);
        resume.start_anew = true;
        answer anew;
        REQUIRE(hsw_http_download(mine, &request, &resume, &anew.raw) == HSW_OK);
        CHECK(info(anew).start == 0);
        CHECK(read_all(anew) == "hello");
        // What is no validator, or no file.
        for (const char* const bad : {"some", "\"", "W/\"v1\"", ""}) {
            const hsw_http_resume wrong{2, bad, true};
            CHECK(hsw_http_download(mine, &request, &wrong, &none) == HSW_ERR_ARGUMENT);
        }
        const hsw_http_resume nothing{2, nullptr, true};
        CHECK(hsw_http_download(mine, &request, &nothing, &none) == HSW_ERR_NULL);
        hsw_http_request post = request;
        post.method = "POST";
        CHECK(hsw_http_download(mine, &post, nullptr, &none) == HSW_ERR_ARGUMENT);
        CHECK(last_message() == "a download is a GET without a body");
        const std::string missing = server.url("/missing");
        const hsw_http_request no_file = get(missing);
        CHECK(hsw_http_download(mine, &no_file, nullptr, &none) == HSW_ERR_HTTP);
        CHECK(problem().problem == HSW_HTTP_PROBLEM_STATUS);
        CHECK(problem().status == 404);
    });
}

TEST_CASE("what a source fails with is the failure of the request, and its argument is freed once") {
    const no_leaks check;
    origin server;
    in_each_way([&] {
        const client mine;
        const std::string url = server.url("/echo");
        int freed = 0;
        const auto send = [&](source gives, bool sized) {
            struct counted_source {
                source function;
                int* freed;
            };
            hsw_http_request request = get(url);
            request.method = "POST";
            request.source = [](void* user, void* buffer, std::size_t size, std::size_t* given) {
                return static_cast<counted_source*>(user)->function(static_cast<char*>(buffer), size, given);
            };
            request.source_has_length = sized;
            request.source_length = 10;
            request.user = new counted_source{std::move(gives), &freed};
            request.destroy_user = [](void* user) {
                ++*static_cast<counted_source*>(user)->freed;
                delete static_cast<counted_source*>(user);
            };
            hsw_http_answer got{};
            const hsw_status status = hsw_http_send(mine, &request, &got);
            if (got.handle != 0) {
                CHECK(hsw_http_answer_release(got) == HSW_OK);
            }
            return status;
        };
        CHECK(send([](char*, std::size_t, std::size_t*) { return hsw_fail(nullptr, nullptr, "the disk is broken"); }, true) == HSW_ERR_THROWN);
        CHECK(last_message() == "the disk is broken");
        CHECK(freed == 1);
        CHECK(send([](char*, std::size_t, std::size_t*) { return HSW_ERR_CLOSED; }, false) == HSW_ERR_CLOSED);
        CHECK(send([](char*, std::size_t, std::size_t*) { return static_cast<hsw_status>(4711); }, false) == HSW_ERR_THROWN);
        CHECK(last_message() == "status 4711");
        // More than there was room for, and less than was said.
        CHECK(send([](char*, std::size_t size, std::size_t* given) { *given = size + 1; return HSW_OK; }, false) == HSW_ERR_ARGUMENT);
        CHECK(has(last_message(), "the source says that it has given "));
        CHECK(send([](char*, std::size_t, std::size_t* given) { *given = 0; return HSW_OK; }, true) == HSW_ERR_HTTP);
        CHECK(problem().problem == HSW_HTTP_PROBLEM_REQUEST_BODY);
        CHECK(problem().phase == HSW_HTTP_PHASE_SENDING);
        CHECK(has(last_message(), "it ended after 0 of 10 bytes"));
        CHECK(freed == 5);
        int calls = 0;
        CHECK(send([&](char* b, std::size_t, std::size_t* given) { *b = 'x'; *given = calls++ < 3; return HSW_OK; }, false) == HSW_OK);
        CHECK(freed == 6);
        CHECK(mine.idle() <= 1);
    });
    // Also when nothing is sent.
    int freed = 0;
    hsw_http_request request{};
    request.user = new counted{&freed};
    request.destroy_user = &destroy_counted;
    hsw_http_answer none{};
    CHECK(hsw_http_send(hsw_http_client{}, &request, &none) == HSW_ERR_NULL);
    request.user = new counted{&freed};
    CHECK(hsw_http_send(hsw_http_client{}, &request, nullptr) == HSW_ERR_NULL);
    CHECK(freed == 2);
}

TEST_CASE("whatever cannot be sent is refused with words, and nothing is sent") {
    const no_leaks check;
    origin server;
    const client mine;
    hsw_http_answer none{};
    const auto refused = [&](const hsw_http_request& request, hsw_status status, const std::string& words, int what) {
        CAPTURE(words);
        CHECK(hsw_http_send(mine, &request, &none) == status);
        CHECK(has(last_message(), words));
        CHECK(problem().problem == what);
        CHECK(none.handle == 0);
    };
    const std::pair<const char*, const char*> urls[] = {
        {"", "it does not start with http://"},
        {"example.com", "it does not start with http://"},
        {"ftp://h/", "it does not start with http://"},
        {"https://h/", "https is not supported"},
        {"http://", "it has no host"},
        {"http://h:0/", "its port is not in 1 to 65535"},
        {"http://h:65536/", "its port is not in 1 to 65535"},
        {"http://h:x/", "its port is no number"},
        {"http://u@h/", "user names in URLs are not supported"},
        {"http://[::1/", "the ] of its host is missing"},
        {"http://h/a b", "it contains a character that has to be written as %.."},
        {"http://h/\r\nX: y", "it contains a character that has to be written as %.."},
        {"http://h/\xff", "it contains a character that has to be written as %.."},
    };
    for (const auto& [url, why] : urls) {
        hsw_http_request request{};
        request.url = url;
        refused(request, HSW_ERR_ARGUMENT, why, HSW_HTTP_PROBLEM_BAD_URL);
    }
    refused(hsw_http_request{}, HSW_ERR_NULL, "url is null", HSW_HTTP_PROBLEM_NONE);

    const std::string url = server.url("/echo");
    const auto with_header = [&](const char* name, const char* value, hsw_status status, const std::string& words, int what) {
        const hsw_http_header field{name, value};
        hsw_http_request request = get(url);
        request.headers = &field;
        request.header_count = 1;
        refused(request, status, words, what);
    };
    with_header("X", "1\r\nEvil: 2", HSW_ERR_ARGUMENT, "bad request header \"X\"", HSW_HTTP_PROBLEM_BAD_HEADER);
    with_header("X", "1\nEvil: 2", HSW_ERR_ARGUMENT, "bad request header \"X\"", HSW_HTTP_PROBLEM_BAD_HEADER);
    with_header("X\r\nEvil", "1", HSW_ERR_ARGUMENT, "bad request header", HSW_HTTP_PROBLEM_BAD_HEADER);
    with_header("a b", "1", HSW_ERR_ARGUMENT, "bad request header \"a b\"", HSW_HTTP_PROBLEM_BAD_HEADER);
    with_header("", "1", HSW_ERR_ARGUMENT, "bad request header", HSW_HTTP_PROBLEM_BAD_HEADER);
    with_header("X", "\xff", HSW_ERR_ARGUMENT, "the value of the header \"X\" is not UTF-8", HSW_HTTP_PROBLEM_NONE);
    with_header("Content-Length", "5", HSW_ERR_ARGUMENT, "frames messages", HSW_HTTP_PROBLEM_BAD_REQUEST);
    with_header(nullptr, "1", HSW_ERR_NULL, "a header's name is null", HSW_HTTP_PROBLEM_NONE);
    with_header("X", nullptr, HSW_ERR_NULL, "a header's value is null", HSW_HTTP_PROBLEM_NONE);

    hsw_http_request request = get(url);
    request.method = "GET / HTTP/1.1\r\nX:";
    refused(request, HSW_ERR_ARGUMENT, "its method is no token", HSW_HTTP_PROBLEM_BAD_REQUEST);
    request.method = "CONNECT";
    refused(request, HSW_ERR_ARGUMENT, "CONNECT makes a tunnel", HSW_HTTP_PROBLEM_BAD_REQUEST);
    request = get(url);
    request.header_count = 1;
    refused(request, HSW_ERR_NULL, "headers is null", HSW_HTTP_PROBLEM_NONE);
    request = get(url);
    request.body_size = 1;
    refused(request, HSW_ERR_NULL, "data is null", HSW_HTTP_PROBLEM_NONE);
    request.body = "x";
    request.source = &call_source;
    refused(request, HSW_ERR_ARGUMENT, "a body and a source of it", HSW_HTTP_PROBLEM_NONE);
    request = get(url);
    request.timeout_ns = static_cast<std::uint64_t>(-5);
    refused(request, HSW_ERR_ARGUMENT, "a time of -5 ns", HSW_HTTP_PROBLEM_NONE);
    hsw_http_limits limits = default_settings().limits;
    limits.io_ns = static_cast<std::uint64_t>(-6);
    request = get(url);
    request.limits = &limits;
    refused(request, HSW_ERR_ARGUMENT, "a time of -6 ns", HSW_HTTP_PROBLEM_NONE);
    CHECK(hsw_http_send(mine, nullptr, &none) == HSW_ERR_NULL);
    CHECK(hsw_http_download(mine, nullptr, nullptr, &none) == HSW_ERR_NULL);

    hsw_http_settings settings = default_settings();
    settings.user_agent = "a\r\nEvil: 1";
    const client evil(&settings);
    request = get(url);
    CHECK(hsw_http_send(evil, &request, &none) == HSW_ERR_ARGUMENT);
    CHECK(has(last_message(), "bad request header \"user-agent\""));
    settings.idle_time_ns = static_cast<std::uint64_t>(-7);
    hsw_http_client no_client{};
    CHECK(hsw_http_client_new(&settings, &no_client) == HSW_ERR_ARGUMENT);
    CHECK(hsw_http_client_new(&settings, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_http_settings_default(nullptr) == HSW_ERR_NULL);
    CHECK(server.server().connections() == 0);
}

TEST_CASE("handles that are not good are found") {
    const no_leaks check;
    origin server;
    const std::string url = server.url("/file");
    const hsw_http_request request = get(url);
    hsw_http_client mine{}, other{};
    hsw_http_answer got{}, same{};
    REQUIRE(hsw_http_client_new(nullptr, &mine) == HSW_OK);
    REQUIRE(hsw_http_client_retain(mine, &other) == HSW_OK);
    REQUIRE(hsw_http_send(mine, &request, &got) == HSW_OK);
    REQUIRE(hsw_http_answer_retain(got, &same) == HSW_OK);
    CHECK(hsw_http_client_release(mine) == HSW_OK);
    CHECK(hsw_http_client_release(mine) == HSW_ERR_STALE);
    CHECK(last_message() == "the HTTP client handle is stale: it was released, or never was one");
    CHECK(hsw_http_answer_release(got) == HSW_OK);
    CHECK(hsw_http_answer_release(got) == HSW_ERR_STALE);
    hsw_http_answer none{};
    CHECK(hsw_http_send(mine, &request, &none) == HSW_ERR_STALE);
    CHECK(hsw_http_send(hsw_http_client{same.handle}, &request, &none) == HSW_ERR_WRONG_KIND);
    char byte = 0;
    std::size_t size = 0;
    void* data = nullptr;
    hsw_http_answer_info figures{};
    CHECK(hsw_http_answer_read(got, &byte, 1, &size) == HSW_ERR_STALE);
    CHECK(hsw_http_answer_read(same, nullptr, 1, &size) == HSW_ERR_NULL);
    CHECK(hsw_http_answer_read(same, &byte, 1, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_http_answer_read_all(hsw_http_answer{}, 1, &data, &size) == HSW_ERR_NULL);
    CHECK(hsw_http_answer_read_all(same, 1, nullptr, &size) == HSW_ERR_NULL);
    CHECK(hsw_http_answer_read_all(same, 1, &data, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_http_answer_copy_to(same, nullptr, nullptr, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_http_answer_get_info(same, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_http_answer_url(same, nullptr, 5, nullptr) == HSW_ERR_NULL);
    CHECK(hsw_http_last_error(nullptr) == HSW_ERR_NULL);
    on_new_thread([&] {
        CHECK(hsw_http_answer_get_info(same, &figures) == HSW_ERR_WRONG_THREAD);
        CHECK(hsw_http_answer_release(same) == HSW_ERR_WRONG_THREAD);
        // The client is everybody's, and so are its connections.
        answer there;
        CHECK(hsw_http_send(other, &request, &there.raw) == HSW_OK);
        CHECK(read_all(there) == "hello");
    });
    CHECK(read_all(same) == "hello");
    CHECK(hsw_http_answer_release(same) == HSW_OK);
    CHECK(hsw_http_client_release(other) == HSW_OK);
}

TEST_CASE("what the server does wrong is an error that names URL, phase and problem") {
    const no_leaks check;
    origin server;
    in_each_way([&] {
        const client mine;
        const auto fails = [&](const std::string& target, hsw_status status, int what, int when, const std::string& words) {
            CAPTURE(target);
            const std::string url = server.url(target);
            const hsw_http_request request = get(url);
            answer got;
            hsw_status done = hsw_http_send(mine, &request, &got.raw);
            if (done == HSW_OK) {
                void* data = nullptr;
                std::size_t size = 0;
                done = hsw_http_answer_read_all(got, 1000, &data, &size);
                CHECK(hsw_http_answer_read_all(got, 1000, &data, &size) == done); // again, never an end
            }
            CHECK(done == status);
            CHECK(problem().problem == what);
            CHECK(problem().phase == when);
            CHECK(has(last_message(), "GET " + url + ": "));
            CHECK(has(last_message(), words));
        };
        fails("/short", HSW_ERR_HTTP, HSW_HTTP_PROBLEM_SHORT_BODY, HSW_HTTP_PHASE_READING_BODY, "after 5 of 10 bytes");
        fails("/reset", HSW_ERR_IO, HSW_HTTP_PROBLEM_CONNECTION, HSW_HTTP_PHASE_READING_BODY, "reset");
        CHECK(hsw_last_error_errno() == ECONNRESET);
        fails("/silent", HSW_ERR_HTTP, HSW_HTTP_PROBLEM_SHORT_HEAD, HSW_HTTP_PHASE_READING_HEAD, "before the head of the answer did");
        fails("/garbage", HSW_ERR_HTTP, HSW_HTTP_PROBLEM_BAD_ANSWER, HSW_HTTP_PHASE_READING_HEAD, "breaks the protocol");
        // Not an error until it is asked about; then the body is still there.
        const std::string url = server.url("/missing");
        hsw_http_request request = get(url);
        answer got;
        REQUIRE(hsw_http_send(mine, &request, &got.raw) == HSW_OK);
        CHECK(hsw_http_answer_check_status(got) == HSW_ERR_HTTP);
        CHECK(last_message() == "GET " + url + ": waiting for the answer: the server answered 404 Not Found");
        CHECK(problem().status == 404);
        CHECK(read_all(got) == "nothing here");
        // A connection that nobody takes: the port of a server that has gone.
        std::string gone;
        { gone = http_server([](const http_request&, int) { return false; }).url("/"); }
        request = get(gone);
        hsw_http_answer none{};
        CHECK(hsw_http_send(mine, &request, &none) == HSW_ERR_IO);
        CHECK(hsw_last_error_errno() == ECONNREFUSED);
        CHECK(problem().problem == HSW_HTTP_PROBLEM_CONNECT);
        CHECK(problem().phase == HSW_HTTP_PHASE_CONNECTING);
    });
}

TEST_CASE("times are kept to, in each way to wait") {
    const no_leaks check;
    origin server;
    in_each_way([&] {
        const client mine;
        const std::string url = server.url("/stall");
        hsw_http_request request = get(url);
        request.timeout_ns = 500 * ms;
        hsw_http_answer none{};
        CHECK(hsw_http_send(mine, &request, &none) == HSW_ERR_TIMEOUT);
        CHECK(problem().problem == HSW_HTTP_PROBLEM_TOO_SLOW);
        CHECK(problem().phase == HSW_HTTP_PHASE_READING_HEAD);
        hsw_http_limits limits = default_settings().limits;
        limits.io_ns = 30 * ms;
        request = get(url);
        request.limits = &limits;
        CHECK(hsw_http_send(mine, &request, &none) == HSW_ERR_TIMEOUT);
        CHECK(problem().problem == HSW_HTTP_PROBLEM_CONNECTION);
        limits.io_ns = HSW_NO_LIMIT;
        limits.least_bytes = 10;
        limits.least_time_ns = 30 * ms;
        CHECK(hsw_http_send(mine, &request, &none) == HSW_ERR_TIMEOUT);
        CHECK(has(last_message(), "fewer bytes came than must"));
    });
}

TEST_CASE("a read whose time was up, or at whose tasklet something was thrown, goes on where it was") {
    const no_leaks check;
    origin server;
    const client mine;
    const std::string url = server.url("/half");
    std::string got_all;
    bool reads = false;
    const hsw_tasklet reader = spawn([&] {
        hsw_http_limits limits = default_settings().limits;
        limits.io_ns = 2000 * ms; // the head and half of the body come sooner
        hsw_http_request request = get(url);
        request.limits = &limits;
        answer got;
        CHECK(hsw_http_send(mine, &request, &got.raw) == HSW_OK);
        char piece[20];
        std::size_t size = 0;
        while (got_all.size() < 5) {
            CHECK(hsw_http_answer_read(got, piece, sizeof piece, &size) == HSW_OK);
            got_all.append(piece, size);
        }
        CHECK(hsw_http_answer_read(got, piece, sizeof piece, &size) == HSW_ERR_TIMEOUT);
        CHECK(problem().problem == HSW_HTTP_PROBLEM_CONNECTION);
        hsw_status status = HSW_ERR_TIMEOUT;
        reads = true;
        while (status == HSW_ERR_TIMEOUT) {
            status = hsw_http_answer_read(got, piece, sizeof piece, &size);
        }
        CHECK(status == HSW_ERR_THROWN);
        CHECK(last_message() == "look up");
        CHECK(problem().problem == HSW_HTTP_PROBLEM_NONE);
        server.server().release();
        do {
            status = hsw_http_answer_read(got, piece, sizeof piece, &size);
            got_all.append(piece, status == HSW_OK ? size : 0);
        } while (status == HSW_ERR_TIMEOUT || (status == HSW_OK && size > 0));
        CHECK(status == HSW_OK);
        return HSW_OK;
    });
    const hsw_tasklet thrower = spawn([&] {
        while (!reads) {
            CHECK(hsw_sleep(ms) == HSW_OK);
        }
        return hsw_tasklet_throw(reader, nullptr, nullptr, "look up", false);
    });
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(got_all == "helloworld");
    hsw_tasklet_release(thrower);
    hsw_tasklet_release(reader);
}

TEST_CASE("a tasklet is killed while it waits for an answer, and one answer has one reader at a time") {
    const no_leaks check;
    origin server;
    const client mine;
    const std::string stall = server.url("/stall"), half = server.url("/half");
    hsw_status ended = HSW_OK, second = HSW_OK;
    const hsw_tasklet waiting = spawn([&] {
        const hsw_http_request request = get(stall);
        hsw_http_answer none{};
        ended = hsw_http_send(mine, &request, &none);
        return ended;
    });
    hsw_http_answer shared{};
    std::string body;
    const hsw_tasklet reader = spawn([&] {
        const hsw_http_request request = get(half);
        CHECK(hsw_http_send(mine, &request, &shared) == HSW_OK);
        body = read_all(shared);
        CHECK(hsw_http_answer_release(shared) == HSW_OK);
        return HSW_OK;
    });
    const hsw_tasklet other = spawn([&] {
        while (shared.handle == 0) {
            CHECK(hsw_sleep(ms) == HSW_OK);
        }
        char byte = 0;
        std::size_t size = 0;
        second = hsw_http_answer_read(shared, &byte, 1, &size);
        CHECK(last_message() == "the answer is being read already");
        CHECK(info(shared).status == 200); // its head is everybody's
        CHECK(hsw_tasklet_kill(waiting, false) == HSW_OK);
        server.server().release();
        return HSW_OK;
    });
    CHECK(hsw_run_until_idle() == HSW_OK);
    CHECK(ended == HSW_ERR_EXIT);
    CHECK(second == HSW_ERR_STATE);
    CHECK(body == "helloworld");
    for (const hsw_tasklet tasklet : {waiting, reader, other}) {
        CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
    }
}

TEST_CASE("a failed request is told by the tasklet that it has ended, and an answer goes with its thread") {
    const no_leaks check;
    origin server;
    const std::string url = server.url("/silent"), half = server.url("/half");
    const client mine;
    hsw_tasklet_release(spawn([&] {
        const hsw_http_request request = get(url);
        hsw_http_answer none{};
        return hsw_http_send(mine, &request, &none);
    }));
    CHECK(hsw_run_until_idle() == HSW_ERR_THROWN);
    CHECK(hsw_last_error_cause() == HSW_ERR_HTTP);
    CHECK(problem().problem == HSW_HTTP_PROBLEM_SHORT_HEAD);
    on_new_thread([&] {
        const hsw_http_request request = get(half);
        hsw_http_answer left{};
        CHECK(hsw_http_send(mine, &request, &left) == HSW_OK);
        // It is left to the thread.
    });
}
