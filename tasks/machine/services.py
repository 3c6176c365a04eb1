"""Whether a service answers, and waiting until it does."""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable

SECONDS_BETWEEN_TRIES = 1.0


def without_passwords(text: str) -> str:
    """The text with `***` for the password of every address in it, for people to read."""
    # Up to the last @ of a word: a password may hold one.
    text = re.sub(r"(://[^\s:/@]*):\S*@", r"\1:***@", text)
    return re.sub(r"(?i)([?&](?:password|passfile|sslpassword)=)[^\s&]+", r"\1***", text)


def say(text: str) -> None:
    """Print a line for people, at once and without passwords."""
    print(without_passwords(text), flush=True)


def without_user(address: str) -> str:
    """A web address without the name and the password that it may hold."""
    return re.sub(r"://\S*@", "://", address)


def answers(address: str) -> bool:
    """True if something answers at a web address, whatever it says but that it is broken."""
    try:
        # Python's client takes a password in an address for a part of the host's name.
        with urllib.request.urlopen(without_user(address), timeout=5) as response:
            return bool(response.status < 500)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError, http.client.HTTPException):
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
    say(f"{name} does not answer at {without_passwords(address)}; waiting for it, up to {seconds:g} s")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(SECONDS_BETWEEN_TRIES, max(0.0, until - time.monotonic())))
        if answers(address):
            say(f"{name} answers again")
            return True
    return False
