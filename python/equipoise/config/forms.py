"""A frozen dataclass of sections as TOML, as environment variables and as a JSON schema.

One definition of every default: the dataclass itself. Its numpydoc `Parameters` become the comments of the file and the
descriptions of the schema.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import math
import re
import textwrap
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from equipoise.errors import InputError
from equipoise.redaction import HIDDEN, has_literal_secret, is_secret_name

__all__ = ["ConfigError", "Entry", "Given", "build", "entries", "environment", "parse", "schema", "settings", "to_toml"]

Section = TypeVar("Section")

PREFIX = "EQUIPOISE__"
WIDTH = 96
_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ConfigError(InputError):
    """The configuration is wrong; `argument` is `section.key`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the configuration: where it is, what it takes, its default and its words."""

    path: str
    kind: type
    optional: bool
    default: Any
    words: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave, and where: "" for the file, else the name of the variable or option."""

    value: Any
    origin: str = ""


# -- what there is -------------------------------------------------------------------------------------------------


def _kind(annotation: Any) -> tuple[type, bool]:
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) == 1:
            return members[0], True
    if isinstance(annotation, type):
        return annotation, False
    raise TypeError(f"a configuration key cannot be of type {annotation!r}")


def _fields(default: Any) -> Iterator[tuple[str, type, bool, Any]]:
    hints = typing.get_type_hints(type(default))
    for field in dataclasses.fields(default):
        if field.init:
            yield field.name, *_kind(hints[field.name]), getattr(default, field.name)


def words(section: type) -> dict[str, str]:
    """What the numpydoc `Parameters` of a class say about each of its fields."""
    text = inspect.cleandoc(section.__doc__ or "")
    found = re.search(r"^Parameters\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", text, re.MULTILINE | re.DOTALL)
    result: dict[str, str] = {}
    names: list[str] = []
    for line in (found[1] if found else "").splitlines():
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.split(":")[0].split(",")]
            result.update(dict.fromkeys(names, ""))
        else:
            for name in names:
                result[name] = f"{result[name]} {line.strip()}".strip()
    return {name: text.replace("`", "") for name, text in result.items()}


def entries(default: Any, excluded: frozenset[str] = frozenset(), prefix: str = "") -> list[Entry]:
    """Every key below a default instance, in the order of its fields; nested sections after the keys beside them."""
    found: list[Entry] = []
    nested: list[Entry] = []
    said = words(type(default))
    for name, kind, optional, value in _fields(default):
        path = f"{prefix}{name}"
        if path in excluded:
            continue
        if dataclasses.is_dataclass(kind):
            nested += entries(value, excluded, f"{path}.")
        else:
            found.append(Entry(path, kind, optional, value, said.get(name, "")))
    return found + nested


# -- reading -------------------------------------------------------------------------------------------------------


def parse(text: str, source: str) -> dict[str, Given]:
    """The keys of a TOML document as `section.key`; decimals stay exact.

    Raises
    ------
    ConfigError
        The text is not TOML; says where.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, None, "valid TOML", str(error)) from error
    return dict(_flat(document, ""))


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Given]]:
    for name, value in table.items():
        if isinstance(value, dict):
            if not value:
                yield f"{prefix}{name}", Given({})
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", Given(value)


def environment(environ: Mapping[str, str]) -> dict[str, Given]:
    """Overrides from variables named EQUIPOISE__SECTION__KEY."""
    return {
        name.removeprefix(PREFIX).replace("__", ".").lower(): Given(value, name)
        for name, value in environ.items()
        if name.startswith(PREFIX)
    }


def build(
    default: Section, given: Mapping[str, Given], environ: Mapping[str, str], excluded: frozenset[str] = frozenset()
) -> Section:
    """The default with what was given in its place.

    Raises
    ------
    ConfigError
        A key is unknown (the nearest known one is named), a value is of the wrong kind or out of range, a variable is
        not set, or a secret is written out.
    """
    known = {entry.path: entry for entry in entries(default, excluded)}
    values: dict[str, Any] = {}
    for path, item in given.items():
        _refuse_secret(path, item)
        if path not in known:
            if isinstance(item.value, dict) and not item.value and any(name.startswith(f"{path}.") for name in known):
                continue
            raise ConfigError(path, None, _known_words(path, known), _got(path, item, "an unknown key"))
        values[path] = _value(known[path], item, environ)
    return typing.cast("Section", _instance(default, values, ""))


def _instance(default: Any, values: Mapping[str, Any], prefix: str) -> Any:
    changes: dict[str, Any] = {}
    for name, kind, _, value in _fields(default):
        path = f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            changes[name] = _instance(value, values, f"{path}.")
        elif path in values:
            changes[name] = values[path]
    try:
        return dataclasses.replace(default, **changes)
    except ConfigError:
        raise
    except InputError as error:
        raise ConfigError(f"{prefix}{error.argument}", error.index, error.requirement, error.got) from error


def _refuse_secret(path: str, item: Given) -> None:
    name = path.rpartition(".")[2]
    if item.origin or not (isinstance(item.value, str) or is_secret_name(name)):
        return
    if has_literal_secret(name, str(item.value)):
        raise ConfigError(path, None, "a reference such as ${NAME} to the environment, not the secret itself", HIDDEN)


def _known_words(path: str, known: Mapping[str, Entry]) -> str:
    section, _, name = path.rpartition(".")
    near = [other for other, entry in known.items() if entry.name == name]
    near = near or difflib.get_close_matches(path, known, n=1, cutoff=0.75)
    inside = [other for other in known if other.rpartition(".")[0] == section]
    near = near or difflib.get_close_matches(path, inside or known, n=1, cutoff=0.5)
    return f"a known key (nearest: {near[0]})" if near else "a known key"


def _got(path: str, item: Given, shown: object) -> str:
    text = HIDDEN if is_secret_name(path.rpartition(".")[2]) else str(shown)
    return f"{text} (from {item.origin})" if item.origin else text


def _expanded(entry: Entry, item: Given, environ: Mapping[str, str]) -> tuple[Any, bool]:
    """The value with ${NAME} replaced, and whether it is text that still has to be read as its kind."""
    if not isinstance(item.value, str):
        return item.value, False
    if item.origin:
        return item.value, True
    missing: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        if not _VARIABLE.fullmatch(match[1]) or match[1] not in environ:
            missing.append(match[1])
            return ""
        return environ[match[1]]

    text = _REFERENCE.sub(replacement, item.value)
    if missing:
        raise ConfigError(
            entry.path,
            None,
            f"a reference to a variable that is set, {missing[0]} is not",
            _got(entry.path, item, item.value),
        )
    return text, text != item.value


def _value(entry: Entry, item: Given, environ: Mapping[str, str]) -> Any:
    value, is_text = _expanded(entry, item, environ)
    if is_text and entry.optional and value == "":
        return None
    try:
        return _converted(entry.kind, value, is_text)
    except (ValueError, InvalidOperation):
        raise ConfigError(entry.path, None, _requirement(entry), _got(entry.path, item, repr(item.value))) from None


def _converted(kind: type, value: Any, is_text: bool) -> Any:
    if issubclass(kind, StrEnum):
        return kind(value)
    if kind is str:
        return _checked(value, isinstance(value, str))
    if kind is bool:
        if is_text:
            return (
                {"true": True, "false": False}[value.lower()]
                if value.lower() in {"true", "false"}
                else _checked(0, False)
            )
        return _checked(value, isinstance(value, bool))
    if kind is int:
        return int(value) if is_text else _checked(value, isinstance(value, int) and not isinstance(value, bool))
    if kind in {float, Decimal}:
        exact = isinstance(value, str) and (is_text or kind is Decimal)
        _checked(value, exact or (isinstance(value, int | Decimal) and not isinstance(value, bool)))
        number = Decimal(value)
        _checked(value, number.is_finite() and math.isfinite(float(number)))
        return float(number) if kind is float else number
    raise TypeError(f"a configuration key cannot be of type {kind!r}")


def _checked(value: Any, holds: bool) -> Any:
    if not holds:
        raise ValueError(value)
    return value


def _requirement(entry: Entry) -> str:
    if issubclass(entry.kind, StrEnum):
        return "one of " + ", ".join(f'"{member}"' for member in entry.kind)
    return {bool: "true or false", int: "a whole number", str: "text"}.get(entry.kind, "a finite number")


# -- writing -------------------------------------------------------------------------------------------------------


def settings(config: Any, excluded: frozenset[str] = frozenset()) -> dict[str, dict[str, Any]]:
    """Section → key → value; a nested section is named `section.part`. Secrets are not hidden here."""
    result: dict[str, dict[str, Any]] = {}
    for entry in entries(config, excluded):
        section, _, name = entry.path.rpartition(".")
        result.setdefault(section, {})[name] = entry.default
    return result


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def to_toml(config: Any, *, head: Sequence[str] = (), excluded: frozenset[str] = frozenset()) -> str:
    """The configuration as a TOML text whose comments say what each key is. Reads back to the same configuration."""
    lines = [f"# {line}".rstrip() for line in head]
    section = None
    said = ""
    for entry in entries(config, excluded):
        here = entry.path.rpartition(".")[0]
        if here != section:
            section, said = here, ""
            lines += ["", f"[{section}]"]
        if entry.words and entry.words != said:
            said = entry.words
            lines += [f"# {line}" for line in textwrap.wrap(said, WIDTH - 2, break_long_words=False)]
        if issubclass(entry.kind, StrEnum):
            lines.append("# One of " + ", ".join(f'"{member}"' for member in entry.kind) + ".")
        lines.append(f"# {entry.name} =" if entry.default is None else f"{entry.name} = {_literal(entry.default)}")
    return "\n".join(lines).lstrip("\n") + "\n"


def schema(default: Any, *, title: str, excluded: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The configuration as a JSON schema (draft 2020-12)."""
    root: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_object("")}
    for entry in entries(default, excluded):
        place = root
        for part in entry.path.split(".")[:-1]:
            place = place["properties"].setdefault(part, _object(""))
        place["properties"][entry.name] = _property(entry)
    return root


def _object(description: str) -> dict[str, Any]:
    body = {"type": "object", "additionalProperties": False, "properties": {}}
    return {**body, "description": description} if description else body


def _property(entry: Entry) -> dict[str, Any]:
    kinds: dict[type, str] = {bool: "boolean", int: "integer", float: "number", Decimal: "number"}
    body: dict[str, Any] = {"type": kinds.get(entry.kind, "string")}
    if issubclass(entry.kind, StrEnum):
        body["enum"] = [str(member) for member in entry.kind]
    if entry.words:
        body["description"] = entry.words
    if entry.default is not None:
        exact = isinstance(entry.default, Decimal)
        body["default"] = float(entry.default) if exact else entry.default
    return body


def read_text(path: str | Path) -> str:
    """The text of a configuration file.

    Raises
    ------
    ConfigError
        It is not there, or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError("config", None, "a file that exists", path) from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError("config", None, "a UTF-8 text file", path) from error
