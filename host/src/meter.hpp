// Measures the ticks and prints a line a second.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace host {

/// Durations in milliseconds, and their percentiles.
class tick_times {
public:
    void add(double milliseconds) { times_.push_back(milliseconds); }
    void clear() noexcept { times_.clear(); }
    std::size_t count() const noexcept { return times_.size(); }

    /// The smallest time that `fraction` (0 to 1) of all times do not exceed; 0 when there are none.
    double percentile(double fraction) const;

private:
    std::vector<double> times_;
};

/// A number of bytes for people: "512 B", "1.5 KiB", "64.0 MiB".
std::string human_bytes(double bytes);

} // namespace host
