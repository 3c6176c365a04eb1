"""params.yaml of another version of the package, with the keys of the one that is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ssvh_model.errors import UserError
from tasks import paths
from tasks.params.commented_yaml import commented_yaml
from tasks.params.sections import Params, keys_of


@dataclass(frozen=True)
class Newer:
    """What became of a params.yaml.

    Attributes:
        text: the file. Lines that were right, comments among them, are as they were.
        added: dotted keys that were missing, with the package's values.
        removed: dotted keys that are known no more, with the values that they had.
    """

    text: str
    added: dict[str, Any]
    removed: dict[str, Any]


def with_known_keys(text: str, template: str) -> Newer:
    """Add the keys that a params.yaml lacks, with their comments, and take out those that are not known.

    Args:
        text: of the file. Its values are not judged.
        template: the package's own file.

    Raises:
        UserError: a section that is to be changed is on one line.
    """
    lines = text.splitlines()
    added, removed = {}, {}
    while (found := next(_unknown(Params, _load(lines), ""), None)) is not None:
        name, section, key = found
        removed[name] = section[key]
        first, end = _lines_of(lines, section, name)
        del lines[first : end + (lines[first - 1 : first] == lines[end : end + 1] == [""])]
    package, package_lines = _load(template.splitlines()), template.splitlines()
    while (lack := next(_missing(Params, _load(lines), package, ""), None)) is not None:
        name, section, theirs, key = lack
        added[name] = theirs[key]
        if key in section:
            first, end = _lines_of(lines, section, name)
            del lines[first:end]
            continue
        first, end = _lines_of(package_lines, theirs, name)
        first = _with_comment(package_lines, first)
        block = package_lines[first:end]
        following = list(theirs)[list(theirs).index(key) + 1 :]
        after = next((one for one in following if one in section), None)
        if after is not None:
            place = _with_comment(lines, _lines_of(lines, section, name, after)[0])
            block = [*block, ""] if "." not in name else block
        else:
            place = max(_lines_of(lines, section, name, one)[1] for one in section)
            block = ["", *block] if "." not in name else block
        lines[place:place] = block
    return Newer("\n".join(lines) + "\n", added, removed)


def _load(lines: list[str]) -> Any:
    return commented_yaml().load("\n".join(lines))


def _sections(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel] | None]]:
    """The keys of a section, each with its model if it is a section of known keys itself."""
    for key, field in keys_of(model).items():
        inner: Any = field.annotation
        is_section = isinstance(inner, type) and issubclass(inner, BaseModel)
        yield key, inner if is_section else None


def _unknown(model: type[BaseModel], content: Any, prefix: str) -> Iterator[tuple[str, Any, str]]:
    """Keys that are not known: dotted, the section, and the key in it."""
    known = dict(_sections(model))
    for key, value in content.items():
        if key not in known:
            yield f"{prefix}{key}", content, key
        elif (inner := known[key]) is not None and isinstance(value, dict):
            yield from _unknown(inner, value, f"{prefix}{key}.")


def _missing(
    model: type[BaseModel], content: Any, package: Any, prefix: str
) -> Iterator[tuple[str, Any, Any, str]]:
    """Keys that are missing: dotted, the section, the same section of the package, and the key in it."""
    for key, inner in _sections(model):
        # A section without any key is nothing.
        if key not in content or (inner is not None and content[key] is None):
            yield f"{prefix}{key}", content, package, key
        elif inner is not None and isinstance(content[key], dict):
            yield from _missing(inner, content[key], package[key], f"{prefix}{key}.")


def _lines_of(lines: list[str], section: Any, name: str, key: str | None = None) -> tuple[int, int]:
    """First and end of the lines of a key: `key` of the section, or the last part of the dotted `name`."""
    if section.fa.flow_style():
        parent, _, last = name.rpartition(".")
        raise UserError(f"{paths.PARAMS}: {parent} is on one line; put {last} in or take it out by hand")
    first, indent = section.lc.key(key or name.rpartition(".")[2])
    end = first + 1
    for number in range(first + 1, len(lines)):
        text = lines[number].lstrip()
        depth = len(lines[number]) - len(text)
        if text and depth <= indent and not (depth == indent and text.startswith("- ")):
            break
        if text:
            end = number + 1
    return first, end


def _with_comment(lines: list[str], first: int) -> int:
    """Where the lines of a key begin with the comment that stands above it."""
    indent = len(lines[first]) - len(lines[first].lstrip())
    while first and lines[first - 1].startswith(" " * indent + "#"):
        first -= 1
    return first
