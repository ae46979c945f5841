#!/usr/bin/env bash
# CPython's select.select says that a closed descriptor is ready, if its number is high enough.
#
# Of closed descriptor 50 select() says EBADF, as POSIX wants it. Of closed descriptor 900 it returns 0, "none is
# ready", and leaves the bit of 900 in the set: Linux looks only at numbers that the process's table has room
# for, and writes only that part of the sets back. CPython collects the bits and does not look at the
# number that was returned, so it gives out [900]. qemu's user mode passes both on as they are. poll()
# says POLLNVAL of either.
#
# Guessed before it ran: EBADF for both; if not that, an empty list.
#
# Why it matters: a loop that keeps a descriptor which another part of the program has closed is told, each time
# and at once, that there is something to read. Whoever waits by select() on behalf of others must look at
# the result before the sets, and cannot trust EBADF to find what was closed.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian libc6 2.36-9
debian python3.11-minimal 3.11.2
debian qemu-user 1:7.2

cat > asks.c << 'END'
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
int main(int count, char **words) {
    if (count != 2) return 2;
    int fd = atoi(words[1]);
    struct timeval none = {0, 0};
    fd_set readers;
    FD_ZERO(&readers);
    FD_SET(fd, &readers);
    int found = select(fd + 1, &readers, NULL, NULL, &none);
    const char *error = found >= 0 ? "no error" : errno == EBADF ? "EBADF" : "another error";
    printf("%d, %s, its bit is %d\n", found, error, FD_ISSET(fd, &readers) != 0);
}
END
gcc -O1 -o native asks.c
powerpc64-linux-gnu-gcc -O1 -o ppc64 asks.c
expect 'select() of 50' "$(./native 50)" '-1, EBADF, its bit is 1'
expect 'select() of 900' "$(./native 900)" '0, no error, its bit is 1'
expect 'select() of 900 under qemu' "$(run_ppc64 ./ppc64 900)" '0, no error, its bit is 1'

cat > asks.py << 'END'
import select, sys

fd = int(sys.argv[1])
try:
    print(select.select([fd], [], [], 0)[0])
except OSError as error:
    print(error.strerror)
poll = select.poll()
poll.register(fd, select.POLLIN)
print(poll.poll(0) == [(fd, select.POLLNVAL)])
END
python() { /usr/bin/python3.11 -I asks.py "$1" | paste -sd' '; }
expect 'CPython of 50, and whether poll knows' "$(python 50)" 'Bad file descriptor True'
expect 'CPython of 900, and whether poll knows' "$(python 900)" '[900] True'
