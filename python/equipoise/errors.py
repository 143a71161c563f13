"""Exceptions of equipoise.

Expected outcomes (infeasible, refused, duplicate) are values. Exceptions are for misuse and for the outside world::

    EquipoiseError
    ├── InputError (ValueError)       an argument is malformed; nothing happened
    ├── TapeError                     a recorded market tape is damaged or is not what its reader reads
    ├── StoreError                    the reservation store
    │   ├── StoreUnavailable          nothing happened; try again
    │   ├── StoreTimeout              unknown whether it happened; ask again with the same id, or abandon
    │   └── StoreCorrupt              stop: what the store holds cannot be trusted
    └── VenueError                    the exchange
        ├── VenueRejected             the venue said no
        ├── VenueUnavailable          nothing was sent; try again
        └── VenueTimeout              unknown whether it was sent; query by client order id

A time-out means *unknown*. It is not a failure and must not be handled as one.
"""

from __future__ import annotations

__all__ = [
    "EquipoiseError",
    "InputError",
    "StoreCorrupt",
    "StoreError",
    "StoreTimeout",
    "StoreUnavailable",
    "TapeError",
    "VenueError",
    "VenueRejected",
    "VenueTimeout",
    "VenueUnavailable",
]


SHOWN_MAX = 300
"""Characters of an offending value that its error repeats."""


class EquipoiseError(Exception):
    """Root of every exception this package raises on purpose."""


def _shown(got: object) -> str:
    """A value as text of a length that an error message can take."""
    try:
        text = str(got)
    except ValueError:  # an integer of more digits than Python turns into text
        return f"{type(got).__name__} beyond what can be shown"
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text)} characters)"


class InputError(EquipoiseError, ValueError):
    """An argument is malformed.

    Parameters
    ----------
    argument
        Name of the argument as the caller wrote it.
    index
        Position in the argument when it is a sequence, else None.
    requirement
        What the argument must be, as a phrase.
    got
        The offending value as text.
    """

    def __init__(self, argument: str, index: int | None, requirement: str, got: object) -> None:
        self.argument = argument
        self.index = index
        self.requirement = requirement
        self.got = _shown(got)
        place = argument if index is None else f"{argument}[{index}]"
        super().__init__(f"{place} must be {requirement}, got {self.got}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, int | None, str, str]]:
        return (type(self), (self.argument, self.index, self.requirement, self.got))


class TapeError(EquipoiseError):
    """A recorded tape cannot be read further: damaged, cut off, or not in the format it was taken for.

    Parameters
    ----------
    path
        The file.
    problem
        What is wrong with it, as the rest of a sentence that begins with the path.
    """

    def __init__(self, path: object, problem: str) -> None:
        self.path = str(path)
        self.problem = problem
        super().__init__(f"{path} {problem}")

    def __reduce__(self) -> tuple[type[TapeError], tuple[str, str]]:
        return (type(self), (self.path, self.problem))


class StoreError(EquipoiseError):
    """The reservation store failed."""

    transient = False


class StoreUnavailable(StoreError):
    """The store could not be reached or refused the step; nothing happened."""

    transient = True


class StoreTimeout(StoreError):
    """No answer in time: the step may or may not have happened. Ask again with the same id, or abandon it."""

    transient = True


class StoreCorrupt(StoreError):
    """The store's content contradicts itself. Stop and audit."""


class VenueError(EquipoiseError):
    """The exchange failed or refused."""

    transient = False


class VenueRejected(VenueError):
    """The venue refused the request as a whole."""


class VenueUnavailable(VenueError):
    """The venue could not be reached; nothing was sent."""

    transient = True


class VenueTimeout(VenueError):
    """No answer in time: the order may be live. Query by client order id, never resend."""

    transient = True
