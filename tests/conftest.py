"""Fixtures every suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile(
    "ci", deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("deep", deadline=None, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """Where Cargo.toml and pyproject.toml are."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of recorded market data; the test is skipped where there is none."""
    folder = Path(os.environ.get("EQUIPOISE_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("recorded market data are not beside this checkout (../shared/data)")
    return folder
