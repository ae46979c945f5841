#include "game.hpp"
#include "meter.hpp"

#include <hardswitch.hpp>

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>

namespace host {
namespace {

/// Bytes of memory that the process occupies; 0 where the system does not tell. Under an emulator: those of the emulator.
double resident_bytes() {
    std::ifstream file("/proc/self/statm");
    double pages = 0;
    file >> pages >> pages;
    return file ? pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) : 0;
}

} // namespace

bool park(const options& how) {
    struct shared {
        hsw::channel<std::uint64_t> gate;
        std::uint64_t woken = 0;
        std::uint64_t sum = 0;
    };
    const auto all = std::make_shared<shared>();
    // Waking is this function's work alone: the woken run when it says so.
    all->gate.set_preference(hsw::preference::sender);
    const std::uint64_t count = how.park;
    const double resident_before = resident_bytes();
    const hsw::statistics before = hsw::stats();
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t i = 0; i < count; ++i) {
        hsw::spawn_detached([state = all.get()] {
            const std::uint64_t value = state->gate.receive();
            ++state->woken;
            state->sum += value;
        });
    }
    // They are all blocked when main runs again.
    while (all->gate.balance() > -static_cast<std::ptrdiff_t>(count)) {
        hsw::schedule();
    }
    const auto parked = std::chrono::steady_clock::now();
    const hsw::statistics now = hsw::stats();
    const double resident = resident_bytes() - resident_before;
    const auto number = static_cast<double>(count);
    std::printf("parked %llu tasklets in %.2f s: %.1f bytes of slice a tasklet", static_cast<unsigned long long>(count),
                std::chrono::duration<double>(parked - begin).count(),
                static_cast<double>(now.slice_bytes - before.slice_bytes) / number);
    std::printf(", %.1f bytes of resident memory a tasklet (all that the process needs for it)\n", resident / number);
    for (std::uint64_t i = 0; i < count; ++i) {
        all->gate.send(i);
    }
    hsw::run();
    const auto end = std::chrono::steady_clock::now();
    std::printf("woke %llu tasklets in %.2f s\n", static_cast<unsigned long long>(all->woken),
                std::chrono::duration<double>(end - parked).count());
    std::fflush(stdout);
    if (all->woken != count || all->sum != count * (count - 1) / 2) {
        complain("parked " + std::to_string(count) + " tasklets, but " + std::to_string(all->woken) + " woke");
        return false;
    }
    return true;
}

} // namespace host
