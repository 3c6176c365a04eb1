"""From a YAML file to a checked model, with errors that a person can act on: the key, what was found, what is
allowed.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo

from ssvh_model.errors import UserError
from ssvh_model.files import check_regular
from tasks import paths
from tasks.params.sections import KINDS, Params, keys_of
from tasks.params.yaml_limits import has_huge_number, problem_with_size

SomeModel = TypeVar("SomeModel", bound=BaseModel)

NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false", type(None): "null"}
NAMES_OF_SEVERAL = {int: "whole numbers", float: "numbers", str: "texts"}


def read_text(path: Path) -> str:
    """A text file, whole.

    Raises:
        UserError: missing, no regular file, or not UTF-8.
    """
    try:
        check_regular(path)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; it is in the project's folder, where `ssvh` must be started"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: can't be read ({error})") from None


def corpus_path() -> str:
    """`corpus.path` as params.yaml has it, before anything else of it is checked; "" without a section
    `corpus`.
    """
    corpus = read_yaml(paths.PARAMS).get("corpus")
    return str(corpus.get("path")) if isinstance(corpus, dict) else ""


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file's mapping.

    Raises:
        UserError: missing, not UTF-8, not YAML, a key twice, not a mapping, or larger than a person would
            write it.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    text = read_text(path)
    try:
        problem = problem_with_size(YAML(typ="safe").parse(text))
        if problem is not None:
            raise UserError(f"{path}: {problem}")
        content = YAML(typ="safe").load(text)
        if has_huge_number(content):
            raise UserError(f"{path}: has a number of more than 300 digits")
    except DuplicateKeyError as error:
        # "while constructing a mapping ... found duplicate key "epochs" with value "4" (original value: "3")"
        raise UserError(
            f"{path}{_line(error)}: {_one_line(error.problem)}; a key may stand in a section once"
        ) from None
    except MarkedYAMLError as error:
        raise UserError(f"{path}{_line(error)}: not YAML: {_one_line(error.problem)}") from None
    except UserError:
        raise
    # Values that are not of the type that their tag says end in many kinds of errors.
    except (YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise UserError(f"{path}: not YAML: {_one_line(error) or type(error).__name__}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is {_show(content)}; needed are sections of keys and values")
    return content


def validate(model: type[SomeModel], content: dict[str, Any], path: Path) -> SomeModel:
    """`content` as a `model`.

    Raises:
        UserError: about the first thing that is wrong.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        # An unknown key first: with it goes, most often, a missing one.
        found = sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden")[0]
        raise UserError(f"{path}: {_explain(model, found)}") from None


def _explain(model: type[BaseModel], error: Any) -> str:
    location = tuple(part for part in error["loc"] if part not in KINDS)
    kinds = [part for part in error["loc"] if part in KINDS]
    _, field = _find(model, location[:-1], kinds)
    if field is not None and get_origin(field.annotation) in UNIONS and not _section_in(field.annotation):
        location = location[:-1]  # behind the key stands which of its types did not fit
    key = ".".join(str(part) for part in location if part != "[key]")
    kind = error["type"]
    section, field = _find(model, location, kinds)
    if kind == "extra_forbidden":
        known = _keys(section)
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        return f"{key} is not known; " + (
            f"did you mean {near[0]}?" if near else f"allowed are {', '.join(known)}"
        )
    if location[-1] == "[key]":
        return f'{key} is a number as a key; allowed are texts in quotes, "{location[-2]}"'
    allowed = "" if field is None else _allowed(field)
    if kind == "missing":
        remedy = "; `ssvh upgrade` adds it" if model is Params and paths.LAID_OUT.is_file() else ""
        return f"{key} is missing; needed is {allowed or 'a section'}{remedy}"
    return f"{key} is {_show(error['input'])}; allowed is {allowed or 'a section of keys and values'}"


def _find(
    model: type[BaseModel], location: tuple[Any, ...], kinds: Sequence[str]
) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The model that holds the last key of `location`, and the field that the key names; None for what is not
    there.

    Where a value may be of several kinds, `kinds` says of which it is.
    """
    section: type[BaseModel] | None = model
    field: FieldInfo | None = None
    annotation: Any = model
    parts = [part for part in location if part != "[key]"]
    for position, part in enumerate(parts):
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
            field = keys_of(annotation).get(str(part))
            annotation = field.annotation if field else None
            if position < len(parts) - 1:
                annotation = _section_in(annotation, kinds) or annotation
        elif get_origin(annotation) is dict:
            annotation, field = get_args(annotation)[1], None
        elif position < len(parts):
            break
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = None
    return section, field


def _section_in(annotation: Any, kinds: Sequence[str] = ()) -> type[BaseModel] | None:
    """The section that a value may be beside something else, one of `kinds` if there are several."""
    if get_origin(annotation) not in UNIONS:
        return None
    sections: list[type[BaseModel]] = []
    for option in get_args(annotation):
        one, *tags = get_args(option) if get_origin(option) is Annotated else (option,)
        if isinstance(one, type) and issubclass(one, BaseModel):
            named = any(isinstance(tag, Tag) and tag.tag in kinds for tag in tags)
            sections.insert(0 if named else len(sections), one)
    return sections[0] if sections else None


def _keys(section: type[BaseModel] | None) -> list[str]:
    return [] if section is None else list(keys_of(section))


def _allowed(field: FieldInfo) -> str:
    annotation = field.annotation
    options = list(get_args(annotation)) if get_origin(annotation) in UNIONS else [annotation]
    told = [_allowed_type(option, _limits(field.metadata)) for option in options]
    return " or ".join([", ".join(told[:-1]), told[-1]] if len(told) > 1 else told)


def _limits(metadata: Sequence[Any]) -> dict[str, Any]:
    found = {name: getattr(limit, name) for limit in metadata for name in LIMITS if hasattr(limit, name)}
    for inner in metadata:
        if isinstance(inner, FieldInfo):
            found |= _limits(inner.metadata)
    return found


UNIONS = (Union, types.UnionType)
LIMITS = ("ge", "gt", "le", "lt", "multiple_of", "min_length")


def _allowed_type(annotation: Any, limits: dict[str, Any]) -> str:
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        return _allowed_type(inner, _limits(metadata))
    if get_origin(annotation) is Literal:
        return " | ".join(str(value) for value in get_args(annotation))
    if get_origin(annotation) is tuple and Ellipsis not in (items := get_args(annotation)):
        inner, *metadata = get_args(items[0]) if get_origin(items[0]) is Annotated else (items[0],)
        each = _allowed_type(inner, _limits(metadata)).removeprefix(NAMES[inner])
        return f"a list of {len(items)} {NAMES_OF_SEVERAL[inner]}{each}"
    if get_origin(annotation) is tuple:
        item = get_args(annotation)[0]
        of = (
            f"of {_allowed_type(item, {})}" if get_origin(item) is Literal else f"of {NAMES_OF_SEVERAL[item]}"
        )
        return f"a list {of}" + (", not empty" if limits.get("min_length") else "")
    if get_origin(annotation) is dict:
        return "a section of keys and values"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"a section of {' and '.join(_keys(annotation))}"
    text = NAMES.get(annotation, str(annotation))
    if annotation is str and limits.get("min_length"):
        return f"{text}, not empty"
    bounds = []
    if "ge" in limits:
        bounds.append(f"from {limits['ge']}")
    if "gt" in limits:
        bounds.append(f"above {limits['gt']}")
    if "le" in limits:
        bounds.append(f"up to {limits['le']}")
    if "lt" in limits:
        bounds.append(f"below {limits['lt']}")
    text = " ".join([text, " and ".join(bounds).replace(" and up to", " up to")]).strip()
    return text + (f", a multiple of {limits['multiple_of']}" if "multiple_of" in limits else "")


def _show(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict):
        return "a section"
    shown = _one_line(repr(value))
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _line(error: Any) -> str:
    mark = error.problem_mark or error.context_mark
    return f", line {mark.line + 1}" if mark is not None else ""


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
