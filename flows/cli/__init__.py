"""The command line, `ssvh`: signatures and help texts, a file for each group of commands."""

from flows.cli.app import main

__all__ = ["main"]
