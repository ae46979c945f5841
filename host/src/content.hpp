// The files of the embedded origin: pseudo-random bytes that are a function of file size and offset alone, so that any
// part can be made anywhere, on either byte order, and the expected hash needs no transfer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace host {

/// Writes bytes [offset, offset + size) of the file of `file_size` bytes to `out`.
void fill_content(std::uint64_t file_size, std::uint64_t offset, std::uint8_t* out, std::size_t size) noexcept;

/// SHA-256 of the whole file of `file_size` bytes, computed from the generator (64 lower-case hex digits).
std::string content_sha256(std::uint64_t file_size);

} // namespace host
