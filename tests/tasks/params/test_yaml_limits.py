from __future__ import annotations

from pathlib import Path

import pytest

from ssvh_model.errors import UserError
from tasks.params.reading import read_yaml

LAUGHS = "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9) if level else 'lol'}]\n" for level in range(9)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (LAUGHS, "it stands for more than 100000 values"),
        ("a: " + "[" * 30_000 + "]" * 30_000, "within each other more than 50 times"),
        ("".join(f"{' ' * level}a:\n" for level in range(900)), "within each other more than 50 times"),
        ("a: &a [1, *a]", "*a refers to what is not there before it"),
        (f"a: [{{b: 0x{'f' * 5000}}}]", "a number of more than 300 digits"),
        ("a: !!int x", "not YAML"),
        ("a: !!bool x", "not YAML"),
        ("a: !!int ''", "not YAML"),
    ],
)
def test_what_would_take_all_memory_or_the_stack_is_refused_in_a_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        read_yaml(path)
    assert problem in str(refused.value) and str(path) in str(refused.value)


def test_what_people_write_with_references_is_read(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("a: &a {b: 1, c: [2, 3]}\nd: *a\ne: {<<: *a, b: 4}\nf: &f x\ng: *f\n")
    both = {"b": 1, "c": [2, 3]}
    assert read_yaml(path) == {"a": both, "d": both, "e": {"b": 4, "c": [2, 3]}, "f": "x", "g": "x"}
