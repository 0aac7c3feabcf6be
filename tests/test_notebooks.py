"""Notebooks run from the top, anywhere, and what is kept in them is small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=[pytest.mark.slow] * ("02" in path.stem), id=path.stem) for path in NOTEBOOKS]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:zmq", "ignore:.*Jupyter.*:DeprecationWarning")
def test_notebook_runs(path: Path, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    noise = [out for cell in notebook.cells for out in cell.get("outputs", []) if out.get("name") == "stderr"]
    assert not noise, "a warning on the screen of whoever runs it"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_kept_outputs_are_small(path: Path) -> None:
    assert path.stat().st_size < 200_000
    cells = json.loads(path.read_text())["cells"]
    assert any(cell.get("outputs") for cell in cells), "outputs are kept, so that it can be read without running it"


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS
