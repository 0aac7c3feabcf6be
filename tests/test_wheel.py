"""The wheel: exactly our two packages with the cards inside, and it runs outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        arguments, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the tree, offline: the build backend is a test dependency."""
    out = tmp_path_factory.mktemp("wheel")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out), str(ROOT)]
    run(sys.executable, "-m", "pip", *build, cwd=out)
    (made,) = out.glob("*.whl")
    return made


def test_it_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    info = f"forecast_toolkit-{version}.dist-info"
    assert {name.split("/")[0] for name in names} == {"forecast", "pipelines", info}

    for package in ("forecast", "pipelines"):
        got = {name for name in names if name.startswith(f"{package}/") and not name.startswith("pipelines/_catalog/")}
        files = [path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert got == {path.relative_to(ROOT).as_posix() for path in files}
        assert f"{package}/py.typed" in got

    cards = [path for path in (ROOT / "datasets").rglob("*") if path.is_file()]
    shipped = {name for name in names if name.startswith("pipelines/_catalog/")}
    assert shipped == {f"pipelines/_catalog/{path.relative_to(ROOT / 'datasets').as_posix()}" for path in cards}
    assert f"{info}/licenses/LICENSE" in names


def test_it_runs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site), str(wheel)]
    run(sys.executable, "-m", "pip", *install, cwd=elsewhere)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    # a target folder on the path comes before the editable install of the checkout
    where = "import forecast, pipelines; print(forecast.__file__); print(pipelines.__file__)"
    found = run(sys.executable, "-c", where, cwd=elsewhere, PYTHONPATH=str(site)).split()
    assert [Path(path).parents[1] for path in found] == [site, site]
    assert version in run(sys.executable, "-m", "forecast", "--version", cwd=elsewhere, PYTHONPATH=str(site))
    listed = run(sys.executable, "-m", "forecast", "data", "list", cwd=elsewhere, PYTHONPATH=str(site))
    assert "^GSPC" in listed or "sp500" in listed.lower()
