"""Damage to JSON and YAML: values of other types, keys twice, depth, references to themselves, tags that name
code.
"""

from __future__ import annotations

import json
import re
import sys
from random import Random
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.fuzz.guard import CANARY
from tests.fuzz.values import any_value, change_tree

DEEP = (50, 900, 3000, 100_000)
LAUGHS = "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9) if level else 'lol'}]\n" for level in range(9)
)
BOMBS = (
    LAUGHS,
    "a: &a [*a]\n",
    "a: &a {b: *a}\n",
    "seed: !!python/object/apply:os.system ['touch executed']\n",
    f"seed: !!python/module:{CANARY}\n",
    f"seed: !!python/name:{CANARY}.x\n",
    "seed: !!python/object/new:subprocess.Popen [[touch, executed]]\n",
    "seed: !!binary aGVsbG8=\n",
    "seed: !!binary '*'\n",
    "seed: !!set {a, b}\n",
    "seed: !!omap [a: 1, b: 2]\n",
    "seed: !!timestamp 2001-99-99\n",
    "seed: 2001-99-99\n",
    "seed: !!int x\n",
    "seed: !!float x\n",
    "seed: !!bool x\n",
    "seed: !!int ''\n",
    "seed: !!float ''\n",
    "seed: !unknown 1\n",
    "seed: !<tag:yaml.org,2002:str> 1\n",
    "%YAML 9.9\n---\n",
    "%TAG ! tag:example.org,2000:\n---\nseed: !x 1\n",
    "--- 1\n--- 2\n",
    "? [a, b]\n: 1\n",
    "? {a: b}\n: 1\n",
    "<<: [1, 2]\n",
    "<<: {seed: 1}\n",
    "<<: *nowhere\n",
    "1: 2\n",
    "null: 2\n",
    "1.5: 2\n",
    "2001-01-01: 2\n",
    "seed: 0o17\n",
    "seed: 1:30:00\n",
    f"seed: {'9' * 5000}\n",
    f"seed: 0x{'f' * 5000}\n",
    "seed: .inf\n",
    "seed: .nan\n",
    "seed: |9\n  x\n",
    'seed: "\\ud800"\n',
    'seed: "\\x1b[2J"\n',
    "seed: '\u2028'\n",
    "\tseed: 1\n",
    "seed: @x\n",
    "seed: `x`\n",
    "seed: *\n",
    "seed: &\n",
    "seed: {\n",
    "seed: 'x\n",
)


NUMBERS = ("9" * 5000, "1e999", "-1", "NaN", "Infinity", "-Infinity", "0.1", "1E400", "00")
STRINGS = ('"\\ud800"', '"\\u0000"', '"a\\nb"', '"' + "x" * 100_000 + '"')


def json_text(data: bytes, rng: Random) -> bytes:
    """Damage to a JSON file."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return data
    if rng.random() < 0.7:
        return _dumped(change_tree(tree, rng))
    text = data.decode(errors="replace")
    depth = rng.choice(DEEP)
    return rng.choice(
        (
            "[" * depth,
            "[" * depth + "]" * depth,
            '{"a":' * depth + "1" + "}" * depth,
            _replaced(r"\d+", rng.choice(NUMBERS), text, rng),
            _replaced(r'"[^"]*"', rng.choice(STRINGS), text, rng),
            text[:-2] + "," + text[1:],
            text + text,
            "\ufeff" + text,
            "",
            "null",
            '""',
            "[]",
            "{}",
        )
    ).encode(errors="surrogatepass")


def _replaced(pattern: str, by: str, text: str, rng: Random) -> str:
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    place = rng.choice(found)
    return text[: place.start()] + by + text[place.end() :]


def json_lines(data: bytes, rng: Random) -> bytes:
    """Damage to one line of a journal, or to the order and number of its lines."""
    lines = data.splitlines()
    if not lines:
        return data
    place = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        lines.insert(place, rng.choice(lines))
    elif kind == 1:
        lines[place] = _dumped(any_value(rng))
    elif kind == 2:
        lines = [lines[place]] * rng.choice((1, 3, 300))
    else:
        lines[place] = json_text(lines[place], rng).replace(b"\n", b" ")
    return b"\n".join(lines) + rng.choice((b"\n", b"\n", b"", b"\r\n", b"\x00"))


def yaml_text(data: bytes, rng: Random) -> bytes:
    """Damage to a YAML file: to what it says, to a value in a line, or lines that are traps."""
    text = data.decode(errors="replace")
    kind = rng.randrange(6)
    if kind < 2:
        tree = _yaml_tree(data)
        if isinstance(tree, dict) and tree:
            changed = change_tree(tree, rng)
            if not isinstance(changed, dict):
                return _dumped(changed)
            lines = [_dumped(key) + b": " + _dumped(value) for key, value in changed.items()]
            return b"\n".join(lines) + b"\n"
    if kind < 4:
        lines_ = text.splitlines()
        places = [
            number for number, line in enumerate(lines_) if ": " in line and not line.lstrip().startswith("#")
        ]
        if places:
            number = rng.choice(places)
            head = lines_[number].partition(": ")[0]
            value = rng.choice(
                (
                    rng.choice(BOMBS).partition(": ")[2].strip(),
                    _dumped(any_value(rng)).decode(errors="replace"),
                )
            )
            lines_[number] = f"{head}: {value}"
            if rng.random() < 0.2:
                lines_.insert(number, lines_[number])
            return "\n".join(lines_).encode(errors="surrogatepass")
    if kind == 4:
        depth = rng.choice(DEEP)
        deep = rng.choice(
            (
                "seed: " + "[" * depth + "]" * depth,
                "seed: " + "{a: " * depth + "1" + "}" * depth,
                "seed: " + "[" * depth,
                "".join(f"{' ' * level}a:\n" for level in range(min(depth, 900))),
                "- " * depth,
                "seed: " + "!!str " * depth,
                "seed: " + "&a " * 3 + "1",
                "#" * depth,
                "? " * min(depth, 3000),
            )
        )
        return (deep + "\n" + (text if rng.random() < 0.5 else "")).encode()
    bomb = rng.choice(BOMBS)
    if rng.random() < 0.5:  # in the place of the key that the file has, so that the rest is in order
        key = rng.choice(re.findall(r"(?m)^(\w+):", text) or ["seed"])
        bomb = bomb.replace("seed:", f"{key}:")
        text = re.sub(rf"(?m)^{key}:.*\n(?:[ #].*\n|\n)*", "", text)
    return (
        (bomb + text).encode(errors="surrogatepass")
        if rng.random() < 0.5
        else (text + bomb).encode(errors="surrogatepass")
    )


def _yaml_tree(data: bytes) -> Any:
    if b"*" in data:
        return None  # written out, what refers to itself or to much would have no end
    try:
        return YAML(typ="safe").load(data.decode())
    except (YAMLError, ValueError, RecursionError, AttributeError):
        return None


def _dumped(value: Any) -> bytes:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value, ensure_ascii=False, default=str).encode(errors="surrogatepass")
    finally:
        sys.set_int_max_str_digits(before)
