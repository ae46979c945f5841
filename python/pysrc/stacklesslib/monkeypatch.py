"""The standard library's blocking calls as waits of tasklets: `time.sleep` and `socket.socket`.

Call `patch_all()` early, before modules bind the names. What is built on `socket.socket`, such as
`urllib.request` and `http.client`, waits by tasklet from then on, unchanged. Names are looked up on
worker threads. `select`, `selectors` and `ssl` are left as they are.
"""

import socket as _socket
import time as _time

import stackless

_sleep, _Socket = _time.sleep, _socket.socket
_getaddrinfo = _socket.getaddrinfo


class TaskletSocket(_Socket):
    """A socket whose blocking operations block the tasklet alone."""

    def __init__(self, family=-1, type=-1, proto=-1, fileno=None):
        super().__init__(family, type, proto, fileno)
        self._limit = _socket.getdefaulttimeout()
        super().settimeout(0)

    def gettimeout(self):
        return self._limit

    def settimeout(self, value):
        if value is not None and not value >= 0:
            raise ValueError("Timeout value out of range")
        self._limit = value

    def setblocking(self, flag):
        self._limit = None if flag else 0.0

    def getblocking(self):
        return self._limit != 0

    timeout = property(gettimeout)

    def _wait(self, write):
        if self._limit == 0:
            raise BlockingIOError("the socket does not block")
        try:
            stackless.wait_fd(self, write, self._limit)
        except TimeoutError:
            raise TimeoutError("timed out") from None

    def _try(self, write, operation, *args):
        while True:
            try:
                return operation(*args)
            except BlockingIOError:
                self._wait(write)

    def recv(self, *args):
        return self._try(False, super().recv, *args)

    def recv_into(self, *args):
        return self._try(False, super().recv_into, *args)

    def recvfrom(self, *args):
        return self._try(False, super().recvfrom, *args)

    def recvfrom_into(self, *args):
        return self._try(False, super().recvfrom_into, *args)

    def send(self, *args):
        return self._try(True, super().send, *args)

    def sendto(self, *args):
        return self._try(True, super().sendto, *args)

    def sendall(self, data, *flags):
        with memoryview(data) as view, view.cast("B") as octets:
            sent = 0
            while sent < len(octets):
                sent += self.send(octets[sent:], *flags)

    def _accept(self):
        return self._try(False, super()._accept)

    def connect(self, address):
        error = self.connect_ex(address)
        if error:
            raise OSError(error, _socket.os.strerror(error))

    def connect_ex(self, address):
        import errno

        error = super().connect_ex(address)
        if error != errno.EINPROGRESS or self._limit == 0:
            return error
        self._wait(True)
        return self.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)


def _look_up(*args, **kwargs):
    return stackless.offload(_getaddrinfo, args, kwargs)


def patch_all():
    """Replaces the blocking calls."""
    _time.sleep = stackless.sleep
    _socket.socket = _socket.SocketType = TaskletSocket
    _socket.getaddrinfo = _look_up


def unpatch_all():
    """Puts the originals back."""
    _time.sleep = _sleep
    _socket.socket, _socket.SocketType = _Socket, _socket._socket.SocketType
    _socket.getaddrinfo = _getaddrinfo
