"""The one error type of the project."""

_LONGEST = 1500  # letters of a message; longer ones lose their middle


class DDLError(Exception):
    """A fault that the user can mend.

    The message is one line that names the file (or setting), what is wrong with it,
    what was expected and what to do. Whatever names and contents of files bring into it, it
    stays one line of ``printable`` text of bounded length.
    """

    def __init__(self, message: str):
        text = printable(message)
        if len(text) > _LONGEST:
            text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
        super().__init__(text)


def printable(text: str) -> str:
    """Text whose line breaks, control characters and broken UTF-8 are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
