"""Locks and their kin for the tasklets of one thread, with the methods of `threading`'s.

Who waits longest comes first: what is released goes to that tasklet at once. A tasklet that is
killed, or thrown at, after it was woken and before it runs gives what it has got to the next one.
Between threads use `threading`'s own, with `stackless.offload`.
"""

from collections import deque
from time import monotonic as _now

import stackless

from ._limits import is_over as _is_over, left as _left


def _deadline(blocking, timeout):
    """When a wait is over, or None: never."""
    if not blocking:
        if timeout is not None and timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0.0
    if timeout is None or timeout == -1:
        return None
    if timeout < 0:
        raise ValueError("timeout value must be a non-negative number")
    return _now() + timeout


class _Waiter:
    """A tasklet that waits, and whether it was woken."""

    __slots__ = ("channel", "woken")

    def __init__(self):
        self.channel = stackless.channel()
        self.channel.preference = 1  # Who wakes goes on.
        self.woken = False


class _Waiters:
    """Tasklets that wait for one thing, the oldest first."""

    __slots__ = ("_queue", "_give_back")

    def __init__(self, give_back):
        self._queue = deque()
        #: What becomes of that for which a tasklet was woken that cannot use it any more.
        self._give_back = give_back

    def __len__(self):
        return len(self._queue)

    def wait(self, end):
        """Until `wake`: True; until the time is over: False."""
        waiter = _Waiter()
        self._queue.append(waiter)
        try:
            waiter.channel.receive(_left(end))
        except TimeoutError as error:
            if not _is_over(error, end):
                self._leave(waiter)
                raise
            if not waiter.woken:
                self._queue.remove(waiter)
            return waiter.woken
        except BaseException:
            self._leave(waiter)
            raise
        return True

    def _leave(self, waiter):
        if waiter.woken:
            self._give_back()
        else:
            self._queue.remove(waiter)

    def wake(self):
        """The oldest one, if there is any."""
        if not self._queue:
            return False
        waiter = self._queue.popleft()
        waiter.woken = True
        # One that something was thrown at is on its way already, and does not wait any more.
        if waiter.channel.balance < 0:
            waiter.channel.send(None)
        return True


class Semaphore:
    """A number that `acquire` makes smaller, and that is never negative: as threading.Semaphore."""

    def __init__(self, value=1):
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        self._value = value
        self._waiters = _Waiters(self._release_one)

    def acquire(self, blocking=True, timeout=None):
        """True, or False if there was none in time."""
        end = _deadline(blocking, timeout)
        with stackless.atomic():
            if self._value:
                self._value -= 1
                return True
            return bool(blocking) and self._waiters.wait(end)

    def release(self, n=1):
        """Adds `n`, or gives them to those who wait."""
        if n < 1:
            raise ValueError("n must be one or more")
        with stackless.atomic():
            for _ in range(n):
                self._release_one()

    def _release_one(self):
        if not self._waiters.wake():
            self._value += 1

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc):
        self.release()


class BoundedSemaphore(Semaphore):
    """A semaphore that never has more than in the beginning: as threading.BoundedSemaphore."""

    def __init__(self, value=1):
        super().__init__(value)
        self._most = value

    def release(self, n=1):
        if n >= 1 and self._value + n > self._most:
            raise ValueError("Semaphore released too many times")
        super().release(n)


class Lock:
    """One tasklet has it at a time, and any may release it: as threading.Lock."""

    def __init__(self):
        self._locked = False
        self._waiters = _Waiters(self._release_one)

    def acquire(self, blocking=True, timeout=-1):
        """True, or False if it was not free in time."""
        end = _deadline(blocking, timeout)
        with stackless.atomic():
            if not self._locked:
                self._locked = True
                return True
            return bool(blocking) and self._waiters.wait(end)

    def release(self):
        if not self._locked:
            raise RuntimeError("release unlocked lock")
        with stackless.atomic():
            self._release_one()

    def _release_one(self):
        self._locked = self._waiters.wake()

    def locked(self):
        return self._locked

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc):
        self.release()

    def __repr__(self):
        state = "locked" if self._locked else "unlocked"
        return f"<{state} {type(self).__name__}, {len(self._waiters)} waiting>"


class RLock:
    """A lock that its tasklet may acquire again: as threading.RLock."""

    def __init__(self):
        self._lock = Lock()
        self._owner = None
        self._count = 0

    def acquire(self, blocking=True, timeout=-1):
        _deadline(blocking, timeout)  # Refuses what makes no sense, also where nobody waits.
        me = stackless.getcurrent()
        if self._owner is me:
            self._count += 1
            return True
        if not self._lock.acquire(blocking, timeout):
            return False
        self._owner, self._count = me, 1
        return True

    def release(self):
        if not self._is_owned():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._lock.release()

    def __enter__(self):
        return self.acquire()

    def __exit__(self, *exc):
        self.release()

    def _is_owned(self):
        return self._owner is stackless.getcurrent()

    # For a condition: all of it, whatever the count.
    def _release_save(self):
        count, self._count, self._owner = self._count, 0, None
        self._lock.release()
        return count

    def _acquire_restore(self, count):
        self._lock.acquire()
        self._owner, self._count = stackless.getcurrent(), count


class Condition:
    """Waits for what others change under a lock: as threading.Condition."""

    def __init__(self, lock=None):
        self._lock = RLock() if lock is None else lock
        self.acquire, self.release = self._lock.acquire, self._lock.release
        self._waiters = _Waiters(self._notify_one)

    def __enter__(self):
        return self._lock.__enter__()

    def __exit__(self, *exc):
        return self._lock.__exit__(*exc)

    def _check(self):
        is_owned = getattr(self._lock, "_is_owned", None) or self._lock.locked
        if not is_owned():
            raise RuntimeError("cannot use an un-acquired lock")

    def wait(self, timeout=None):
        """Releases the lock, waits for `notify`, and acquires the lock again, also if it ends by an
        exception. False if the time was over first."""
        self._check()
        end = None if timeout is None else _now() + max(timeout, 0)
        with stackless.atomic():
            if isinstance(self._lock, RLock):
                release, acquire = self._lock._release_save, self._lock._acquire_restore
            else:
                release, acquire = self._lock.release, lambda _: self._lock.acquire()
            saved = release()
            try:
                return self._waiters.wait(end)
            finally:
                _whatever_comes(acquire, saved)

    def wait_for(self, predicate, timeout=None):
        """Waits until `predicate()` is true, and returns its last value."""
        end = None if timeout is None else _now() + timeout
        while not (value := predicate()):
            left = None if end is None else end - _now()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return value

    def notify(self, n=1):
        """Wakes `n` tasklets, if so many wait."""
        self._check()
        with stackless.atomic():
            for _ in range(n):
                self._notify_one()

    def notify_all(self):
        self.notify(len(self._waiters))

    def _notify_one(self):
        self._waiters.wake()


def _whatever_comes(acquire, saved):
    """Acquires, and raises only then what was thrown at the tasklet meanwhile."""
    thrown = None
    while True:
        try:
            acquire(saved)
            break
        except BaseException as error:
            thrown = error
    if thrown is not None:
        raise thrown


class Event:
    """Tasklets wait until it is set: as threading.Event."""

    def __init__(self):
        self._is_set = False
        self._waiters = _Waiters(lambda: None)

    def is_set(self):
        return self._is_set

    def set(self):
        with stackless.atomic():
            self._is_set = True
            for _ in range(len(self._waiters)):
                self._waiters.wake()

    def clear(self):
        self._is_set = False

    def wait(self, timeout=None):
        """True, or False if it was not set in time."""
        end = None if timeout is None else _now() + max(timeout, 0)
        with stackless.atomic():
            return self._is_set or self._waiters.wait(end)
