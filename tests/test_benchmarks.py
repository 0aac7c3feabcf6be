"""What the README says was measured is what lies in benchmarks/results."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def bench_table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    spec = importlib.util.spec_from_file_location("bench_table", ROOT / "benchmarks" / "table.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delitem(sys.modules, "common", raising=False)
    return module


def test_the_readme_shows_what_the_results_hold(bench_table: ModuleType) -> None:
    found = bench_table.documents()
    readme = (ROOT / "README.md").read_text("utf-8")
    assert bench_table.write_readme(readme, bench_table.headlines(found)) == readme, "run benchmarks/table.py"
    assert (ROOT / "benchmarks" / "results" / "README.md").read_text("utf-8") == bench_table.whole(found)


def test_every_headline_was_measured_and_says_whether_it_was_met(bench_table: ModuleType) -> None:
    lines = bench_table.headlines(bench_table.documents()).splitlines()
    assert len(lines) == 2 + len(bench_table.HEADLINES)
    assert all(line.split("|")[-2].strip() in ("yes", "NO", "-") for line in lines[2:])
