// SHA-256 (FIPS 180-4), incremental. For checking downloads; not meant for secrets (no constant-time promise).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace host {

class sha256 {
public:
    using digest = std::array<std::uint8_t, 32>;

    sha256() noexcept;

    /// Adds `size` bytes to the message. May be called any number of times, with any size.
    void update(const void* data, std::size_t size) noexcept;

    /// Pads, and returns the digest. The object must not be updated afterwards.
    digest finish() noexcept;

private:
    void block(const std::uint8_t* bytes) noexcept;

    std::array<std::uint32_t, 8> state_;
    std::array<std::uint8_t, 64> pending_{};
    std::uint64_t length_ = 0; // of the whole message, in bytes
};

/// The digest as 64 lower-case hexadecimal digits.
std::string to_hex(const sha256::digest& digest);

} // namespace host
