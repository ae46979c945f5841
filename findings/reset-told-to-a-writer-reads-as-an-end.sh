#!/usr/bin/env bash
# A connection that was reset reads as one that ended well, if the error was told to somebody else first.
#
# A server sends half of what it has and then resets the connection (SO_LINGER of zero). A client that only
# reads gets ECONNRESET after the bytes that came. A client that sends first gets ECONNRESET from send();
# its reads then give the bytes and the answer 0, which is how a connection ends that was closed in order.
# Linux keeps the error once per socket, and the first call that may report it takes it away.
#
# Guessed before it ran: a reset is a state of the connection, so each later call reports it.
#
# Why it matters: a reader in one task and a writer in another share a socket. Whichever call comes first
# gets the error, and the reader may take a torn download for a complete one. A library that shares sockets
# has to remember the loss itself. getsockopt(SO_ERROR), which event loops call, takes the error away too.
# shellcheck source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

debian python3.11 3.11.2-6
say "with Linux $(uname -r | cut -d. -f1-2)"

cat > lost.py << 'END'
import errno, socket, struct, sys

def after_reset(calls):
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    server.sendall(b"half")
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    for call in calls.split():
        try:
            if call == "recv":
                yield str(len(client.recv(100)))
            elif call == "send":
                yield str(client.send(b"x"))
            else:
                yield errno.errorcode[client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
        except OSError as error:
            yield errno.errorcode[error.errno]

print(" ".join(after_reset(sys.argv[1])))
END
answers() { /usr/bin/python3.11 lost.py "$1"; }
expect 'recv recv recv' "$(answers 'recv recv recv')" '4 ECONNRESET 0'
expect 'send recv recv' "$(answers 'send recv recv')" 'ECONNRESET 4 0'
expect 'SO_ERROR recv recv' "$(answers 'SO_ERROR recv recv')" 'ECONNRESET 4 0'
