"""The one error type of the project."""

_MAX_LENGTH = 1500  # characters of a message; a longer one is cut in its middle


class DDLError(Exception):
    """A fault that the user can correct.

    The message is one line that names the file (or setting), what is wrong with it,
    what was expected and what to do. It is always one line of ``printable`` text of bounded
    length, even where it quotes names or contents of files.
    """

    def __init__(self, message: str):
        text = printable(message)
        if len(text) > _MAX_LENGTH:
            text = f"{text[: _MAX_LENGTH // 2]} ... {text[-_MAX_LENGTH // 2 :]}"
        super().__init__(text)


def printable(text: str) -> str:
    """Text whose line breaks, control characters and broken UTF-8 are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
