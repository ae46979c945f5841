"""Asks about connections as program.c does, by Python's select module."""
import select
import socket
import struct
import time

with socket.create_server(("127.0.0.1", 0)) as server:
    pairs = [(socket.create_connection(server.getsockname()), server.accept()[0]) for _ in range(3)]
(lost, peer), (full, writer), (quiet, _) = pairs
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()
writer.sendall(b"data")

# Until it has all come.
while lost.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != 7:  # TCP_CLOSE
    time.sleep(0.001)
full.recv(4, socket.MSG_PEEK | socket.MSG_WAITALL)

names = {lost.fileno(): "lost", full.fileno(): "full", quiet.fileno(): "quiet"}
for events in select.POLLIN, select.POLLIN | select.POLLOUT, 0:
    poll = select.poll()
    for fd in names:
        poll.register(fd, events)
    try:
        print("poll", sorted((names[fd], hex(is_)) for fd, is_ in poll.poll(2000)))
    except OSError as error:
        print("poll", error)
try:
    print("select", [[names[fd] for fd in ready] for ready in select.select(list(names), [lost.fileno()], list(names), 2)])
except OSError as error:
    print("select", error)
