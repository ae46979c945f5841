// Overflows the stack of a tasklet; run by test_overflow.cpp, which looks at how it dies. A program of its own, since doctest
// would catch the signal.
//
//   overflow STACK deep              frame by frame
//   overflow STACK step KIB GUARD PLACE  by one frame of KIB, which touches its lower end only and then switches; GUARD bytes of
//                                    guard (0: the default), and so many neighbours are made before the one with that frame
//
// STACK is sliced, own, segment, or lent (sliced, in memory of the host's). The status of one that lives on: 20 when a
// neighbour's stack has changed, 21 when none has.
#include <hardswitch.hpp>

#include <sys/resource.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace {

/// Calls itself for ever; the limit is one that the compiler cannot see.
int recurse(int n, const volatile int& limit) {
    if (n == limit) {
        return 0;
    }
    volatile char frame[512];
    frame[n % 512] = static_cast<char>(n);
    const int deeper = recurse(n + 1, limit);
    return deeper + frame[n % 512];
}

bool broken = false;

/// Compiled without stack probes, whatever the compiler's default is.
__attribute__((noinline)) void step(std::size_t bytes) {
    char* const frame = static_cast<char*>(__builtin_alloca(bytes));
    asm volatile("" : : "r"(frame) : "memory");
    std::memset(frame, 'x', 1000);
    asm volatile("" : : "r"(frame) : "memory");
    hsw::schedule();
    asm volatile("" : : "r"(frame) : "memory");
}

void neighbour() {
    char mine[40 * 1024];
    std::memset(mine, 'm', sizeof mine);
    asm volatile("" : : "r"(mine) : "memory");
    for (int turn = 0; turn < 4; ++turn) {
        hsw::schedule();
        asm volatile("" : : "r"(mine) : "memory");
        for (const char c : mine) {
            broken = broken || c != 'm';
        }
    }
}

} // namespace

int main(int argc, char** argv) {
    const rlimit no_core = {0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    const std::string stack = argv[1];
    const bool deep = std::strcmp(argv[2], "deep") == 0;
    const std::size_t bytes = deep || argc < 6 ? 0 : std::strtoul(argv[3], nullptr, 10) * 1024;
    const std::size_t guard = deep || argc < 6 ? 0 : std::strtoul(argv[4], nullptr, 10);
    const int place = deep || argc < 6 ? 1 : std::atoi(argv[5]);
    hsw::settings settings = hsw::default_settings();
    if (guard != 0) {
        settings.guard_size = guard;
    }
    if (stack == "lent") {
        // Room around the windows, so that nothing else is damaged.
        const std::size_t windows = settings.windows * settings.window_size + 32, room = 8 * 1024 * 1024;
        char* const memory = static_cast<char*>(std::malloc(room + windows));
        hsw::init_in(settings, memory + room, windows);
    } else {
        hsw::init(settings);
    }
    hsw::options how;
    how.own_stack = stack == "own" || stack == "segment";
    for (int i = 0; i < 4; ++i) {
        if (i != place) {
            hsw::spawn_detached(neighbour, how);
            continue;
        }
        hsw::options mine = how;
        mine.name = "the deep one";
        hsw::spawn_detached(
            [=] {
                static const volatile int limit = -1;
                hsw::schedule();
                if (deep) {
                    std::exit(recurse(0, limit) == 0 ? 10 : 11);
                }
                if (stack == "segment") {
                    char most[60 * 1024];
                    asm volatile("" : : "r"(most) : "memory");
                    hsw::grow([=] { step(bytes); });
                    asm volatile("" : : "r"(most) : "memory");
                } else {
                    step(bytes);
                }
            },
            mine);
    }
    hsw::run();
    return broken ? 20 : 21;
}
