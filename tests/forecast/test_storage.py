"""Run folders appear whole or not at all, and never over somebody else's."""

from __future__ import annotations

import pytest

from forecast import storage
from pipelines.errors import UsageError


def test_a_folder_that_appears_meanwhile_is_left_alone(tmp_path) -> None:
    target = tmp_path / "run"

    def write(folder) -> None:
        (folder / "a").write_text("1")
        target.mkdir()
        (target / "precious.txt").write_text("mine")

    with pytest.raises(UsageError, match="appeared while"):
        storage.write_folder(target, write, {})
    assert [file.name for file in target.iterdir()] == ["precious.txt"]
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_a_name_that_nobody_asked_for_gives_way(tmp_path) -> None:
    """Two runs begun within a second would be called the same; neither is lost."""
    target = tmp_path / "run"

    def write(folder) -> None:
        (folder / "a").write_text("1")
        target.mkdir(exist_ok=True)  # another run ends first
        (target / "a").write_text("2")

    assert storage.write_folder(target, write, {}, numbered=True) == tmp_path / "run-2"
    assert storage.write_folder(target, write, {}, numbered=True) == tmp_path / "run-3"
    assert [(tmp_path / name / "a").read_text() for name in ("run", "run-2", "run-3")] == ["2", "1", "1"]


def test_a_writer_that_fails_leaves_nothing(tmp_path) -> None:
    def write(folder) -> None:
        (folder / "a").write_text("1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.write_folder(tmp_path / "run", write, {})
    assert not list(tmp_path.iterdir())


def test_numbers_json_does_not_know() -> None:
    assert storage.plain({"a": [float("nan"), float("inf"), 1.5]}) == {"a": [None, None, 1.5]}


def test_where_nothing_can_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        storage.write_folder(tmp_path / "file" / "run", lambda folder: None, {})
