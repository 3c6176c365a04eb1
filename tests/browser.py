"""The system's Chromium, driven by Playwright: open a page, wait for what should be seen, take a picture."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

SECONDS_TO_SHOW = 180.0
NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Path of a Chromium; None if there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Page:
    """One tab, with the ways to look at it that tests need."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    def open(self, address: str) -> None:
        """Go to an address."""
        self._tab.goto(address, wait_until="commit")

    def wait_for_text(self, *texts: str) -> None:
        """Wait until all of `texts` can be read."""
        for text in texts:
            self._tab.wait_for_function("text => document.body?.innerText.includes(text)", arg=text)

    def wait_for_number(self, name: str, expected: float) -> None:
        """Wait until a number stands after the word `name`, and see that it is `expected`, cut or rounded to
        the digits that are shown.
        """
        pattern = rf"(?<![\w/]){re.escape(name)}\s+({NUMBER})(?![\w.])"
        found = self._tab.wait_for_function(
            "pattern => document.body?.innerText.match(new RegExp(pattern))?.[1]", arg=pattern
        )
        shown = str(found.json_value())
        assert agrees(shown, expected), f"{name}: the page shows {shown}, expected is {expected!r}"

    def wait_for_picture(self, width: int) -> tuple[int, int]:
        """Wait until a picture of at least `width` pixels is loaded; its width and height."""
        size = self._tab.wait_for_function(
            "width => [...document.images].filter(image => image.complete && image.naturalWidth >= width)"
            ".map(image => [image.naturalWidth, image.naturalHeight])[0]",
            arg=width,
        ).json_value()
        return size[0], size[1]

    def click_text(self, text: str) -> None:
        """Click what shows exactly this text."""
        self._tab.get_by_text(text, exact=True).last.click()

    def picture(self, path: Path) -> None:
        """Write what is seen as PNG."""
        self._tab.screenshot(path=path)


def agrees(shown: str, value: float) -> bool:
    """True if a number as it is shown is `value`, cut or rounded to as many digits."""
    digits = Decimal(1).scaleb(int(Decimal(shown).as_tuple().exponent))
    ways = (ROUND_DOWN, ROUND_HALF_UP, ROUND_HALF_EVEN)
    return Decimal(shown) in {Decimal(repr(value)).quantize(digits, rounding=way) for way in ways}


@contextlib.contextmanager
def chromium(program: str) -> Iterator[Browser]:
    """A Chromium that ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield started
        finally:
            started.close()


@contextlib.contextmanager
def browser(program: str) -> Iterator[Page]:
    """A tab of 1400 by 1200 pixels in a Chromium that ends with the block."""
    with chromium(program) as started:
        tab = started.new_page(viewport={"width": 1400, "height": 1200})
        tab.set_default_timeout(SECONDS_TO_SHOW * 1000)
        yield Page(tab)
