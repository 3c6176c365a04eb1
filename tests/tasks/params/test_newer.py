"""A params.yaml of another version gets the keys of this one, and stays a person's file."""

from __future__ import annotations

import re

import pytest
from ruamel.yaml import YAML

from ssvh_model.errors import UserError
from tasks.params.load import check_params
from tasks.params.newer import with_known_keys
from tasks.params.sections import Params
from tests.conftest import REPOSITORY

TEMPLATE = (REPOSITORY / "params.yaml").read_text()


def load(text: str) -> dict:
    return YAML(typ="safe").load(text)


def keys() -> list[str]:
    """Every key of every section, dotted."""
    found = []
    for name, section in Params.model_fields.items():
        found.append(section.alias or name)
        for inner, field in getattr(section.annotation, "model_fields", {}).items():
            found.append(f"{section.alias or name}.{field.alias or inner}")
    return found


def without(text: str, name: str) -> str:
    """The file without a key: a reference that leaves out lines by the key's place alone."""
    content = YAML().load(text)
    for part in name.split(".")[:-1]:
        content = content[part]
    line, indent = content.lc.key(name.rpartition(".")[2])
    lines = text.splitlines()
    end = line + 1
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" " * (indent + 1))):
        end += 1
    while not lines[end - 1].strip():
        end -= 1
    return "\n".join(lines[:line] + lines[end:]) + "\n"


def test_a_file_that_lacks_nothing_stays_as_it_is() -> None:
    newer = with_known_keys(TEMPLATE, TEMPLATE)
    assert newer.text == TEMPLATE and not newer.added and not newer.removed


@pytest.mark.parametrize("name", ["warmup.epochs", *keys()[::9]])
def test_any_missing_key_comes_back_with_its_value(name: str) -> None:
    newer = with_known_keys(without(TEMPLATE, name), TEMPLATE)
    # Without its only key, a section is nothing.
    only = name.partition(".")[0] if name == "warmup.epochs" else name
    assert list(newer.added) == [only] and not newer.removed
    assert load(newer.text) == load(TEMPLATE)
    check_params(load(newer.text), REPOSITORY / "params.yaml")


def test_what_a_person_wrote_stays() -> None:
    mine = TEMPLATE.replace("  step_factor: 0.9\n", "  # Faster did not fall.\n  step_factor: 0.8\n")
    mine = without(without(mine, "training.precision"), "selection")
    newer = with_known_keys(mine, TEMPLATE)
    assert newer.added == {"training.precision": "float32", "selection": "auto"}
    line = "  precision: float32         # of matrix products"
    left = [one for one in newer.text.splitlines() if not one.startswith((line, "selection:"))]
    assert [one for one in left if one] == [one for one in mine.splitlines() if one]
    assert line in newer.text and "selection: auto    " in newer.text


def test_several_keys_of_a_section_and_whole_sections() -> None:
    names = ["model.bits", "model.frames", "losses", "watch", "seed", "tuning"]
    mine = TEMPLATE
    for name in (one for one in names if one in keys()):
        mine = without(mine, name)
    newer = with_known_keys(mine, TEMPLATE)
    assert load(newer.text) == load(TEMPLATE)
    assert set(newer.added) == {name for name in names if name in keys()}


def test_keys_that_are_known_no_more_are_taken_out_and_told() -> None:
    mine = TEMPLATE.replace("\nwarmup: ", "\nformer:\n  a: 1\n\n  # of b\n  b: [1, 2]\n\nwarmup: ").replace(
        "  step_factor: 0.9\n", "  momentum: 0.9   # once\n  step_factor: 0.9\n"
    )
    newer = with_known_keys(mine, TEMPLATE)
    assert newer.removed == {"former": {"a": 1, "b": [1, 2]}, "training.momentum": 0.9}
    assert newer.text == TEMPLATE and not newer.added


def test_keys_that_a_person_chooses_are_no_strangers() -> None:
    mine = re.sub(r'(?m)^  "2": \{.*\}\n', "", TEMPLATE)
    newer = with_known_keys(mine, TEMPLATE)
    assert newer.text == mine and not newer.added


def test_a_section_on_one_line_is_left_to_a_person() -> None:
    mine = re.sub(r"(?m)^warmup:.*\n  epochs:.*$", "warmup: {epochs: 3, former: 1}", TEMPLATE)
    assert mine != TEMPLATE
    with pytest.raises(UserError, match=r"^params.yaml: warmup is on one line; put former in or take it out"):
        with_known_keys(mine, TEMPLATE)
