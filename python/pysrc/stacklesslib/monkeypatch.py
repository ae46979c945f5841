"""The standard library's blocking calls as waits of tasklets: sleeping, sockets, `select`.

Call `patch_all()` early, before modules bind the names. What is built on `socket.socket`, such as
`urllib.request` and `http.client`, waits by tasklet from then on, unchanged, and so does what is
built on `select` and `selectors`: `asyncio`, `subprocess`, `socketserver`. Names are looked up on
worker threads. `ssl` is left as it is.
"""

import errno as _errno
import select as _select_module
import selectors as _selectors
import socket as _socket
import time as _time

try:
    # Its sockets are made of the original, whenever somebody imports it.
    import ssl as _ssl
except ImportError:
    pass

import stackless

from ._limits import is_over as _is_over, left as _left

_sleep, _Socket = _time.sleep, _socket.socket
_getaddrinfo = _socket.getaddrinfo


def _is_ready(fd, end, write=False):
    """Waits until `fd` can be read, or written to: True; until the time is over: False."""
    try:
        stackless.wait_fd(fd, write, _left(end))
        return True
    except TimeoutError as error:
        if not _is_over(error, end):
            raise
        return False


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
        if not _is_ready(self, end, write):
            raise TimeoutError("timed out")

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


_select, _poll, _epoll = _select_module.select, _select_module.poll, _select_module.epoll


def _until(look, wanted, seconds):
    """What `look` finds, as soon as it finds something or the time is over. `wanted()`: events (as
    epoll has them) by descriptor."""
    found = look()
    if any(found) or seconds is not None and seconds <= 0:
        return found
    end = None if seconds is None else _time.monotonic() + seconds
    # An instance of epoll is itself a descriptor. What it finds it tells once: it also tells of
    # errors that nobody has asked for.
    with _epoll() as watched:
        for fd, events in wanted().items():
            try:
                watched.register(fd, events | _select_module.EPOLLET)
            except PermissionError:
                pass  # A regular file: it never has to be waited for.
        while True:
            in_time = _is_ready(watched, end)
            watched.poll(0)
            found = look()
            if any(found) or not in_time:
                return found


def select(rlist, wlist, xlist, timeout=None):
    """`select.select` that blocks the tasklet alone."""
    if timeout is not None and not timeout > 0:
        return _select(rlist, wlist, xlist, timeout)
    lists = [tuple(some) for some in (rlist, wlist, xlist)]

    def wanted():
        events = {}
        for some, event in zip(lists, _EVENTS):
            for fd in map(_number, some):
                events[fd] = events.get(fd, 0) | event
        return events

    return _until(lambda: _select(*lists, 0), wanted, timeout)


_EVENTS = _select_module.EPOLLIN, _select_module.EPOLLOUT, _select_module.EPOLLPRI
_ALL = _select_module.POLLIN | _select_module.POLLPRI | _select_module.POLLOUT


def _number(fd):
    return fd if isinstance(fd, int) else fd.fileno()


class TaskletPoll:
    """`select.poll` that blocks the tasklet alone."""

    def __init__(self):
        self._poll, self._wanted = _poll(), {}

    def register(self, fd, eventmask=_ALL):
        self._poll.register(fd, eventmask)
        self._wanted[_number(fd)] = eventmask

    def modify(self, fd, eventmask):
        self._poll.modify(fd, eventmask)
        self._wanted[_number(fd)] = eventmask

    def unregister(self, fd):
        self._poll.unregister(fd)
        del self._wanted[_number(fd)]

    def poll(self, timeout=None):
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        # Its bits are those of poll.
        return _until(lambda: self._poll.poll(0), lambda: self._wanted, seconds)


class TaskletEpoll:
    """`select.epoll` that blocks the tasklet alone."""

    def __init__(self, *args, **kwargs):
        self._epoll = _epoll(*args, **kwargs)

    @classmethod
    def fromfd(cls, fd):
        made = cls.__new__(cls)
        made._epoll = _epoll.fromfd(fd)
        return made

    def __getattr__(self, name):
        return getattr(self._epoll, name)

    def __enter__(self):
        self._epoll.__enter__()
        return self

    def __exit__(self, *exc):
        return self._epoll.__exit__(*exc)

    def poll(self, timeout=None, maxevents=-1):
        found = self._epoll.poll(0, maxevents)
        if found or timeout is not None and timeout == 0:
            return found
        end = None if timeout is None or timeout < 0 else _time.monotonic() + timeout
        while not found and _is_ready(self._epoll, end):
            found = self._epoll.poll(0, maxevents)  # Another tasklet may have been quicker.
        return found


def _look_up(*args, **kwargs):
    return stackless.offload(_getaddrinfo, args, kwargs)


def patch_all():
    """Replaces the blocking calls."""
    _time.sleep = stackless.sleep
    _socket.socket = _socket.SocketType = TaskletSocket
    _socket.getaddrinfo = _look_up
    _set_select(select, TaskletPoll, TaskletEpoll)


def unpatch_all():
    """Puts the originals back."""
    _time.sleep = _sleep
    _socket.socket, _socket.SocketType = _Socket, _socket._socket.SocketType
    _socket.getaddrinfo = _getaddrinfo
    _set_select(_select, _poll, _epoll)


def _set_select(select, poll, epoll):
    _select_module.select, _select_module.poll, _select_module.epoll = select, poll, epoll
    _selectors.SelectSelector._select = staticmethod(select)
    _selectors.PollSelector._selector_cls = poll
    _selectors.EpollSelector._selector_cls = epoll
