"""The wheel built from the unpacked sdist works where the source tree is absent."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.timeout(900)
def test_wheel_from_the_sdist_passes_the_boundary_tests_without_the_source_tree(tmp_path: Path) -> None:
    maturin = shutil.which("maturin", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert maturin is not None, "maturin is a dev dependency"
    run(maturin, "sdist", "--out", tmp_path / "sdist", cwd=ROOT)
    (archive,) = (tmp_path / "sdist").iterdir()
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    assert (source / "Cargo.lock").is_file()
    # Sharing the target folder saves rebuilding the registry crates; ours are rebuilt because their paths differ.
    target = os.environ.get("CARGO_TARGET_DIR", str(ROOT / "target"))
    run(maturin, "build", "--release", "--out", tmp_path / "wheel", cwd=source, CARGO_TARGET_DIR=target)
    (wheel,) = (tmp_path / "wheel").iterdir()
    assert "abi3" in wheel.name
    assert wheel.stat().st_size < 4 * 2**20
    with zipfile.ZipFile(wheel) as files:
        inside = {Path(name).name for name in files.namelist()}
    beside = {path.name for path in (ROOT / "python/equipoise").rglob("*") if path.suffix in (".sql", ".json")}
    assert len(beside) >= 4
    assert beside <= inside

    empty = tmp_path / "venv"
    venv.create(empty, with_pip=True)
    python = empty / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    listed = run(python, "-m", "pip", "list", "--format", "freeze", cwd=tmp_path).split()
    assert {line.partition("==")[0].lower() for line in listed} - {"pip", "setuptools"} == {"equipoise", "numpy"}
    run(python, "-m", "pip", "install", "--quiet", "pytest", "pytest-timeout", "hypothesis", cwd=tmp_path)
    shutil.copytree(ROOT / "tests" / "boundary", tmp_path / "boundary")
    output = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "boundary", cwd=tmp_path)
    assert " passed" in output
