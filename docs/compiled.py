"""Docstrings for the reference: the stub gives the compiled classes their signatures, the binary their words."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe


class CompiledDocstrings(griffe.Extension):
    """Copies the docstrings of `equipoise._rust` from the built module to what was read from its stub."""

    def on_package(self, *, pkg: griffe.Module, **_kwargs: Any) -> None:
        """Fill in the package once it is read."""
        if pkg.name == "equipoise":
            self._fill(pkg["_rust"], importlib.import_module("equipoise._rust"))

    def _fill(self, described: griffe.Object, built: object) -> None:
        for name, member in list(described.members.items()):
            thing = inspect.getattr_static(built, name, None)
            text = getattr(thing, "__doc__", None)
            if member.is_alias or not isinstance(text, str):
                continue
            if member.is_class:
                self._fill(member, thing)
                if "__new__" in member.members:
                    # The renderer looks for `__init__` to show how a class is made.
                    maker = member.members.pop("__new__")
                    maker.name = "__init__"
                    maker.returns = None
                    member.members["__init__"] = maker
            if not name.startswith("__"):
                member.docstring = griffe.Docstring(inspect.cleandoc(text), parent=member)
                # Parsed here, without the check of parameters against the signature: where the stub has a typed
                # dictionary of keywords, the words are about each of them. What is parsed is kept.
                member.docstring.parsed = member.docstring.parse("numpy", warnings=False)
