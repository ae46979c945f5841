#include "http.hpp"

#include <doctest/doctest.h>

#include <string>

using host::http_error;
using host::http_reader;
using host::url;

namespace {

/// Feeds `stream` in pieces and ends it; the body, or "error: ..." when the reader refuses.
std::string read(const std::string& stream, std::size_t piece) {
    std::string body;
    http_reader reader([&](const char* data, std::size_t size) { body.append(data, size); });
    try {
        for (std::size_t at = 0; at < stream.size(); at += piece) {
            reader.feed(stream.data() + at, std::min(piece, stream.size() - at));
        }
        reader.end();
        CHECK(reader.done());
    } catch (const http_error& e) {
        return std::string("error: ") + e.what();
    }
    return body;
}

std::string parse_error(const std::string& text) {
    try {
        url::parse(text);
    } catch (const http_error& e) {
        return e.what();
    }
    return "";
}

} // namespace

TEST_CASE("a URL is taken apart") {
    const url plain = url::parse("http://example.org");
    CHECK(plain.host == "example.org");
    CHECK(plain.port == 80);
    CHECK(plain.target == "/");
    CHECK(plain.authority() == "example.org");
    const url full = url::parse("http://127.0.0.1:8080/a/b?c=d#e");
    CHECK(full.host == "127.0.0.1");
    CHECK(full.port == 8080);
    CHECK(full.target == "/a/b?c=d");
    CHECK(full.authority() == "127.0.0.1:8080");
    CHECK(url::parse("http://h?q").target == "/?q");
    const url six = url::parse("http://[::1]:81/x");
    CHECK(six.host == "::1");
    CHECK(six.port == 81);
    CHECK(six.authority() == "[::1]:81");
}

TEST_CASE("what is no http URL is refused with the reason") {
    CHECK(parse_error("https://example.org/") == "not an http:// URL");
    CHECK(parse_error("example.org") == "not an http:// URL");
    CHECK(parse_error("http://") == "the URL names no host");
    CHECK(parse_error("http:///path") == "the URL names no host");
    CHECK(parse_error("http://h:0/") == "the port must be a number from 1 to 65535");
    CHECK(parse_error("http://h:65536/") == "the port must be a number from 1 to 65535");
    CHECK(parse_error("http://h:/") == "the port must be a number from 1 to 65535");
    CHECK(parse_error("http://h:8x/") == "the port must be a number from 1 to 65535");
    CHECK(parse_error("http://[::1/") == "the bracket of the address is not closed");
    CHECK(parse_error("http://[::1]80/") == "only a port may follow the bracketed address");
    CHECK(parse_error("http://me@h/") == "a URL with a user name is not supported");
    CHECK(parse_error("http://h/a\r\nX: y") == "a URL may not hold blanks or control characters");
}

TEST_CASE("an answer is the same in whatever pieces it comes") {
    const std::string sized = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX: y\r\n\r\nhello world";
    const std::string chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding:  Chunked \r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: u\r\n\r\n";
    const std::string until_close = "HTTP/1.0 200 OK\n\nhello world";
    for (std::size_t piece = 1; piece < 80; ++piece) {
        CAPTURE(piece);
        CHECK(read(sized, piece) == "hello world");
        CHECK(read(chunked, piece) == "hello world");
        CHECK(read(until_close, piece) == "hello world");
    }
}

TEST_CASE("an empty body is a body") {
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 7) == "");
    CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 7) == "");
}

TEST_CASE("what follows a complete body is not read") {
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 500 No\r\n", 1000) == "hi");
}

TEST_CASE("a broken answer is refused with the reason") {
    CHECK(read("SSH-2.0-OpenSSH\r\n", 1) == "error: the answer is not HTTP: it begins with \"S\"");
    CHECK(read("\x01\x02junk\r\n\r\n", 100) == "error: the answer is not HTTP: it begins with \"??junk?\"");
    CHECK(read("HTTP/2 200\r\n\r\n", 100) == "error: the answer is not HTTP/1: it begins with \"HTTP/2 200\"");
    CHECK(read("HTTP/1.1 404 Not Found\r\n\r\n", 100) == "error: the server answered \"404 Not Found\"");
    CHECK(read("", 1) == "error: the server closed the connection without an answer");
    CHECK(read("HTTP/1.1 200 OK\r\nContent-", 5) == "error: the connection ended within the head of the answer");
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345", 5) == "error: short body: 5 of 10 bytes");
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", 5) == "error: bad Content-Length \"-1\"");
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 5) == "error: bad Content-Length \"2\"");
    CHECK(read("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", 5)
          == "error: bad Content-Length \"99999999999999999999\"");
    CHECK(read("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", 5) == "error: bad header line \"no colon\"");
    CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", 5) == "error: unsupported Transfer-Encoding \"gzip\"");
    CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 5) == "error: bad chunk size \"xyz\"");
    CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", 5) == "error: a chunk is longer than it says");
    CHECK(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 5)
          == "error: short body: the connection ended within the chunks, after 3 bytes");
    CHECK(read("HTTP/1.1 200 OK\r\n" + std::string(9000, 'x'), 100) == "error: a line of the answer is longer than 8 KiB");
}
