"""The one exception that means: the input is at fault, not the program."""

from __future__ import annotations

from ssvh_model.texts import printable

LONGEST = 1000  # characters of a message


class UserError(ValueError):
    """Something a person can mend: a file, a key, a value.

    The message is one line. It names the file or key, says what was found and what is allowed.
    The command line prints it without a traceback and exits with 2.

    What was found may be anything, such as a cell of a damaged table. It is shown without line ends and what
    a terminal would obey, and the middle of a message of more than `LONGEST` characters is left out.
    """

    def __init__(self, message: str) -> None:
        line = printable(" ".join(message.splitlines()))
        half = LONGEST // 2
        super().__init__(line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}")
