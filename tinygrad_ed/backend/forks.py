"""Locks that a fork leaves open: its child has only the thread that forked, and nobody to release what another one held."""
from __future__ import annotations

import os
from typing import Any
from weakref import WeakSet

__all__ = ["open_after_fork"]

_locks: WeakSet[Any] = WeakSet()


def open_after_fork(lock: Any) -> Any:
    """A lock of `threading`, which the child of a fork finds open.

    Example:
        >>> import threading
        >>> lock = open_after_fork(threading.Lock())
        >>> lock.locked()
        False
    """
    _locks.add(lock)
    return lock


def _open_all() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()                        # as Python's own modules do with theirs


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_all)
