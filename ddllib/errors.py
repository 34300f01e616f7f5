"""The one error type of the project."""


class DDLError(Exception):
    """A fault that the user can mend.

    The message is one line that names the file (or setting), what is wrong with it,
    what was expected and what to do.
    """
