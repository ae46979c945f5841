#!/usr/bin/env bash
# A caught C++ exception changes the values of vector variables (PowerPC64, ELFv1).
#
# The ABI makes v20 to v31 non-volatile: a function that uses one saves it and restores it, also when an
# exception passes. The compiler relies on that: it keeps a vector in v31 over a call inside `try`. The
# unwinder of Debian's cross libgcc for this target was built without AltiVec and restores general and
# floating-point registers only. So the handler goes on with the vector of a function that has gone.
# The program below is plain C++ and prints 42 unoptimised, 1764 optimised.
#
# Guessed before it ran: 42 at every level, since the unwinder follows the same tables as a debugger.
#
# Why it matters: a game that is built with -maltivec (clang switches AltiVec on by default) and uses
# exceptions gets wrong numbers, without any diagnostic. So does Rust at opt-level 3, where a panic is
# caught. A runtime that offers exceptions on this target has to say so, and must not itself keep a vector
# in those registers over a call that may throw.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian g++-12-powerpc64-linux-gnu 12.2.0-13cross1
debian libgcc-s1-ppc64-cross 12.2.0-13cross1
debian qemu-user 1:7.2

cat > vectors.cpp << 'END'
#include <altivec.h>
#include <cstdio>

typedef vector unsigned int words;

[[gnu::noinline]] void leaf(unsigned n) {
    if (n == 0) throw 1;
}

// Keeps a vector of its own over a call, in a register that it has saved for its caller.
[[gnu::noinline]] words busy(words mine, unsigned n) {
    mine = mine * mine;
    leaf(n);
    return mine + mine;
}

[[gnu::noinline]] words careful(words kept, unsigned n) {
    kept = kept + kept;
    try {
        kept = kept + busy(kept, n);
    } catch (int) {
    }
    return kept;
}

int main() {
    words start = {21, 21, 21, 21};
    std::printf("%u\n", careful(start, 0)[0]);
}
END

for level in 0 1 2 3; do
    powerpc64-linux-gnu-g++ -O$level -maltivec -o vectors vectors.cpp
    right=$([ $level = 0 ] && echo 42 || echo 1764)
    expect "21 + 21 after a caught exception, -O$level" "$(run_ppc64 ./vectors)" "$right"
done

saves=$(powerpc64-linux-gnu-objdump -d /usr/powerpc64-linux-gnu/lib/libgcc_s.so.1 | grep -cE '\s(stvx|lvx)\s' || true)
expect "vector loads and stores in the whole of libgcc_s" "$saves" 0
