"""The one exception that means: the input is at fault, not the program."""


class UserError(ValueError):
    """Something a person can mend: a file, a key, a value.

    The message is one line. It names the file or key, says what was found and what is allowed.
    The command line prints it without a traceback and exits with 2.
    """
