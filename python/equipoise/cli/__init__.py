"""The command line: `equipoise COMMAND`. See docs/cli.md.

======  ====================================================================================================
code    what it means
======  ====================================================================================================
0       done, and the outcome is good
1       done, and the outcome is not: orders were refused, nothing could be quoted, a check failed
2       the call or the configuration is wrong; nothing was done
3       the reservation store could not be reached, or did not answer in time
4       the venue refused, could not be reached, or did not answer in time
5       the reservation store contradicts itself: stop and audit
6       a file, a recording or standard output could not be read or written
70      a defect of Equipoise; --debug prints where
130     interrupted
141     the reader of the output has gone
======  ====================================================================================================
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Sequence

from equipoise.cli.parser import build_parser
from equipoise.cli.text import flush
from equipoise.errors import EquipoiseError, InputError, StoreCorrupt, StoreError, VenueError

__all__ = ["build_parser", "exit_code", "main"]

UNREADABLE, DEFECT, INTERRUPTED, NO_READER = 6, 70, 130, 141


def exit_code(error: BaseException) -> int:
    """The exit code that an exception comes to."""
    classes: tuple[tuple[type[BaseException], int], ...] = (
        (InputError, 2),
        (StoreCorrupt, 5),
        (StoreError, 3),
        (VenueError, 4),
        (BrokenPipeError, NO_READER),
        (EquipoiseError, UNREADABLE),
        (OSError, UNREADABLE),
        (KeyboardInterrupt, INTERRUPTED),
    )
    return next((code for kind, code in classes if isinstance(error, kind)), DEFECT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        Words after the program's name; those of the process where None.

    Returns
    -------
    int
        The exit code; the module says what each means.
    """
    parser = build_parser()
    options = parser.parse_args(argv)
    try:
        code = int(options.run(options))
        flush()
    except BrokenPipeError as error:
        # Python would complain again when it flushes the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = NO_READER
        if hasattr(error, "__notes__"):
            _complain(error, code, options)
    except (Exception, KeyboardInterrupt) as error:
        code = exit_code(error)
        _complain(error, code, options)
    return code


def _complain(error: BaseException, code: int, options: argparse.Namespace) -> None:
    """One line on standard error, with what is noted of the error; where it happened only on request."""
    if sys.stderr is None:
        return
    words = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        words = "interrupted"
    elif code == DEFECT:
        words = f"defect in Equipoise, {type(error).__name__}: {words} (--debug shows where)"
    words = "; ".join([words, *getattr(error, "__notes__", ())])
    line = f"equipoise: {words}"
    if getattr(options, "json", False):
        fault: dict[str, object] = {"error": type(error).__name__, "message": words, "exit_code": code}
        if isinstance(error, InputError):
            fault |= {"argument": error.argument, "requirement": error.requirement, "got": error.got}
        line = json.dumps(fault, ensure_ascii=False)
    # The exit code says what it says, whether or not the words can be written.
    with contextlib.suppress(OSError):
        if options.debug:
            traceback.print_exception(error)
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
