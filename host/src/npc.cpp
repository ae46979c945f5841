#include "npc.hpp"

#include <string>

namespace host {
namespace {

/// Thinking: some arithmetic on the tasklet's own stack, which must be the same after every sleep.
std::uint64_t think(std::uint64_t about) noexcept {
    std::uint64_t thoughts[16];
    for (std::uint64_t& thought : thoughts) {
        about ^= about << 13;
        about ^= about >> 7;
        about ^= about << 17;
        thought = about;
    }
    std::uint64_t sum = 0;
    for (const std::uint64_t thought : thoughts) {
        sum += thought;
    }
    return sum;
}

} // namespace

town::town(std::size_t npcs, tick_clock& clock) : clock_(clock), keepers_(npcs < 2 ? 0 : npcs / 2) {
    npcs_.reserve(npcs);
    for (std::size_t i = 0; i < npcs; ++i) {
        const bool keeper = i < keepers_.size();
        // `this` is not on a sliced stack: the host makes the town on main's.
        if (keeper) {
            npcs_.push_back(hsw::spawn([this, i] { keep(keepers_[i]); }, {"keeper " + std::to_string(i)}));
        } else {
            npcs_.push_back(hsw::spawn([this, i] { travel(static_cast<std::uint32_t>(i)); }, {"traveller " + std::to_string(i)}));
        }
    }
}

town::~town() {
    try {
        close();
    } catch (const std::exception&) {
        // Told by close() to those who ask; here nobody does.
    }
}

void town::close() {
    for (const hsw::tasklet& npc : npcs_) {
        hsw::tasklet(npc).kill();
    }
    npcs_.clear();
}

void town::travel(std::uint32_t seed) {
    std::uint64_t mind = 0x9e3779b97f4a7c15u * (seed + 1);
    const hsw::channel<std::uint64_t> answers;
    for (;;) {
        const std::uint64_t before = mind;
        mind = think(mind) | 1;
        const std::size_t ticks = 1 + static_cast<std::size_t>(mind >> 32) % 30;
        clock_.sleep(ticks);
        if (keepers_.empty()) {
            continue;
        }
        ++questions_;
        keepers_[static_cast<std::size_t>(mind >> 8) % keepers_.size()].send({before, answers});
        const std::uint64_t answer = answers.receive();
        ++answers_;
        if (answer != think(before)) {
            ++wrong_answers_;
        }
    }
}

void town::keep(const mailbox& box) {
    for (;;) {
        const question asked = box.receive();
        asked.answer_to.send(think(asked.number));
    }
}

} // namespace host
