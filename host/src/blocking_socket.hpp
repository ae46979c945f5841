// A plain blocking TCP connection, as a library that knows nothing of tasklets would use it. For worker threads only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace host {

/// The words for a download that stands still.
std::string no_progress(double timeout_seconds);

class blocking_socket {
public:
    /// Looks the host up and connects. Throws std::runtime_error, whose words say what the system said.
    blocking_socket(const std::string& host, std::uint16_t port, double timeout_seconds);
    ~blocking_socket();
    blocking_socket(const blocking_socket&) = delete;
    blocking_socket& operator=(const blocking_socket&) = delete;

    /// Sends all. Throws std::runtime_error.
    void write_all(const char* data, std::size_t size);

    /// Receives until `size` bytes have come or the stream has ended; the number of bytes. Throws std::runtime_error, also when
    /// nothing comes for the time of the timeout.
    std::size_t read_full(char* data, std::size_t size);

private:
    [[noreturn]] void fail(int code) const;

    int fd_ = -1;
    double timeout_seconds_;
};

} // namespace host
