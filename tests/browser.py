"""A headless Chromium, driven by the DevTools protocol: open a page, wait for what should be seen, take a picture."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

SECONDS_TO_ANSWER = 120.0
SECONDS_TO_SHOW = 180.0
NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """Path of a Chromium; None if there is none."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Refused(Exception):
    """The browser does not do what it was asked, such as while it goes from page to page."""


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._ids = itertools.count(1)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the DevTools protocol and return its result."""
        number = next(self._ids)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._connection.recv(timeout=SECONDS_TO_ANSWER))
            if said.get("id") == number:
                if "error" in said:
                    raise Refused(f"{method}: {said['error']}")
                return dict(said["result"])

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.ask("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def text(self) -> str:
        """What can be read on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait_for(self, script: str, what: str) -> Any:
        """Wait until an expression is true, and return its value."""
        until = time.monotonic() + SECONDS_TO_SHOW
        while True:
            with contextlib.suppress(Refused):
                if value := self.evaluate(script):
                    return value
            assert time.monotonic() < until, f"{what} is not on the page, which shows:\n{self.text()}"
            time.sleep(0.2)

    def wait_for_text(self, *texts: str) -> None:
        for text in texts:
            self.wait_for(
                f"document.body && document.body.innerText.includes({json.dumps(text)})", repr(text)
            )

    def wait_for_number(self, name: str, expected: float) -> None:
        """Wait until a number stands after the word `name`, and see that it is `expected`, cut or rounded to the digits that are shown."""
        pattern = rf"(?<![\w/]){re.escape(name)}\s+({NUMBER})(?![\w.])"
        found = f"document.body && document.body.innerText.match(new RegExp({json.dumps(pattern)}))"
        shown = self.wait_for(f"({found} || [])[1]", f"a number after {name!r}")
        assert agrees(shown, expected), f"{name}: the page shows {shown}, expected is {expected!r}"

    def wait_for_picture(self, what: str, width: int) -> tuple[int, int]:
        """Wait until a picture of at least `width` pixels is loaded; its width and height."""
        size = self.wait_for(
            "[...document.images].filter("
            f"image => image.complete && image.naturalWidth >= {width}"
            ").map(image => [image.naturalWidth, image.naturalHeight])[0]",
            what,
        )
        return size[0], size[1]

    def click_text(self, text: str) -> None:
        """Click the innermost element that shows exactly this text."""
        script = (
            "[...document.body.querySelectorAll('*')].filter("
            f"one => one.innerText && one.innerText.trim() == {json.dumps(text)}).pop()"
        )
        self.wait_for(f"document.body && !!({script})", f"{text!r} to click on")
        self.evaluate(f"({script}).click()")

    def picture(self, path: Path) -> None:
        """Write what is seen as PNG."""
        shot = self.ask("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))


def agrees(shown: str, value: float) -> bool:
    """True if a number as it is shown is `value`, cut or rounded to as many digits."""
    digits = Decimal(1).scaleb(int(Decimal(shown).as_tuple().exponent))
    ways = (ROUND_DOWN, ROUND_HALF_UP, ROUND_HALF_EVEN)
    return Decimal(shown) in {Decimal(repr(value)).quantize(digits, rounding=way) for way in ways}


@contextlib.contextmanager
def browser(program: str, folder: Path) -> Iterator[Page]:
    """A tab of 1400 by 1200 pixels in a Chromium that ends with the block; its profile goes to `folder`."""
    options = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
        *("--window-size=1400,1200", "--remote-debugging-port=0", f"--user-data-dir={folder}"),
    ]
    process = subprocess.Popen(
        [program, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        port = _port(folder / "DevToolsActivePort", process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=SECONDS_TO_ANSWER) as response:
            tabs = json.load(response)
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=2**27, open_timeout=SECONDS_TO_ANSWER) as connection:
            page = Page(connection)
            page.ask("Page.enable")
            yield page
    finally:
        process.terminate()
        process.wait(timeout=SECONDS_TO_ANSWER)


def _port(note: Path, process: subprocess.Popen[bytes]) -> int:
    until = time.monotonic() + SECONDS_TO_ANSWER
    while not (note.is_file() and note.read_text().strip()):
        assert process.poll() is None and time.monotonic() < until, "the browser did not start"
        time.sleep(0.1)
    return int(note.read_text().split()[0])
