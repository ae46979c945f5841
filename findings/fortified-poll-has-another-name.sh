#!/usr/bin/env bash
# A program built with -D_FORTIFY_SOURCE=2 does not call poll(), so a preloaded poll() sees nothing.
#
# glibc's <poll.h> turns a call whose array has a known size and whose count is a variable into a call of
# `__poll_chk`, which checks the count and then polls inside the C library, not through the name `poll`.
# Debian builds its packages this way. The same program without the option imports `poll`.
#
# Guessed before it ran: poll() is a system call's wrapper, too thin to have a checked twin.
#
# Why it matters: whoever interposes poll() and select(), to filter errors or to wait by tasklet, must
# bring `__poll_chk`, `__ppoll_chk` and `__fdelt_chk` too. What is missed is not an error: those programs
# just go on unfiltered.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian libc6 2.36-9
debian gcc-12 12.2.0-14

cat > waits.c << 'END'
#include <poll.h>
#include <stdio.h>
static int wait_for(int count) {
    struct pollfd entries[8] = {{0}};
    return poll(entries, count, 0);
}
int main(int argc, char **argv) {
    (void)argv;
    printf("%d\n", wait_for(argc));
}
END
cat > preloaded.c << 'END'
#include <poll.h>
int poll(struct pollfd *entries, nfds_t count, int timeout) {
    (void)entries, (void)count, (void)timeout;
    return 42;
}
END
gcc -shared -fPIC -o preloaded.so preloaded.c
gcc -O2 -U_FORTIFY_SOURCE -o plain waits.c
gcc -O2 -D_FORTIFY_SOURCE=2 -o fortified waits.c

imports() { nm -D "$1" | grep -o '[_a-z]*poll[_a-z]*'; }
expect 'what the plain program imports' "$(imports plain)" poll
expect 'what the fortified program imports' "$(imports fortified)" __poll_chk
expect 'answer of the plain program with a preloaded poll' "$(LD_PRELOAD=./preloaded.so ./plain)" 42
expect 'answer of the fortified program with a preloaded poll' "$(LD_PRELOAD=./preloaded.so ./fortified)" 0
