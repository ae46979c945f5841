"""Calls on worker threads, and a channel with a queue."""

from collections import deque

import stackless


def call_async(function, args=(), kwargs=None, timeout=None):
    """Calls `function` on a worker thread and returns its result; other tasklets run meanwhile.

    TimeoutError after `timeout` seconds: then the function runs on, and its result is lost.
    """
    return stackless.offload(function, args, kwargs, timeout)


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
