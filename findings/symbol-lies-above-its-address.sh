#!/usr/bin/env bash
# dladdr() of a return address names the right function and gives a symbol address that is *above* it (ELFv1).
#
# On PowerPC64 ELFv1 a function's symbol stands for its descriptor, three words in .opd, which the linker
# places behind the code. glibc's dladdr() knows: for an address in the code it looks through the
# descriptors, finds the function and answers with its name, and dli_saddr is the descriptor. So the
# usual "name + (address - dli_saddr)" is negative.
#
# Guessed before it ran: either no name for an address in the code, or the start of the code as its address.
#
# Why it matters: a backtrace or profiler that subtracts as unsigned numbers prints offsets near 2^64, and one
# that takes a symbol above the address for a miss throws the right name away.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian gcc-12-powerpc64-linux-gnu 12.2.0-13cross1
debian libc6-ppc64-cross 2.36
debian qemu-user 1:7.2

cat > where.c << 'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int wanted(void) { return 1; }

static const char *side(const void *symbol, const void *address) {
    return symbol == address ? "at" : symbol > address ? "above" : "below";
}

int main(void) {
    void *descriptor = (void *)wanted;
    void *code = *(void **)descriptor;
    Dl_info info;
    dladdr(descriptor, &info);
    printf("%s %s, ", info.dli_sname, side(info.dli_saddr, descriptor));
    dladdr(code, &info);
    printf("%s %s\n", info.dli_sname, side(info.dli_saddr, code));
}
END
powerpc64-linux-gnu-gcc -rdynamic -o where where.c
expect 'pointer, and code' "$(run_ppc64 ./where)" 'wanted at, wanted above'
