"""Presets: named sets of values for params.yaml, one file each in `presets/`."""

from __future__ import annotations

import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssvh_model.errors import UserError
from ssvh_model.files import atomic_path
from tasks import paths
from tasks.params.commented_yaml import commented_yaml
from tasks.params.load import check_params
from tasks.params.reading import read_text, read_yaml
from tasks.params.sections import Params

# Its keys are chosen by whoever writes it; a preset's replace all that are there.
REPLACED_AS_A_WHOLE = ("rounds",)


@dataclass(frozen=True)
class Preset:
    """A file of presets.

    Attributes:
        name: of the preset.
        path: of its file.
        text: the file as it is, comments and all.
    """

    name: str
    path: Path
    text: str

    @property
    def description(self) -> str:
        """The first line of the file's comment."""
        return self.text.partition("\n")[0].lstrip("# ").strip()


def all_presets() -> list[Preset]:
    """Every preset that there is, by name.

    Raises:
        UserError: one can't be read.
    """
    return [Preset(path.stem, path, read_text(path)) for path in sorted(paths.PRESETS.glob("*.yaml"))]


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: there is none.
    """
    presets = {preset.name: preset for preset in all_presets()}
    if name not in presets:
        raise UserError(
            f"{paths.PRESETS}: no preset is called {name!r}; there are {', '.join(presets) or 'none'}"
        )
    return presets[name]


def apply_presets(names: Sequence[str], *, changes: dict[str, Any]) -> list[str]:
    """Write presets into params.yaml, one after the other, and keep its comments.

    Args:
        names: of the presets; where two name one key, the later one counts.
        changes: values of dotted keys that count more than the presets.

    Returns:
        One line a key that has another value now.

    Raises:
        UserError: a preset is not there, is no YAML or has an unknown key, or params.yaml would not be in
            order; then nothing was written.
    """
    from ruamel.yaml import YAML

    before = read_yaml(paths.PARAMS)
    content = commented_yaml().load(paths.PARAMS.read_text(encoding="utf-8"))
    _merge(content, names, changes)

    stream = io.StringIO()
    commented_yaml().dump(content, stream)
    text = stream.getvalue()
    after = YAML(typ="safe").load(text)
    check_params(after, _where(names))
    with atomic_path(paths.PARAMS) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return _differences(before, after, prefix="")


def params_with_presets(names: Sequence[str], *, changes: dict[str, Any]) -> Params:
    """What params.yaml would say with these presets and changes; the file stays as it is. Arguments and
    errors as `apply_presets`.
    """
    content = read_yaml(paths.PARAMS)
    _merge(content, names, changes)
    return check_params(content, _where(names))


def _where(names: Sequence[str]) -> Path:
    return Path(f"{paths.PARAMS} with preset {' and '.join(names)}" if names else paths.PARAMS)


def _merge(content: Any, names: Sequence[str], changes: dict[str, Any]) -> None:
    """Put presets, then changes, into the content of params.yaml."""
    for preset in [find_preset(name) for name in names]:
        read_yaml(preset.path)
        _put(content, commented_yaml().load(preset.text), preset.path, prefix="")
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = content
        for section in sections:
            place = place[section]
        _put(
            place,
            {last: _laid_out(value)},
            paths.PARAMS,
            prefix="".join(f"{section}." for section in sections),
        )


def _put(place: Any, values: Any, path: Path, *, prefix: str) -> None:
    """Set every value of a preset in `place`, section by section."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if key not in place:
            near = difflib.get_close_matches(str(key), [str(known) for known in place], n=1)
            hint = f"did you mean {near[0]}?" if near else f"allowed are {', '.join(map(str, place))}"
            raise UserError(f"{path}: {name} is not known; {hint}")
        # An empty mapping is put in as it is, because ruamel can't write one whose comments are left over.
        both = bool(value) and isinstance(value, dict) and isinstance(place[key], dict)
        if both and name in REPLACED_AS_A_WHOLE:
            place[key].clear()  # the mapping itself stays: comments hang on it
            place[key].update(value)
        elif both:
            _put(place[key], value, path, prefix=f"{name}.")
        else:
            place[key] = value


def _laid_out(value: Any) -> Any:
    """A value as it is written into params.yaml: what is in a section, such as a round, on a line of its
    own.
    """
    from ruamel.yaml.comments import CommentedMap, CommentedSeq
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    if isinstance(value, list | tuple):
        listed = CommentedSeq(value)
        listed.fa.set_flow_style()
        return listed
    if not isinstance(value, dict):
        return value
    if not all(isinstance(entry, dict) for entry in value.values()):
        line = CommentedMap(value)
        line.fa.set_flow_style()
        return line
    return CommentedMap((DoubleQuotedScalarString(key), _laid_out(entry)) for key, entry in value.items())


def _differences(before: Any, after: Any, *, prefix: str) -> list[str]:
    """`key: old -> new` for every value that is not the same."""
    lines = []
    for key, value in after.items():
        name, old = f"{prefix}{key}", before.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and name not in REPLACED_AS_A_WHOLE:
            lines += _differences(old, value, prefix=f"{name}.")
        elif value != old and name in REPLACED_AS_A_WHOLE:
            # What stood there may be no rounds at all.
            lines.append(f"{name}: {len(old) if isinstance(old, dict) else old} -> {len(value)} rounds")
        elif value != old:
            lines.append(f"{name}: {old} -> {value}")
    return lines
