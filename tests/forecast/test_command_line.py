"""What the command line says before it works and after it was stopped, in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

Call = Callable[..., tuple[int, str, str]]
FILE = ["--csv", "no.csv", "--time", "when", "--target", "power"]


@pytest.mark.parametrize("cause", [KeyboardInterrupt(), SystemExit(143)])
def test_an_interrupted_study_says_what_is_kept(
    cause: BaseException, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecast.commands.tune import _bar

    study = tmp_path / "my study"
    study.mkdir()
    (study / "request.json").touch()
    with pytest.raises(SystemExit) as stop, _bar(study, None):
        raise cause
    assert stop.value.code == (143 if isinstance(cause, SystemExit) else 130)
    told = capsys.readouterr().err
    assert told == f"interrupted; the study is kept in '{study}'.\n  Go on:  forecast tune --resume --study '{study}'\n"


def test_a_study_that_was_not_begun_keeps_nothing(tmp_path: Path) -> None:
    from forecast.commands.tune import _bar

    with pytest.raises(KeyboardInterrupt), _bar(tmp_path / "s", None):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("store", "text"), [(None, "not kept, as there is no --store"), (Path("f"), "are kept in f.")])
def test_an_interrupted_backtest_says_what_is_kept(
    store: Path | None, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from forecast.commands.backtest import folds_bar

    with pytest.raises(SystemExit), folds_bar(store):
        raise KeyboardInterrupt
    assert text in capsys.readouterr().err


def test_the_interruption_is_told_once(monkeypatch: pytest.MonkeyPatch, command_line: Call) -> None:
    from forecast import request
    from forecast.commands import screen

    def stop(*args: object, **more: object) -> SimpleNamespace:
        raise screen.stopped("2 trials are kept in s.", "forecast tune --resume --study s", KeyboardInterrupt())

    monkeypatch.setattr(request, "config_of", stop)
    code, _, text = command_line("fit", *FILE)
    assert (code, text) == (130, "interrupted; 2 trials are kept in s. Go on: forecast tune --resume --study s")


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["fit", *FILE, "--model", "lstm", "--model", "gru"], "--model lstm and --model gru: --model takes one value"),
        (["fit", *FILE, "--preset", "price", "--preset=sensor"], "--preset price and --preset=sensor"),
        (["fit", *FILE, "--seed", "3", "--set", "train.seed=4"], "--set train.seed=4 and --seed 3 give train.seed two"),
        (["fit", *FILE, "--set", "hidden=8", "--set", "model.hidden=16"], "--set hidden=8 and --set model.hidden=16"),
        (["backtest", *FILE, "--test", "3", "--test", "4"], "--test 3 and --test 4"),
        (["data", "check", "no.csv", "--sep", ";", "--sep", ","], "--sep ; and --sep ,"),
    ],
)
def test_what_is_given_twice_is_refused(typed: list[str], text: str, command_line: Call) -> None:
    code, _, told = command_line(*typed)
    assert code == 2
    assert text in told


def test_what_is_given_twice_with_one_value_is_fine() -> None:
    from forecast.request import make_config

    config = make_config(None, None, ["hidden=8", "model.hidden=8"], seed=3, core="gru")
    assert (config.model.hidden, config.model.core, config.train.seed) == (8, "gru", 3)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["tune", *FILE, "--trials", "0"], "--trials is 0, it must be at least 1"),
        (["tune", *FILE, "--jobs", "0"], "--jobs is 0, it must be at least 1"),
        (["tune", *FILE, "--timeout", "0"], "--timeout is 0, it must be above 0"),
        (["backtest", *FILE, "--stride", "0"], "--stride is 0, it must be at least 1"),
        (["backtest", *FILE, "--gap", "-1"], "--gap is -1, it must be at least 0"),
        (["backtest", *FILE, "--test", "1.5"], "--test is 1.5"),
        (["backtest", *FILE, "--jobs", "0"], "--jobs is 0, expected a number of workers"),
        (["backtest", *FILE, "--level", "100"], "--level is 100, expected per cent"),
        (["backtest", *FILE, "--refit", "often"], "refit 'often' is not understood"),
        (["backtest", *FILE, "--backend", "lokky"], "no backend 'lokky'. Did you mean 'loky'?"),
        (["diagnose", "--delay", "0"], "--delay is 0, expected 2 to 500 steps"),
    ],
)
def test_a_number_out_of_range_is_named_alone_before_any_data_is_read(
    typed: list[str], text: str, command_line: Call
) -> None:
    code, _, told = command_line(*typed)
    assert code == 2
    assert text in told
    assert "out of range" not in told


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["fit", *FILE, "--model", "ETS"], "ETS is a method of backtest only, no net. Use `forecast backtest --model"),
        (["models", "show", "theta"], "Theta is a method of backtest only"),
        (["settings", "data.hidden"], "Did you mean 'model.hidden'?"),
        (["fit", *FILE, "--set", "data.hidden=3"], "Did you mean 'model.hidden'?"),
        (["fit", "--ticker", "A", "--source", "samples"], "Did you mean 'sample'? Use yahoo or sample."),
    ],
)
def test_hints_name_what_was_meant(typed: list[str], text: str, command_line: Call) -> None:
    code, _, told = command_line(*typed)
    assert code == 2
    assert text in told
    assert "esn'" not in told and "memory" not in told


def test_methods_of_backtest_are_the_baselines_that_do_not_always_run() -> None:
    from forecast.baselines import ALWAYS, names
    from forecast.family import BACKTEST_ONLY

    assert set(BACKTEST_ONLY) == set(names()) - set(ALWAYS)


@pytest.mark.parametrize(("given", "hint"), [({"model": "gru"}, 'core="gru"'), ({"preset": "price"}, "preset_values")])
def test_flags_that_are_no_settings_in_python(given: dict[str, str], hint: str) -> None:
    from forecast.config import Config
    from pipelines.errors import UsageError

    with pytest.raises(UsageError, match="there is no setting") as caught:
        Config().override(**given)
    assert caught.value.hint is not None
    assert hint in caught.value.hint
    assert "Did you mean" not in caught.value.message


def test_what_a_preset_says_itself_is_not_called_idle() -> None:
    from forecast.idle import idle
    from forecast.request import make_config

    assert idle(make_config(None, "stream-lstm", [], epochs=2), "stream-lstm") == []
    typed = make_config(None, "stream-lstm", ["updates=50"], epochs=2)
    assert [text.partition(" ")[0] for text in idle(typed, "stream-lstm")] == ["train.updates=50"]


IDLE_FLAGS = [
    ("--level", "80", "only conformal --intervals read it"),
    ("--tried", "3", "only --trade reads it"),
    ("--warm", "100", "only --pieces reads it"),
    ("--backend", "threading", "one job runs in this process"),
    ("--set", "core=gru", "--model names other nets"),
]


@pytest.mark.parametrize(("flag", "value", "why"), IDLE_FLAGS)
def test_flags_of_a_backtest_that_do_nothing_are_named(flag: str, value: str, why: str, command_line: Call) -> None:
    *_, told = command_line("backtest", *FILE, "--model", "lstm", flag, value)
    assert f"does nothing: {why}" in told
    assert told.count("note:") == 1


def test_flags_of_a_backtest_that_do_something_are_not(command_line: Call) -> None:
    flags = ["--level", "80", "--intervals", "split", "--backend", "threading", "--jobs", "2", "--pieces", "3"]
    flags += ["--trade", "--tried", "2", "--warm", "9", "--set", "core=gru", "--seeds", "2"]
    *_, told = command_line("backtest", *FILE, *flags)
    assert "does nothing" not in told
    *_, told = command_line("backtest", *FILE, "--model", "ETS", "--seeds", "2")
    assert "--seeds=2 does nothing: only nets have seeds." in told
