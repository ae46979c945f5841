// Overflows the stack of a tasklet: `overflow sliced` or `overflow own`. Run by test_overflow.cpp, which looks at how it dies.
// A program of its own, since doctest would catch the signal.
#include <hardswitch.hpp>

#include <sys/resource.h>

#include <cstdlib>
#include <cstring>

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

} // namespace

int main(int, char** argv) {
    const rlimit no_core = {0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    hsw::options how;
    how.name = "the deep one";
    how.own_stack = std::strcmp(argv[1], "own") == 0;
    hsw::spawn_detached([] { hsw::schedule(); });
    hsw::spawn_detached(
        [] {
            static const volatile int limit = -1;
            std::exit(recurse(0, limit) == 0 ? 10 : 11);
        },
        how);
    hsw::run();
    return 12;
}
