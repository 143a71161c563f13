"""Every bench runs once, small: a bench that nobody runs stops working unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from benches.heuristic_pipeline import heuristic_sizes


def test_every_bench_runs_once_and_its_peers_agree(project_root: Path) -> None:
    modules = sorted((project_root / "benches").glob("test_*.py"))
    assert modules
    run = subprocess.run(
        [sys.executable, "-m", "benches", "--quick"],
        cwd=project_root,
        capture_output=True,
        text=True,
        timeout=110,
        env=os.environ | {"EQUIPOISE_BENCH_QUICK": "1"},
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.count("\n== ") == len(modules)


def test_the_footprint_bench_runs(project_root: Path) -> None:
    command = [sys.executable, "-m", "benches.footprint", "--quick"]
    run = subprocess.run(command, cwd=project_root, capture_output=True, check=True, text=True)
    assert run.stdout.startswith("import on top of numpy")


def test_the_heuristic_pipeline_breaks_its_floor_and_its_word() -> None:
    utility = np.linspace(1.0, 2.0, 10)
    random = np.random.default_rng(0)

    def sizes() -> np.ndarray:
        return heuristic_sizes(utility, entropy_min=1.9, share_min=0.005, capacity=20.0, size_min=0.37, random=random)

    first, second = sizes(), sizes()
    assert not np.allclose(first, second)
    shares = [draw / draw.sum() for draw in (sizes() for _ in range(50))]
    entropies = [-(share[share > 0] * np.log(share[share > 0])).sum() for share in shares]
    assert min(entropies) < 1.9 < max(entropies)
