"""Values that programs stumble over."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.fuzz.guard import CANARY

EXTREMES = (
    *(0, 1, -1, 2, -2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 10**6, 10**9),
    *(
        2**31 - 1,
        2**31,
        -(2**31),
        2**32 - 1,
        2**32,
        2**48,
        2**62,
        2**63 - 1,
        2**63,
        -(2**63),
        2**64 - 1,
        2**64,
    ),
)
FLOATS = (0.0, -0.0, 1e-320, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 0.1, 65520.0)
# The first lead out of the folder that an input is in, to files that are there; see `inputs.make_outside`.
PLACES = (
    *(
        "../../outside/secret.h5",
        "../../outside/pipe",
        "../../outside",
        "/dev/zero",
        "/proc/version",
    ),
    *(
        ".",
        "..",
        "",
        "/",
        "nowhere.h5",
        "one.h5",
        "features.h5",
        "a\x00b",
        "x" * 5000,
        "http://127.0.0.1:9/x.h5",
    ),
)
TEXTS = (
    *(
        "",
        " ",
        "\x00",
        "a\nb",
        "a\r\nb",
        "\x1b[2J\x1b]0;title\x07",
        "\u2028",
        "\u202e",
        "ü" * 300,
        "😀",
        "\ud800",
    ),
    *("null", "true", "nan", "inf", "-inf", "1e999", "-1", "0x10", "1_000", "٣", "²", "9" * 5000, "1" * 400),
    *(
        "=1+1",
        '=cmd|"/c calc"!A1',
        "$(touch executed)",
        "`touch executed`",
        "%s%n%x",
        "{0}",
        "{self}",
        "%(a)s",
    ),
    *(f"__import__('{CANARY}')", "../../../etc/passwd", "/etc/passwd", "a|b|c", "|||", ";", "x" * 200_000),
    *("static:0-99999999999", "static:5-1", "static:-1", ":1", "static:1;black:1-3", "train", "query", "ok"),
)


def any_value(rng: Random, depth: int = 0) -> Any:
    """A value of any type that JSON knows."""
    kind = rng.randrange(9 if depth < 3 else 6)
    if kind == 0:
        return rng.choice(EXTREMES)
    if kind == 1:
        return rng.choice(FLOATS)
    if kind == 2:
        return rng.choice(TEXTS)
    if kind == 3:
        return rng.choice((None, True, False))
    if kind == 4:
        return rng.choice(PLACES)
    if kind == 5:
        return rng.choice(([], {}, [[]], [{}], {"": ""}))
    if kind == 6:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {str(rng.choice(TEXTS))[:50]: any_value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return rng.choice((10**400, -(10**400), 10**18 + 1, 3.5, "3", "3.5", [1, "a"], [True]))


def change_tree(tree: Any, rng: Random) -> Any:
    """The tree with one node replaced, taken away, doubled or put elsewhere."""
    places = [(container, key) for container in _containers(tree) for key in _keys(container)]
    if not places:
        return any_value(rng)
    container, key = rng.choice(places)
    kind = rng.randrange(7)
    if kind == 0:
        del container[key]
    elif kind == 1:
        other, place = rng.choice(places)
        container[key] = _copied(other[place])
    elif kind == 2 and isinstance(container, dict):
        container[rng.choice((f"{key}_", str(key).upper(), "", "__class__", str(rng.choice(TEXTS))[:40]))] = (
            container.pop(key)
        )
    elif kind == 3 and isinstance(container, list):
        container.extend(_copied(container[key]) for _ in range(rng.choice((1, 2, 200))))
    elif kind == 4 and type(container[key]) in (int, float) and abs(container[key]) < 1e300:
        value = container[key]
        container[key] = rng.choice(
            (-value, value + 1, value * 10**6, str(value), float(value), [value], value / 3)
        )
    else:
        container[key] = any_value(rng)
    return tree


def _containers(tree: Any) -> list[Any]:
    found = []
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict | list):
            found.append(one)
            waiting += one.values() if isinstance(one, dict) else one
    return found


def _keys(container: Any) -> list[Any]:
    return list(container) if isinstance(container, dict) else list(range(len(container)))


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(entry) for key, entry in value.items()}
    return [_copied(entry) for entry in value] if isinstance(value, list) else value
