"""What every test gets: one thread, a cache of its own, the markers' skips, and a few small panels."""

from __future__ import annotations

import os
import signal
import sys

# ruff: noqa: E402
# before numpy or torch load: equal sums on every machine, and no fight over two cores
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from pipelines.grid import Grid
from pipelines.panel import Panel

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("FORECAST_SHARED_DATA", ROOT.parent / "shared" / "data"))

# tests assert no time, so no deadline; the same examples on every run
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SHARED.is_dir():
        absent = pytest.mark.skip(reason=f"no {SHARED}: the real files beside the checkout are absent")
        for item in items:
            if "shared" in item.keywords:
                item.add_marker(absent)
    wants_gpu = [item for item in items if "gpu" in item.keywords]
    if wants_gpu and not _cuda():
        for item in wants_gpu:
            item.add_marker(pytest.mark.skip(reason="torch sees no CUDA device"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the cache of the person who runs it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache", numbered=True)))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run ``forecast`` with these words in this process: the exit code, stdout, and stderr on one line."""

    def call(*words: str) -> tuple[int, str, str]:
        from forecast.cli import main

        monkeypatch.setattr(sys, "argv", ["forecast", *words])
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as stop:
                main()
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capsys.readouterr()
        return int(str(stop.value.code)), out, " ".join(err.split())

    return call


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """``../shared/data``; mark the test ``shared``."""
    return SHARED


@pytest.fixture(scope="session")
def make_panel() -> Callable[..., Panel]:
    """Build a Panel from values: ``make_panel([1, 2, nan])`` or ``make_panel({"a": [...], "b": [...]}, freq="h")``."""

    def build(
        values: dict[str, object] | object, *, freq: str = "D", start: str = "2020-01-01", **options: object
    ) -> Panel:
        series = values if isinstance(values, dict) else {"a": values}
        parts = []
        for name, column in series.items():
            y = np.asarray(column, np.float64)
            stamps = pd.date_range(start, periods=len(y), freq=freq)
            parts.append(pd.DataFrame({"unique_id": name, "ds": stamps, "y": y}))
        return Panel(pd.concat(parts, ignore_index=True), Grid(freq), **options)  # type: ignore[arg-type]

    return build


@pytest.fixture
def random_walk(make_panel: Callable[..., Panel]) -> Panel:
    """One geometric random walk of 600 business days around 100."""
    steps = np.random.default_rng(0).normal(0.0002, 0.01, 600)
    return make_panel(100 * np.exp(np.cumsum(steps)), freq="B")


@pytest.fixture
def sensors(make_panel: Callable[..., Panel]) -> Panel:
    """Three hourly series of different lengths with a daily season, noise and a few missing values."""
    rng = np.random.default_rng(1)
    series = {}
    for name, length in (("s1", 400), ("s2", 250), ("s3", 331)):
        hours = np.arange(length)
        y = 10 + 3 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 0.3, length)
        y[rng.choice(np.arange(5, length - 5), 7, replace=False)] = np.nan
        series[name] = y
    return make_panel(series, freq="h")
