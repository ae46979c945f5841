// The inhabitants of the game: tasklets that think, sleep some ticks and message each other over channels.
#pragma once

#include "tick_clock.hpp"

#include <hardswitch.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace host {

/// Half of the NPCs are *travellers*, half *keepers*. A traveller thinks, sleeps some ticks, asks some keeper something over the
/// keeper's channel, and waits for the answer on a channel of its own. A keeper waits for questions, thinks and answers. So
/// nobody ever waits for somebody who waits for him.
class town {
public:
    /// Spawns `npcs` sliced tasklets. They run when the scheduler next does.
    town(std::size_t npcs, tick_clock& clock);
    /// Kills them.
    ~town();
    town(const town&) = delete;
    town& operator=(const town&) = delete;

    std::uint64_t questions() const noexcept { return questions_; }
    std::uint64_t answers() const noexcept { return answers_; }
    /// Answers that did not belong to their question. Anything but 0 is a bug of the runtime.
    std::uint64_t wrong_answers() const noexcept { return wrong_answers_; }
    std::size_t population() const noexcept { return npcs_.size(); }

    /// Kills all NPCs; they unwind. Throws what hsw::run would.
    void close();

private:
    struct question {
        std::uint64_t number;
        hsw::channel<std::uint64_t> answer_to;
    };
    using mailbox = hsw::channel<question>;

    void travel(std::uint32_t seed);
    void keep(const mailbox& box);

    tick_clock& clock_;
    std::vector<mailbox> keepers_;
    std::vector<hsw::tasklet> npcs_;
    std::uint64_t questions_ = 0;
    std::uint64_t answers_ = 0;
    std::uint64_t wrong_answers_ = 0;
};

} // namespace host
