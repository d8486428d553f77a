"""Polling with a bound, in place of sleeping and hoping."""

import time

from .settings import BOUND_S


def eventually(condition, what: str, bound_s: float = BOUND_S, pause_s: float = 0.01):
    """The first true value of `condition()`; AssertionError naming `what` after `bound_s`."""
    deadline = time.monotonic() + bound_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {bound_s:.0f} s: {what} (last value: {value!r})")
        time.sleep(pause_s)  # poll: the caller's condition, within its bound
        pause_s = min(pause_s * 1.5, 0.25)
