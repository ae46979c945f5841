"""Calls on worker threads, limits of time, and a channel with a queue."""

from collections import deque
from time import monotonic as _now

import stackless


def call_async(function, args=(), kwargs=None, timeout=None):
    """Calls `function` on a worker thread and returns its result; other tasklets run meanwhile.

    TimeoutError after `timeout` seconds: then the function runs on, and its result is lost.
    """
    return stackless.offload(function, args, kwargs, timeout)


class Expired(TimeoutError):
    """The time of a `timeout` block is up. `block` is that block."""

    block = None


class timeout:
    """Limits how long a block may take: `with timeout(seconds): ...`

    When the time is up, `Expired`, a TimeoutError, is raised in the block, at the wait or at the
    turn that the tasklet has next. It is never raised after the block. Blocks may be nested:
    `expired` tells whose time was up. None: no limit.
    """

    def __init__(self, seconds):
        self.expired = False
        self._seconds = seconds
        self._timer = None

    def __enter__(self):
        if self._seconds is not None:
            self.expired = False
            end = _now() + self._seconds
            self._timer = stackless.tasklet(self._expire)(stackless.getcurrent(), end)
        return self

    def __exit__(self, *exc):
        if self._timer is not None:
            self._timer.kill(pending=True)
            self._timer = None

    def _expire(self, tasklet, end):
        stackless.sleep(max(end - _now(), 0))
        self.expired = True
        error = Expired("timed out")
        error.block = self
        tasklet.throw(error, pending=True)


def timeout_call(seconds, function, *args, **kwargs):
    """Calls the function within that time; `Expired`, a TimeoutError, if it takes longer."""
    with timeout(seconds):
        return function(*args, **kwargs)


class QueueChannel(stackless.channel):
    """A channel whose `send` does not wait: values that nobody waits for are kept in order, at most
    `max_len` of them (-1: any number). For the tasklets of one thread."""

    def __init__(self, max_len=-1):
        self.max_len = max_len
        self._values = deque()
        self.preference = 0  # Who comes second goes on: so the values stay in order.

    def __len__(self):
        return len(self._values)

    def send(self, value, timeout=None):
        if self.balance < 0 and not self._values:
            super().send(value)
        elif self.closing:
            raise ValueError("Send/receive operation on a closed channel")
        elif self.max_len < 0 or len(self._values) < self.max_len:
            self._values.append(value)
        else:
            super().send(value, timeout)

    def receive(self, timeout=None):
        if not self._values:
            return super().receive(timeout)
        value = self._values.popleft()
        if self.balance > 0:
            self._values.append(super().receive())
        return value

    def __next__(self):
        if not self._values and self.closing and self.balance <= 0:
            raise StopIteration
        return self.receive()
