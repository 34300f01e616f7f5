"""Options and exit status of every command of the project."""

from __future__ import annotations

import argparse
import io
import math
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from ddllib.errors import DDLError, printable

INTERRUPTED, TERMINATED = 130, 143
LONGEST_S = 1e9  # the system's timers do not take larger values


class Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line and exits with status 2.

    Its help keeps the lines of the description, which may hold examples.
    """

    def __init__(self, *args, **options):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}; see --help\n")


def number(what: str, least: float = 0.0, most: float = sys.float_info.max) -> Callable:
    """A type for ``add_argument``: a finite number from ``least`` to ``most``, above 0.

    ``what`` names the quantity in the message, such as "seconds".
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (least <= value <= most and value > 0):  # false for NaN, too
            limit = f"from {least:g} up" if least else "above 0"
            limit += f", at most {most:g}" * (most < sys.float_info.max)
            raise argparse.ArgumentTypeError(f"{text!r}; expected {what}, a finite number {limit}")
        return value

    return read


def whole(what: str, least: int = 1) -> Callable:
    """A type for argparse: a whole number from ``least`` up."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value < 1 << 32:
            raise argparse.ArgumentTypeError(
                f"{text!r}; expected {what}, a whole number from {least} up"
            )
        return value

    return read


seconds = number("seconds", most=LONGEST_S)
minutes = number("minutes", most=LONGEST_S / 60)
frames_per_second = number("frames per second")
alarms_per_hour = number("false alarms an hour", least=1e-3)


def run_command(name: str, work: Callable[[], int | None]) -> int:
    """Do ``work`` and return the exit status.

    0 or what ``work`` returns; 1 with a line on stderr for errors a user can correct; 130 after
    Ctrl-C and 143 after SIGTERM, which ends ``work`` as Ctrl-C does, everything closed and saved.
    Standard output is line-buffered, also into a file or a pipe.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    previous_handler = signal.signal(signal.SIGTERM, _terminate)
    try:
        return work() or 0
    except (DDLError, OSError) as error:  # OSError: a full disk, a folder without write access
        print(f"{name}: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _report_stop(name, INTERRUPTED)
    except SystemExit as error:
        if error.code != TERMINATED:
            raise
        return _report_stop(name, TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


def _terminate(*_) -> None:
    raise SystemExit(TERMINATED)


def _report_stop(name: str, status: int) -> int:
    print(f"{name}: stopped; what was finished is kept, run again to go on", file=sys.stderr)
    return status
