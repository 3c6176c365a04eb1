"""compose.yaml on this machine: the very commands and variables of its services, with addresses of servers
that tests have started.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

from flows.servers.server import HOST, free_port
from tests.conftest import REPOSITORY
from tests.services import Service

# ${NAME}, ${NAME:-otherwise} and ${NAME:?what is wrong}
VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\}")
PROGRAMS = {
    "python": [],
    "ssvh": ["-m", "flows.cli"],
    "prefect": ["-m", "prefect"],
    "mlflow": ["-m", "mlflow"],
}


class Compose:
    """The services of compose.yaml.

    Args:
        settings: what `.env` has.
        elsewhere: which address stands for a host and port of the file, such as "database:5432". Services
            that are of our image get a free port of this machine.
    """

    def __init__(self, settings: dict[str, str], elsewhere: dict[str, str]) -> None:
        text = VARIABLE.sub(lambda found: _value(found, settings), (REPOSITORY / "compose.yaml").read_text())
        self._services: dict[str, Any] = YAML(typ="safe").load(text)["services"]
        self._places = dict(elsewhere)
        for name, service in self._services.items():
            for port in service.get("ports", ()):
                inside = port.rpartition(":")[2]
                self._places[f"{name}:{inside}"] = f"{HOST}:{free_port()}"

    def address(self, place: str) -> str:
        """The address that stands for one of the file's."""
        return f"http://{self._places[place]}"

    def environment(self, name: str) -> dict[str, str]:
        """The variables of a service."""
        return {key: self._here(str(value)) for key, value in self._services[name]["environment"].items()}

    def command(self, name: str) -> list[str]:
        """The command of a service; it listens to this machine only, on its free port."""
        program, *options = self._services[name]["command"]
        if "--port" in options:
            at = options.index("--port") + 1
            options[at] = str(urlsplit(self.address(f"{name}:{options[at]}")).port)
        return [sys.executable, *PROGRAMS[program], *(HOST if one == "0.0.0.0" else one for one in options)]

    def service(self, name: str, logs: Path, environment: dict[str, str]) -> Service:
        """A service as a process, not started yet; it is up when what its health check asks for answers."""
        check = " ".join(self._services[name].get("healthcheck", {}).get("test", ()))
        health = ""
        if (asked := re.search(r"http://127\.0\.0\.1(:\d+)(/[^']*)", check)) is not None:
            health = self.address(f"{name}{asked[1]}") + asked[2]
        extra = {**environment, **self.environment(name)}
        return Service(self.command(name), health, logs / name, extra)

    def _here(self, value: str) -> str:
        for place, address in self._places.items():
            value = re.sub(rf"(?<=[@/]){re.escape(place)}\b", address, value)
        return value


def _value(found: re.Match[str], settings: dict[str, str]) -> str:
    value = settings.get(found["name"], "")
    if not value and found["kind"] == "?":
        raise AssertionError(f"{found['name']} {found['text']}")
    return value or (found["text"] if found["kind"] == "-" else "")
