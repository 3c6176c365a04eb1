"""Make the pages of docs/reference from the code, while the site is built: parameters, commands, stages,
library.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mkdocs_gen_files
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def write(name: str, lines: list[str]) -> None:
    """Write one page."""
    with mkdocs_gen_files.open(f"reference/{name}.md", "w") as page:
        page.write("\n".join(lines) + "\n")


def parameters() -> list[str]:
    """Every section of params.yaml: what its model says, then its lines, whose comments say what is
    allowed.
    """
    from tasks.params.sections import Params

    text = (ROOT / "params.yaml").read_text()
    blocks = dict(re.findall(r"^(\w+):((?:[^\n]*\n)(?:(?:[ #][^\n]*)?\n)*)", text, re.MULTILINE))
    lines = [
        "# params.yaml",
        "",
        "A missing or unknown key is an error. `ssvh params check` checks the file.",
        "",
    ]
    for field, info in Params.model_fields.items():
        name = info.alias or field
        model = info.annotation
        said = (getattr(model, "__doc__", "") or "").strip() if hasattr(model, "model_fields") else ""
        lines += [f"## {name}", "", said, "", "| key | as it comes | |", "|---|---|---|"]
        lines += [*_rows(name, f"{name}:{blocks[name]}"), ""]
    return lines


def _rows(section: str, block: str) -> Iterator[str]:
    """A row of a table for every key of a section, with its value and its comment."""
    place: list[tuple[int, str]] = []
    for line in block.splitlines():
        if not (found := re.match(r'( *)("?[\w.*-]+"?):( +[^#]*?)?( *# (.*))?$', line)):
            continue
        indent, key, value, comment = len(found[1]), found[2], (found[3] or "").strip(), found[5] or ""
        place = [*(one for one in place if one[0] < indent), (indent, key)]
        if value or comment:
            names = [name for _, name in place[1:]] or [section]
            shown = f"`{value}`" if value else ""
            yield f"| `{'.'.join(names)}` | {_cell(shown)} | {_cell(comment)} |"


def _cell(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def commands() -> list[str]:
    """Every command of ssvh with its help."""
    import click
    import typer

    from flows.cli.app import app

    def all_commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
        if hasattr(command, "commands"):
            for name, one in command.commands.items():
                yield from all_commands(one, f"{path} {name}")
            if not getattr(command, "invoke_without_command", False):
                return
        yield path, command

    lines = ["# Commands", "", "`.venv/bin/ssvh` in the project's folder.", ""]
    for path, command in all_commands(typer.main.get_command(app), "ssvh"):
        lines += [f"## {path}", "", command.help or "", ""]
        rows = []
        for one in command.params:
            names = (
                ", ".join(f"`{name}`" for name in one.opts)
                if one.param_type_name == "option"
                else f"`{one.name}`"
            )
            said = _cell(" ".join((getattr(one, "help", "") or "").split()))
            rows.append(f"| {names} | {said} |")
        if rows:
            lines += ["| argument | |", "|---|---|", *rows, ""]
    return lines


def stages() -> list[str]:
    """Every stage of dvc.yaml: its command, what it depends on, what it makes."""
    content: dict[str, Any] = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    lines = [
        "# Stages",
        "",
        "What DVC knows of each (`dvc.yaml`). A stage of a round is there once for every round.",
        "",
    ]
    for name, stage in content.items():
        one = stage.get("do", stage)
        source = (ROOT / f"tasks/stages/{name}.py").read_text()
        said = source.split('"""')[1].partition(": ")[2]
        made = [*one.get("metrics", ()), *one.get("outs", ())]
        paths = [next(iter(path)) if isinstance(path, dict) else path for path in made]
        lines += [
            f"## {name}",
            "",
            f"{said[:1].upper()}{said[1:]}",
            "",
            f"- command: `{one['cmd']}`",
            f"- depends on: {', '.join(f'`{path}`' for path in one['deps'])}",
            f"- parameters: {', '.join(f'`{key}`' for key in one['params'])}",
            f"- makes: {', '.join(f'`{path}`' for path in paths)}",
            "",
        ]
    return lines


def library() -> list[str]:
    """Every module of ssvh_model."""
    lines = ["# Library", "", "`ssvh_model` needs torch, numpy and h5py, and none of the four tools.", ""]
    modules = sorted(path for path in (ROOT / "ssvh_model").rglob("*.py") if path.name != "__init__.py")
    room = ""
    for path in modules:
        parts = path.relative_to(ROOT).with_suffix("").parts
        here = parts[1] if len(parts) > 2 else "basics"
        if here != room:
            room = here
            lines += [f"## {room}", ""]
        lines += [f"::: {'.'.join(parts)}", ""]
    return lines


for name, make in (("params", parameters), ("commands", commands), ("stages", stages), ("library", library)):
    write(name, make())
