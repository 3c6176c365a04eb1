"""YAML that is changed by program and stays what a person wrote."""

from __future__ import annotations

from typing import Any


def commented_yaml() -> Any:
    """A ruamel.yaml.YAML that leaves comments, quotes and the lengths of lines alone."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    yaml.representer.add_representer(
        type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml
