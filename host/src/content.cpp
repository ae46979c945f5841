#include "content.hpp"

#include "sha256.hpp"

#include <algorithm>
#include <vector>

namespace host {
namespace {

// The file is a sequence of 64-bit words, the most significant byte first. Word `index` is a strong mix of its index and the
// file size: a lost, doubled or reordered byte cannot go unnoticed.
inline std::uint64_t word(std::uint64_t file_size, std::uint64_t index) noexcept {
    std::uint64_t x = (file_size + 1) * 0x9e3779b97f4a7c15u + index * 0xd1342543de82ef95u;
    x ^= x >> 32;
    x *= 0xe9846af9b1a615du;
    x ^= x >> 29;
    return x;
}

} // namespace

void fill_content(std::uint64_t file_size, std::uint64_t offset, std::uint8_t* out, std::size_t size) noexcept {
    std::size_t done = 0;
    while (done < size) {
        const std::uint64_t at = offset + done;
        const std::uint64_t value = word(file_size, at / 8);
        const auto first = static_cast<unsigned>(at % 8);
        const auto count = static_cast<unsigned>(std::min<std::size_t>(8 - first, size - done));
        for (unsigned i = 0; i < count; ++i) {
            out[done + i] = static_cast<std::uint8_t>(value >> (56 - 8 * (first + i)));
        }
        done += count;
    }
}

std::string content_sha256(std::uint64_t file_size) {
    sha256 hash;
    std::vector<std::uint8_t> buffer(static_cast<std::size_t>(std::min<std::uint64_t>(file_size, 64 * 1024)));
    for (std::uint64_t at = 0; at < file_size;) {
        const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), file_size - at));
        fill_content(file_size, at, buffer.data(), part);
        hash.update(buffer.data(), part);
        at += part;
    }
    return to_hex(hash.finish());
}

} // namespace host
