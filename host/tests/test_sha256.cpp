#include "content.hpp"
#include "process.hpp"
#include "sha256.hpp"

#include <doctest/doctest.h>

namespace {

std::string hash(const std::string& text) {
    host::sha256 out;
    out.update(text.data(), text.size());
    return host::to_hex(out.finish());
}

/// What coreutils say.
std::string sha256sum(const std::string& path) {
    const test::temporary_folder folder;
    test::process sum({"sha256sum", path}, folder / "out", folder / "err");
    REQUIRE(sum.wait(std::chrono::seconds(30)) == 0);
    return test::file_text(folder / "out").substr(0, 64);
}

} // namespace

TEST_CASE("the examples of the standard") {
    // NIST's example values for FIPS 180-4.
    CHECK(hash("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")
          == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(hash(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("files of every length around the block size hash as sha256sum says") {
    const test::temporary_folder folder;
    for (const std::size_t size : {1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 1000}) {
        CAPTURE(size);
        std::string text(size, '\0');
        host::fill_content(size, 0, reinterpret_cast<std::uint8_t*>(text.data()), size);
        const std::string path = folder / "file";
        std::ofstream(path, std::ios::binary) << text;
        const std::string expected = sha256sum(path);
        CHECK(hash(text) == expected);
        CHECK(host::content_sha256(size) == expected);
    }
}

TEST_CASE("the pieces in which a message comes do not matter") {
    std::string text(1000, '\0');
    host::fill_content(text.size(), 0, reinterpret_cast<std::uint8_t*>(text.data()), text.size());
    for (std::size_t piece = 1; piece < 200; ++piece) {
        host::sha256 out;
        for (std::size_t at = 0; at < text.size(); at += piece) {
            out.update(text.data() + at, std::min(piece, text.size() - at));
        }
        REQUIRE(host::to_hex(out.finish()) == hash(text));
    }
}

TEST_CASE("content made in parts is the content made at once") {
    std::vector<std::uint8_t> whole(1000);
    host::fill_content(1000, 0, whole.data(), whole.size());
    for (std::size_t at = 0; at < 1000; at += 37) {
        std::vector<std::uint8_t> part(std::min<std::size_t>(37, 1000 - at));
        host::fill_content(1000, at, part.data(), part.size());
        REQUIRE(std::equal(part.begin(), part.end(), whole.begin() + static_cast<std::ptrdiff_t>(at)));
    }
}

TEST_CASE("the 64 MiB file is the same on every target") {
    // Written down from a run whose file was hashed by sha256sum.
    CHECK(host::content_sha256(64 << 20) == "e99274e6df7092dc0fb9f4971fbbbf695024be684e4f82b6ed35abf6cf24de37");
}
