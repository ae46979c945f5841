"""Stackless' tasklets and channels for unmodified CPython.

    import stackless

    def ping(channel, count):
        for i in range(count):
            channel.send(i)

    channel = stackless.channel()
    stackless.tasklet(ping)(channel, 3)
    for _ in range(3):
        print(channel.receive())

The documentation is docs/python.md of hardswitch.
"""

import atexit as _atexit
import builtins as _builtins
import gc as _gc
import sys as _sys
import types as _types

from . import _stackless
from ._stackless import (
    TaskletExit,
    channel,
    configure,
    enable_softswitch,
    get_channel_callback,
    get_error_handler,
    get_schedule_callback,
    get_thread_info,
    getcurrent,
    getcurrentid,
    getmain,
    getruncount,
    getthreads,
    is_idle,
    offload,
    pump,
    run,
    schedule,
    schedule_remove,
    set_channel_callback,
    set_error_handler,
    set_schedule_callback,
    set_use_nested_tasklets,
    sleep,
    stats,
    switch_trap,
    tasklet,
    wait_fd,
)

__all__ = [
    "TaskletExit",
    "atomic",
    "bomb",
    "channel",
    "configure",
    "enable_softswitch",
    "get_channel_callback",
    "get_error_handler",
    "get_schedule_callback",
    "get_thread_info",
    "getcurrent",
    "getcurrentid",
    "getmain",
    "getruncount",
    "getthreads",
    "is_idle",
    "offload",
    "pump",
    "run",
    "schedule",
    "schedule_remove",
    "set_channel_callback",
    "set_error_handler",
    "set_schedule_callback",
    "set_use_nested_tasklets",
    "sleep",
    "stats",
    "switch_trap",
    "tasklet",
    "wait_fd",
]


class atomic:
    """While the block runs no watchdog interrupts the tasklet."""

    __slots__ = ("_old",)

    def __enter__(self):
        self._old = getcurrent().set_atomic(True)

    def __exit__(self, *exc):
        getcurrent().set_atomic(self._old)


class bomb:
    """An exception as a value: type, value, traceback. `channel.send_throw(*args)` sends one."""

    __slots__ = ("type", "value", "traceback")

    def __init__(self, type=None, value=None, traceback=None):
        if isinstance(type, BaseException):
            type, value, traceback = type.__class__, type, type.__traceback__
        self.type, self.value, self.traceback = type, value, traceback


class _Module(_types.ModuleType):
    """The module with its properties: as in Stackless, they belong to the calling thread."""

    @property
    def current(self):
        """The running tasklet."""
        return getcurrent()

    @property
    def main(self):
        """The thread's main tasklet."""
        return getmain()

    @property
    def runcount(self):
        """Tasklets in the queue, the running one included."""
        return getruncount()

    @property
    def threads(self):
        """The numbers of the threads that use the module."""
        return getthreads()


_sys.modules[__name__].__class__ = _Module
_builtins.TaskletExit = TaskletExit
_gc.callbacks.append(_stackless._gc_phase)
# In the order of their calls: the last one that is registered is called first.
_atexit.register(_stackless._close)
_atexit.register(_stackless._end_thread)
