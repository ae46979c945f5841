// What a test may expect of sliced tasklets.
#pragma once

#include <hardswitch.h>

#include <doctest/doctest.h>

#include <cstdint>
#include <thread>

/// There only when the program runs under AddressSanitizer, or ThreadSanitizer.
extern "C" void __asan_init() __attribute__((weak));
extern "C" void __tsan_init() __attribute__((weak));

/// Do sliced tasklets share windows? A library for use under either gives all of them stacks of their own; the library is asked, and no other may.
inline bool has_slices() {
    static const bool has = [] {
        std::uint32_t state = 0;
        std::thread([&state] {
            hsw_tasklet tasklet{};
            REQUIRE(hsw_tasklet_new(nullptr, &tasklet) == HSW_OK);
            CHECK(hsw_tasklet_state(tasklet, &state) == HSW_OK);
            CHECK(hsw_tasklet_release(tasklet) == HSW_OK);
        }).join();
        return (state & HSW_TASKLET_SLICED) != 0;
    }();
    CHECK(has == (&__asan_init == nullptr && &__tsan_init == nullptr));
    return has;
}
