"""What installing and importing equipoise costs: wheel size, and import time on top of numpy's.

``python -m benches.footprint`` builds the wheel and imports it from an empty folder, where nothing else is on the path.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

__all__ = ["import_ms", "main"]

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "import time, numpy; start = time.perf_counter(); import equipoise; print((time.perf_counter() - start) * 1e3)"


def import_ms(path: Path, runs: int) -> list[float]:
    """Milliseconds of `import equipoise` from a folder after `import numpy`, a new interpreter each time."""
    # The empty interpreter has no editable install that could answer in the folder's stead; numpy comes from ours.
    numpy_path = str(Path(np.__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), numpy_path])}
    command = [sys.executable, "-S", "-c", SCRIPT]
    times = [
        float(subprocess.run(command, cwd=path, env=environment, capture_output=True, check=True, text=True).stdout)
        for _ in range(runs + 1)
    ]
    return times[1:]  # The first run writes the bytecode.


def main(arguments: list[str] | None = None) -> None:
    """Print both figures; `--quick` imports the working tree and builds nothing."""
    if "--quick" in (sys.argv[1:] if arguments is None else arguments):
        print(f"import on top of numpy: {statistics.median(import_ms(ROOT / 'python', 5)):.1f} ms (working tree)")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        maturin = Path(sys.executable).with_name("maturin")
        build = [maturin, "build", "--release", "--quiet", "--interpreter", sys.executable, "--out", folder]
        subprocess.run(build, cwd=ROOT, check=True)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
            archive.extractall(folder / "unpacked")
        times = import_ms(folder / "unpacked", 20)
        print(f"{wheel.name}: {wheel.stat().st_size / 2**20:.2f} MiB, {unpacked / 2**20:.2f} MiB unpacked")
    print(f"import on top of numpy, 20 runs: median {statistics.median(times):.1f} ms, max {max(times):.1f} ms")


if __name__ == "__main__":
    main()
