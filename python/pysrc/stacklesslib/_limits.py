"""Waits that end at a time."""

from time import monotonic as _now


def left(end):
    """The seconds until then, or None: for ever."""
    return None if end is None else max(end - _now(), 0)


def is_over(error, end):
    """Is this TimeoutError the end of a wait until `end`? Otherwise somebody has thrown it."""
    return type(error) is TimeoutError and end is not None and _now() >= end
