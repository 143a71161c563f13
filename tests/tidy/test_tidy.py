"""The tree keeps the promises its documents make about it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import equipoise

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    files = [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]
    assert files, f"no file matches {patterns}"
    return files


def modules() -> list[str]:
    names = [info.name for info in pkgutil.walk_packages(equipoise.__path__, "equipoise.")]
    assert len(names) > 10
    return ["equipoise", *(name for name in names if not name.endswith("._rust"))]


def test_the_pure_crate_has_no_python_in_its_tree() -> None:
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "-p", "equipoise", "--edges", "normal", "--prefix", "none"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    assert tree.startswith("equipoise v")
    assert not re.search(r"pyo3|numpy|python", tree)


def test_unsafe_lives_only_in_simd_and_every_block_says_why() -> None:
    word = re.compile(r"(?<![\w(\"])unsafe\s*(\{|fn|impl)")
    users = {path.relative_to(ROOT).as_posix() for path in tracked("rust/*.rs") if word.search(path.read_text())}
    assert users == {"rust/equipoise/src/simd.rs"}
    lines = (ROOT / "rust/equipoise/src/simd.rs").read_text().splitlines()
    assert len(lines) <= 150
    blocks = [number for number, line in enumerate(lines) if re.search(r"unsafe\s*\{", line)]
    assert blocks
    for number in blocks:
        assert "SAFETY" in "\n".join(lines[max(0, number - 6) : number + 1]), f"simd.rs:{number + 1}"


def test_the_makefile_stays_short() -> None:
    assert len((ROOT / "Makefile").read_text().splitlines()) <= 80


@pytest.mark.parametrize("name", modules())
def test_public_names_are_listed_sorted_and_exist(name: str) -> None:
    module = importlib.import_module(name)
    path = Path(module.__file__ or "")
    if path.name == "__main__.py":
        return
    public = getattr(module, "__all__", None)
    if path.name == "__init__.py" and public is None:
        body = ast.parse(path.read_text()).body
        assert not any(isinstance(node, ast.ImportFrom) for node in body), f"{name} imports names without __all__"
        return
    assert public is not None, f"{name} has no __all__"
    # The order that the linter gives them: constants, classes, the rest.
    assert list(public) == sorted(public, key=lambda entry: (not entry.isupper(), not entry[:1].isupper(), entry))
    assert all(hasattr(module, entry) for entry in public)


def test_nothing_names_a_machine_or_a_registry_host() -> None:
    forbidden = re.compile(
        r"(^|[^.\w/])/(work|root|home|farm|tmp)/[a-z]|crates\.io/|pypi\.org|files\.pythonhosted|deb\.debian\.org",
        re.MULTILINE,
    )
    offenders = []
    for path in tracked():
        if path.suffix in {".png", ".gz"} or path.name in {"Cargo.lock", "test_tidy.py"}:
            continue
        if forbidden.search(path.read_text(encoding="utf-8", errors="ignore")):
            offenders.append(path.relative_to(ROOT).as_posix())
    assert offenders == []


def test_importing_equipoise_needs_numpy_only() -> None:
    script = (
        "import sys, numpy; before = set(sys.modules); import equipoise;"
        "print('\\n'.join(sorted({m.partition('.')[0] for m in set(sys.modules) - before})))"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    loaded = set(output.split()) - set(sys.stdlib_module_names)
    assert {name for name in loaded if not name.startswith("_")} == {"equipoise"}


def test_importing_equipoise_leaves_the_book_and_the_tapes_for_later() -> None:
    script = (
        "import sys, equipoise; before = set(sys.modules); equipoise.ReservationBook, equipoise.ShapeEstimator;"
        "print('\\n'.join(before), '---', '\\n'.join(set(sys.modules)), sep='\\n')"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout
    before, after = (set(part.split()) for part in output.split("---"))
    for name in ("equipoise.reservation", "equipoise.estimator", "equipoise.tape"):
        assert name not in before
        assert name in after


def test_versions_agree() -> None:
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert equipoise.__version__ == cargo
    assert f"## {cargo}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.DOTALL)
    assert any(
        [line.split("#")[0].strip() for line in block.splitlines()] == ["make demo", "make test"] for block in blocks
    )


def test_every_test_named_in_a_document_exists() -> None:
    named = {
        name for path in tracked("docs/*.md", "README.md") for name in re.findall(r"`(test_\w+)`", path.read_text())
    }
    assert len(named) >= 15
    sources = "\n".join(path.read_text() for path in tracked("tests/*.py"))
    assert sorted(name for name in named if f"def {name}(" not in sources) == []
