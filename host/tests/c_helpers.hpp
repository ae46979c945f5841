// What the tests of the C interface share.
#ifndef HSW_TESTS_C_HELPERS_HPP
#define HSW_TESTS_C_HELPERS_HPP

#include <hardswitch.h>

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

inline void* number(std::uintptr_t n) { return reinterpret_cast<void*>(n); }

inline std::string last_message() { return hsw_last_error_message(); }

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A function as an entry. The argument is a std::function on the heap that `destroy_function` frees.
inline hsw_status call_function(void* argument) { return (*static_cast<std::function<hsw_status()>*>(argument))(); }
inline void destroy_function(void* argument) { delete static_cast<std::function<hsw_status()>*>(argument); }

inline hsw_tasklet spawn(std::function<hsw_status()> function, const char* name = nullptr, hsw_stack stack = HSW_STACK_SLICED) {
    hsw_tasklet_options options{};
    options.name = name;
    options.stack = stack;
    options.destroy_argument = &destroy_function;
    hsw_tasklet out{};
    REQUIRE(hsw_spawn(&call_function, new std::function<hsw_status()>(std::move(function)), &options, &out) == HSW_OK);
    return out;
}

inline std::uint32_t state(hsw_tasklet tasklet) {
    std::uint32_t out = 0;
    REQUIRE(hsw_tasklet_state(tasklet, &out) == HSW_OK);
    return out;
}

/// Counts what is freed.
struct counted {
    int* freed;
};
inline void destroy_counted(void* data) {
    auto* const it = static_cast<counted*>(data);
    ++*it->freed;
    delete it;
}

inline hsw_status return_ok(void*) { return HSW_OK; }

/// Every test leaves as many handles as it found.
struct no_leaks {
    std::size_t before = hsw_live_handles();
    std::size_t shared_before = hsw_live_shared_handles();
    ~no_leaks() {
        CHECK(hsw_live_handles() == before);
        CHECK(hsw_live_shared_handles() == shared_before);
    }
};

/// Runs a test on a thread of its own, whose runtime is new.
inline void on_new_thread(const std::function<void()>& test) { std::thread(test).join(); }

#endif
