"""Code in the documents and docstrings runs and does what it says."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import equipoise
from equipoise import _rust

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def documents() -> list[Path]:
    paths = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in paths if FENCE.search(path.read_text())]


def modules() -> list[str]:
    walk = pkgutil.walk_packages(equipoise.__path__, "equipoise.")
    return ["equipoise", *(info.name for info in walk if not info.name.endswith("_rust"))]


def run_examples(source: str, name: str, namespace: dict[str, object]) -> int:
    test = doctest.DocTestParser().get_doctest(source, namespace, name, name, 0)
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test)
    assert result.failed == 0, f"{name}: see the output above"
    return result.attempted


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_python_blocks_of_a_document_run_in_order(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for number, block in enumerate(FENCE.findall(path.read_text()), start=1):
        name = f"{path.name} block {number}"
        if block.lstrip().startswith(">>>"):
            assert run_examples(block, name, namespace) > 0
        else:
            exec(compile(block, name, "exec"), namespace)


@pytest.mark.parametrize("name", modules())
def test_docstring_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name), optionflags=OPTIONS).failed == 0


def test_docstring_examples_of_the_compiled_classes_run() -> None:
    attempted = 0
    for name, member in inspect.getmembers(_rust):
        if name.startswith("_"):
            continue
        pairs = [(name, member), *((f"{name}.{n}", m) for n, m in inspect.getmembers(member) if not n.startswith("_"))]
        for label, thing in pairs:
            text = getattr(thing, "__doc__", None)
            if isinstance(text, str) and ">>>" in text:
                attempted += run_examples(inspect.cleandoc(text), label, {})
    assert attempted > 0
