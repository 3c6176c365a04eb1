"""Whether a service answers, and waiting until it does."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

SECONDS_BETWEEN_TRIES = 1.0


def answers(address: str) -> bool:
    """True if something answers at a web address, whatever it says but that it is broken."""
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status < 500)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False


def await_answer(name: str, address: str, seconds: float, say: Callable[[str], None]) -> bool:
    """Wait until something answers, saying so if it does not at once. False if it does not within `seconds`.

    Args:
        name: of the service.
        address: to ask.
        seconds: to wait at most.
        say: takes a line.
    """
    if answers(address):
        return True
    say(f"{name} does not answer at {address}; waiting for it, up to {seconds:g} s")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(SECONDS_BETWEEN_TRIES, max(0.0, until - time.monotonic())))
        if answers(address):
            say(f"{name} answers again")
            return True
    return False
