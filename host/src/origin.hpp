// The embedded HTTP origin: a server on the loopback address, in one thread of its own, on plain POSIX sockets. It serves
// the files of content.hpp, whole and in pieces, and, for the tests, faults of every kind a download must survive.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

namespace host {

/// What the origin serves. N is a size in bytes.
/// | path         | answer                                                                            |
/// |--------------|-----------------------------------------------------------------------------------|
/// | /file/N      | the file of N bytes, with its Content-Length                                      |
/// | /chunked/N   | the same, chunked, in many small chunks                                           |
/// | /drip/N      | the same as /file/N, in many small writes                                         |
/// | /flip/N      | the file with one bit wrong                                                       |
/// | /short/N     | announces N bytes, sends half of them and closes                                  |
/// | /cut/N       | chunked, closed in the middle of a chunk                                          |
/// | /reset/N     | announces N bytes, sends half of them and resets the connection                   |
/// | /garbage     | bytes that are no HTTP                                                            |
/// | /silent      | takes the request and closes without a byte                                       |
/// | /stall       | takes the request and never answers                                               |
/// | others       | status 404                                                                        |
class origin {
public:
    /// Listens on 127.0.0.1:`port`; 0 chooses a free one. Throws std::system_error when the port cannot be had.
    explicit origin(std::uint16_t port);
    ~origin();
    origin(const origin&) = delete;
    origin& operator=(const origin&) = delete;

    std::uint16_t port() const noexcept { return port_; }

    /// http://127.0.0.1:PORT followed by `path`.
    std::string url(const std::string& path) const;

private:
    class server;

    std::uint16_t port_ = 0;
    std::unique_ptr<server> server_;
    std::thread thread_;
};

/// The size N of a path like /file/N whose right body is the file of N bytes, so that the host knows what hash to expect;
/// false for all other paths.
bool content_path(const std::string& path, std::uint64_t& size);

} // namespace host
