// Code that catches in a C++ runtime of its own: a plugin for catching_host.c. It is built several times, each with a static C++ runtime that
// nobody else can see; HSW_CATCHING_C leaves it with the C interface.
#ifdef HSW_CATCHING_C
#include <hardswitch.h>
#else
#include <hardswitch.hpp>
#endif

#include <cstdio>
#include <exception>

namespace {

struct custom {
    char name;
    ~custom() { std::printf("%c is destroyed\n", name); }
    explicit custom(char of) : name(of) {}
    custom(const custom&) = delete;
};

void give_way() {
#ifdef HSW_CATCHING_C
    hsw_schedule();
#else
    hsw::schedule();
#endif
}

/// Throws, handles and gives way meanwhile, calls `between` in the middle of that.
void handle(char name, void (*between)()) {
    try {
        throw custom(name);
    } catch (const custom& e) {
        give_way();
        if (between != nullptr) {
            between();
        }
        give_way();
        std::printf("%c still handles %c\n", name, e.name);
        give_way();
    }
    if (std::current_exception() != nullptr || std::uncaught_exceptions() != 0) {
        std::printf("%c is left with an exception\n", name);
    }
}

hsw_status entry(void* name) {
    handle(*static_cast<const char*>(name), nullptr);
    return HSW_OK;
}

/// Tries to give way while an exception of this runtime is on its way.
struct gives_way {
    ~gives_way() { std::printf("giving way: %s\n", hsw_status_name(hsw_schedule())); }
};

} // namespace

extern "C" {

/// Spawns a tasklet of that name. It must be a character of a static string.
void catching_spawn(const char* name) { hsw_spawn(&entry, const_cast<char*>(name), nullptr, nullptr); }

/// The same in the calling tasklet.
void catching_handle(char name, void (*between)()) { handle(name, between); }

void catching_unwind() {
    try {
        const gives_way here;
        throw 1;
    } catch (int) {
    }
}

} // extern "C"
