"""The standard library's blocking calls as waits of tasklets: `time.sleep` and `socket.socket`.

Call `patch_all()` early, before modules bind the names. What is built on `socket.socket`, such as
`urllib.request` and `http.client`, waits by tasklet from then on, unchanged. Names are looked up on
worker threads. `select`, `selectors` and `ssl` are left as they are.
"""

import errno as _errno
import socket as _socket
import time as _time

try:
    # Its sockets are made of the original, whenever somebody imports it.
    import ssl as _ssl
except ImportError:
    pass

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

    def _end(self):
        """When an operation that begins now will have taken too long."""
        return None if self._limit is None else _time.monotonic() + self._limit

    def _wait(self, write, end):
        try:
            left = None if end is None else max(end - _time.monotonic(), 0)
            stackless.wait_fd(self, write, left)
        except TimeoutError:
            raise TimeoutError("timed out") from None

    def _try(self, write, operation, *args, **named):
        return self._try_until(self._end(), write, operation, *args, **named)

    def _try_until(self, end, write, operation, *args, **named):
        while True:
            try:
                return operation(*args, **named)
            except BlockingIOError:
                if self._limit == 0:
                    raise
                self._wait(write, end)

    def recv(self, *args):
        return self._try(False, super().recv, *args)

    def recv_into(self, *args, **named):
        return self._try(False, super().recv_into, *args, **named)

    def recvfrom(self, *args):
        return self._try(False, super().recvfrom, *args)

    def recvfrom_into(self, *args, **named):
        return self._try(False, super().recvfrom_into, *args, **named)

    def recvmsg(self, *args):
        return self._try(False, super().recvmsg, *args)

    def recvmsg_into(self, *args):
        return self._try(False, super().recvmsg_into, *args)

    def send(self, *args):
        return self._try(True, super().send, *args)

    def sendto(self, *args):
        return self._try(True, super().sendto, *args)

    def sendmsg(self, *args):
        return self._try(True, super().sendmsg, *args)

    def sendall(self, data, *flags):
        end = self._end()
        with memoryview(data) as view, view.cast("B") as octets:
            sent = 0
            while sent < len(octets):
                sent += self._try_until(end, True, super().send, octets[sent:], *flags)

    def _accept(self):
        return self._try(False, super()._accept)

    def _begin_connect(self, address):
        begin = super().connect_ex
        if self.family in (_socket.AF_INET, _socket.AF_INET6) and isinstance(address, tuple):
            try:
                _socket.inet_pton(self.family, address[0])
            except OSError:
                # A name, which is looked up on a worker.
                return stackless.offload(begin, (address,))
            except (IndexError, TypeError, ValueError):
                pass  # The original has the words for it.
        return begin(address)

    def connect(self, address):
        error = self.connect_ex(address)
        if error:
            raise OSError(error, _socket.os.strerror(error))

    def connect_ex(self, address):
        end = self._end()
        error = self._begin_connect(address)
        if error != _errno.EINPROGRESS or self._limit == 0:
            return error
        self._wait(True, end)
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
