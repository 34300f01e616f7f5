"""How every command of the project ends: one line where something stops it, and a status."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable

from ddllib.errors import DDLError, printable

INTERRUPTED, TERMINATED = 130, 143


def run_command(name: str, work: Callable[[], int | None]) -> int:
    """Do ``work`` and return the exit status.

    0 or what ``work`` returns; 1 with one line on stderr for what a user can mend; 130 after
    Ctrl-C and 143 after SIGTERM, which ends ``work`` as Ctrl-C does, everything closed and saved.
    Each line that is printed meanwhile leaves at once, into a file or a pipe, too.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    earlier = signal.signal(signal.SIGTERM, _terminate)
    try:
        return work() or 0
    except (DDLError, OSError) as error:  # OSError: a full disk, a folder without write access
        print(f"{name}: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _stopped(name, INTERRUPTED)
    except SystemExit as error:
        if error.code != TERMINATED:
            raise
        return _stopped(name, TERMINATED)
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _terminate(*_) -> None:
    raise SystemExit(TERMINATED)


def _stopped(name: str, status: int) -> int:
    print(f"{name}: stopped; what was finished is kept, run again to go on", file=sys.stderr)
    return status
