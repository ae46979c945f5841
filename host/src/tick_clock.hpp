// Sleeping for a number of ticks. Each tick to come has a channel on which its sleepers wait; the game thread serves it when
// the tick has come.
#pragma once

#include <hardswitch.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace host {

class tick_clock {
public:
    /// The longest sleep, in ticks.
    static constexpr std::size_t horizon = 256;

    tick_clock() : wheel_(horizon) {
        for (const auto& slot : wheel_) {
            // Whoever wakes goes on and the sleepers are queued: waking is main's work, which must not run tasklets here.
            slot.set_preference(hsw::preference::sender);
        }
    }

    /// The number of the tick that is running.
    std::uint64_t now() const noexcept { return now_; }

    /// Blocks the calling tasklet for `ticks` ticks (1 to horizon - 1).
    void sleep(std::size_t ticks) const { wheel_[static_cast<std::size_t>((now_ + ticks) % horizon)].receive(); }

    /// Begins the next tick: makes its sleepers runnable, in the order in which they fell asleep.
    void advance() {
        ++now_;
        const auto& due = wheel_[static_cast<std::size_t>(now_ % horizon)];
        for (std::ptrdiff_t sleepers = -due.balance(); sleepers > 0; --sleepers) {
            due.send(now_);
        }
    }

private:
    std::uint64_t now_ = 0;
    std::vector<hsw::channel<std::uint64_t>> wheel_;
};

} // namespace host
