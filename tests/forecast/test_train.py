"""Training keeps the best weights of the stop span, stops early, reports progress, and fails in words."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import forecast
from forecast import frames
from forecast.config import Config
from forecast.run import run_fit, validate
from forecast.train import Progress, fit
from pipelines.errors import TooShortError, TrainingError, UsageError, ValueRangeError

TINY = {"hidden": 8, "threads": 1, "horizon": 2}


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({}, "Leave data.log out"),
        ({"kind": "sensor"}, "Leave data.log out"),
        ({"kind": "price"}, "Treat the data as a sensor (--preset sensor, without data.log)"),
    ],
)
def test_logarithms_of_what_is_not_positive_name_the_setting(make_panel, settings: dict[str, str], hint: str) -> None:
    panel = make_panel(np.sin(np.arange(300) / 9))
    with pytest.raises(ValueRangeError, match="positive values") as caught:
        forecast.fit(panel, log=True, **settings)
    assert str(caught.value.hint).startswith(hint)


def test_it_learns_what_can_be_learned(make_panel) -> None:
    """A daily cycle with little noise: far better than naive on rows nobody trained on."""
    rng = np.random.default_rng(0)
    y = 20 + 5 * np.sin(2 * np.pi * np.arange(3000) / 24) + rng.normal(0, 0.2, 3000)
    panel = make_panel(y, freq="h")
    model = fit(panel, horizon=3, hidden=16, updates=600, threads=1)
    scores = validate(model, panel).scores.set_index("model")["mae"]
    assert scores["lstm"] < 0.15 * scores["naive"]
    outcome = validate(model, panel)
    assert outcome.verdict["baseline"] == "seasonal naive"
    assert outcome.verdict["label"] == "skill"


def test_a_random_walk_has_no_skill(random_walk) -> None:
    outcome = validate(fit(random_walk, **TINY, kind="price", updates=200), random_walk)
    assert outcome.verdict["label"] in {"no skill", "worse than naive"}


def test_a_series_that_never_moves_is_left_out_of_the_verdict_by_name(make_panel, tmp_path: Path) -> None:
    walk = np.random.default_rng(0).normal(size=300).cumsum()
    panel = make_panel({"still": np.full(300, 5.0), "walk": walk}, freq="h")
    run = run_fit(panel, Config.make(**TINY, epochs=1), out=tmp_path / "run")
    assert run.validation is not None and any(note.startswith("still: ") for note in run.validation.notes)
    assert "<li>still: the (seasonal) naive" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    still = make_panel({"a": np.full(300, 5.0), "b": np.ones(300)}, freq="h")
    assert validate(fit(still, **TINY, epochs=1), still).notes == (), "the verdict itself says that nothing counts"


@pytest.mark.parametrize("mode", ["stream", "window"])
def test_the_best_weights_are_kept(random_walk, mode: str) -> None:
    """What comes back scores on the stop span what the history says was best, not what was last."""
    window = {"mode": "window", "lookback": 20} if mode == "window" else {"mode": "stream"}
    model = fit(random_walk, **TINY, **window, epochs=60, patience=60, lr=0.03, kind="price")
    history = model.facts["training"]
    losses = [check["stop_loss"] for check in history["checks"]]
    assert history["best_stop_loss"] == min(losses) < losses[-1]
    assert history["epochs"] == 60
    assert not history["stopped_early"]


def test_the_last_weights_can_be_kept(random_walk) -> None:
    settings = {**TINY, "epochs": 40, "patience": 40, "lr": 0.03, "kind": "price", "average": 0.0, "head": "point"}
    best, last = fit(random_walk, **settings), fit(random_walk, **settings, keep="last")
    assert best.facts["training"]["checks"] == last.facts["training"]["checks"]
    assert best.facts["training"]["best_epoch"] < 40
    again = fit(random_walk, **{**settings, "epochs": best.facts["training"]["best_epoch"]}, keep="last")
    ends = [model.network.state_dict() for model in (best, again, last)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0]), "stopping there is keeping the best"
    assert not all(torch.equal(ends[0][name], ends[2][name]) for name in ends[0])


def test_low_precision_that_the_processor_lacks_is_refused(random_walk, monkeypatch) -> None:
    """oneDNN has no fused LSTM in bfloat16 for every processor, and torch then raises something unreadable."""

    def fails(*args: object, **kwargs: object) -> None:
        raise RuntimeError("could not create a primitive descriptor for the LSTM forward propagation primitive")

    monkeypatch.setattr("pytorch_lightning.Trainer.fit", fails)
    with pytest.raises(UsageError, match="cannot train lstm in bf16-mixed"):
        fit(random_walk, **TINY, epochs=2, precision="bf16-mixed")
    with pytest.raises(RuntimeError, match="could not create"):
        fit(random_walk, **TINY, epochs=2)


def test_early_stopping(random_walk) -> None:
    model = fit(random_walk, **TINY, epochs=1000, patience=2, lr=0.05)
    history = model.facts["training"]
    assert history["stopped_early"]
    assert history["epochs"] < 1000


def test_holdout_rows_are_never_looked_at(random_walk) -> None:
    """Replace the holdout by anything: weights, calibration and stopping are bitwise the same."""
    from dataclasses import replace

    one = fit(random_walk, **TINY, epochs=3)
    frame = random_walk.frame.copy()
    frame.loc[frame["ds"] > one.facts["spans"]["stop_end"], "y"] = 1e4
    two = fit(replace(random_walk, frame=frame), **TINY, epochs=3)
    for mine, theirs in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert all(np.array_equal(one.calibration[k], two.calibration[k]) for k in one.calibration)
    assert one.pipeline.to_json() == two.pipeline.to_json()


def test_progress_is_told(random_walk) -> None:
    told: list[Progress] = []
    fit(random_walk, **TINY, epochs=40, progress=told.append)
    assert told
    assert told[-1].updates <= told[-1].total
    assert all(a.updates <= b.updates for a, b in itertools.pairwise(told))
    assert 1 <= told[-1].epoch <= told[-1].epochs == 40


def test_a_loss_that_is_no_number(random_walk) -> None:
    with pytest.raises(TrainingError, match="loss"):
        fit(random_walk, **TINY, epochs=50, lr=1e30, train__clip=0, optimizer="rmsprop", head="point", loss="mse")


@pytest.mark.parametrize("settings", [{}, {"core": "esn"}, {"strategy": "recursive", "horizon": 2}], ids=str)
def test_a_stop_span_without_targets_is_refused_before_training(make_panel, settings) -> None:
    """From row 300 on only every second hour has a value, so none has another one step before it."""
    y = np.random.default_rng(0).normal(size=600)
    y[301::2] = np.nan
    panel, told = make_panel(y, freq="h"), []
    small = {"hidden": 4, "threads": 1, "horizon": 1, "updates": 20}
    with pytest.raises(TooShortError, match=r"stop span, 2020-01-14 15:00:00 to .* none of its 68 values") as caught:
        fit(panel, Config.make(**{**small, **settings}), progress=told.append)
    assert not told and "data.stop" in str(caught.value.hint)
    assert "one step before it" in str(caught.value)
    if not settings:
        model = fit(panel, **{**small, "horizon": 2})
        assert np.isfinite(model.facts["training"]["best_stop_loss"]), "two steps behind there are values"


@pytest.mark.parametrize("epochs", [1, 7, 40])
def test_as_many_epochs_as_asked_for(random_walk, epochs: int) -> None:
    assert fit(random_walk, **TINY, epochs=epochs, patience=999).facts["training"]["epochs"] == epochs


def test_no_skill_for_what_is_worse_than_naive(make_panel) -> None:
    """Noise first, a slow drift in the holdout: the net beats the mean, the strongest before, but not naive."""
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(size=1400), 5 + np.linspace(0, 3, 300) + rng.normal(0, 0.01, 300)])
    panel = make_panel(y, freq="h")
    outcome = validate(fit(panel, **TINY, epochs=20, skip=0), panel)
    scores = outcome.scores.set_index("model")["mae"]
    assert scores["lstm"] > scores["naive"]
    assert outcome.verdict["label"] != "skill"


def test_horizons_without_known_future_are_left_out(make_panel) -> None:
    from pipelines.grid import Grid
    from pipelines.panel import Panel

    frame = make_panel(np.random.default_rng(0).normal(size=300), freq="h").frame.assign(open=1.0)
    panel = Panel(frame, Grid("h"), {"open": "future"})
    outcome = validate(fit(panel, horizon=4, hidden=8, epochs=1, threads=1), panel)
    assert (outcome.frame.groupby("cutoff")["step"].max() == 4).all()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_optimizers(random_walk, optimizer: str, average: float) -> None:
    model = fit(random_walk, **TINY, epochs=2, optimizer=optimizer, average=average)
    assert np.isfinite(model.predict()["lstm"]).all()


def test_k2_above_k1_trains(random_walk) -> None:
    model = fit(random_walk, **TINY, epochs=2, k1=16, k2=48)
    assert np.isfinite(model.predict()["lstm"]).all()
    with pytest.raises(UsageError, match="k2"):
        fit(random_walk, **TINY, k1=16, k2=8)


def parts_of(panel, average: float = 0.0, **settings):
    """A module and its data without fit()."""
    from forecast.data import Span, StreamData
    from forecast.model import build_network
    from forecast.module import ForecastModule, WeightAverage
    from forecast.spans import cut_spans, pipeline_spec, settle
    from pipelines.batches import rows_before
    from pipelines.pipeline import Pipeline
    from pipelines.plans import pieces_of

    config = settle(Config.make(**TINY, kind="price", **settings), panel)
    spans = cut_spans(panel, config)
    pipeline = Pipeline(pipeline_spec(config)).fit(panel, until=spans.train_end)
    prepared = pipeline.transform(panel)
    span = Span(pieces_of(prepared, 0, spans.train), rows_before(prepared, spans.train))
    torch.manual_seed(0)
    data = StreamData(prepared, span, lanes=2, k1=32, k2=32, lookback=None)
    network = build_network(config, pipeline)
    return ForecastModule(network, config, WeightAverage(network, average) if average else None), data


def your_trainer(**options):
    import pytorch_lightning as pl

    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return pl.Trainer(**{"enable_checkpointing": False, **quiet, **options})


yours = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning", "ignore::UserWarning:pytorch_lightning")


@yours
def test_a_module_under_a_trainer_of_your_own(random_walk) -> None:
    """The parts are usable without fit()."""
    import pytorch_lightning as pl

    class Ear(pl.Callback):
        heard = 0

        def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.heard += 1

    weights = []
    for ears in ([], [Ear()]):
        module, data = parts_of(random_walk)
        your_trainer(max_epochs=2, callbacks=ears).fit(module, datamodule=data)
        assert module.updates > 0
        assert module._nobody_listens() is not bool(ears)
        weights.append(module.network.state_dict())
    assert ears[0].heard == module.updates, "hooks around a backward pass are called where there are any"
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@yours
def test_a_trainer_of_your_own_counts_steps(random_walk, tmp_path: Path) -> None:
    from pytorch_lightning.callbacks import ModelCheckpoint

    module, data = parts_of(random_walk)
    trainer = your_trainer(max_steps=5)
    trainer.fit(module, datamodule=data)
    assert (module.updates, trainer.global_step) == (5, 5)
    module, data = parts_of(random_walk)
    keeper = ModelCheckpoint(dirpath=tmp_path, save_top_k=-1)
    your_trainer(max_epochs=2, enable_checkpointing=True, callbacks=[keeper]).fit(module, datamodule=data)
    assert len(list(tmp_path.glob("*.ckpt"))) == 2
    assert module.updates > 5


@yours
def test_a_checkpoint_holds_the_averaged_weights(random_walk, tmp_path: Path) -> None:
    """Going on from it is the same as never having stopped, on the same batches."""

    def parts():
        module, data = parts_of(random_walk, average=0.9, dropout=0.0)
        chunks = data.plan()
        data.plan = lambda: chunks  # the same in every pass
        return module, data

    whole, data = parts()
    your_trainer(max_epochs=4).fit(whole, datamodule=data)
    first, data = parts()
    trainer = your_trainer(max_epochs=2)
    trainer.fit(first, datamodule=data)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    second, data = parts()
    your_trainer(max_epochs=4).fit(second, datamodule=data, ckpt_path=tmp_path / "half.ckpt")
    assert second.updates == whole.updates and second.average.count == whole.average.count == whole.updates
    for mine, expected in zip(second.average.values, whole.average.values, strict=True):
        torch.testing.assert_close(mine, expected)


def test_calibrated_intervals_cover_on_new_rows(make_panel) -> None:
    """Stationary noise: 90 % intervals hold about 90 % of rows that were never seen."""
    panel = make_panel(np.random.default_rng(1).normal(10, 1, 4000), freq="h")
    model = fit(panel, horizon=1, hidden=8, updates=150, threads=1, skip=0)
    covered = validate(model, panel).scores.set_index("model").loc["lstm", "coverage_90"]
    assert 0.85 < covered < 0.95


def test_result_frames_hold_the_truth(sensors) -> None:
    rows = np.array([3, 100, int(sensors.offsets[1]) - 2])
    frame = frames.result_frame(sensors, rows, {"f": np.arange(9.0).reshape(3, 3)})
    assert len(frame) == 3 + 3 + 1, "steps behind the end of a series are left out"
    for row in frame.itertuples():
        at = sensors.frame[(sensors.frame["unique_id"] == row.unique_id) & (sensors.frame["ds"] == row.ds)]
        assert np.array_equal([row.y], at["y"], equal_nan=True)
    assert frame["f"].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_the_facade_exports_what_it_says() -> None:
    assert forecast.fit is fit
    assert set(forecast.__all__) <= set(dir(forecast))


def test_bundles_span_passes_and_change_nothing(random_walk) -> None:
    """A Lightning batch holds chunks of several passes; what is read, and in which order, is that of the plans."""
    from forecast.data import Span, StreamData
    from forecast.spans import cut_spans, pipeline_spec, settle
    from pipelines.batches import rows_before
    from pipelines.pipeline import Pipeline
    from pipelines.plans import pieces_of

    config = settle(Config.make(**TINY, kind="price"), random_walk)
    spans = cut_spans(random_walk, config)
    prepared = Pipeline(pipeline_spec(config)).fit(random_walk, until=spans.train_end).transform(random_walk)
    span = Span(pieces_of(prepared, 0, spans.train), rows_before(prepared, spans.train))
    shape = {"lanes": 3, "k1": 64, "k2": 64, "lookback": None, "seed": 4}
    data = StreamData(prepared, span, **shape, passes=3, total=5, bundle=4)
    epochs = [list(data.train_dataloader()) for _ in range(2)]
    assert data.done == 5
    for bundles in epochs:
        assert all(len(bundle) == 4 for bundle in bundles[:-1])
        assert 1 <= len(bundles[-1]) <= 4
    twin = StreamData(prepared, span, **shape)
    plans = [twin.plan() for _ in range(5)]
    assert all(plan[0].reset.all() for plan in plans), "a pass begins from a blank state"
    expected = [chunk.start.tolist() for plan in plans for chunk in plan]
    assert [chunk.start.tolist() for bundles in epochs for bundle in bundles for chunk in bundle.chunks] == expected


def test_validate_scores_only_rows_behind_the_models_own_stop_span(make_panel) -> None:
    """Of another panel than the fit's, rows that training or early stopping saw are no holdout."""
    y = np.random.default_rng(3).normal(size=330)
    whole = make_panel(y, freq="h")
    panel = whole.up_to(whole.ds[299])
    model = fit(panel, **TINY, epochs=1)
    stop_end = np.datetime64(model.facts["spans"]["stop_end"])
    own, more = validate(model, panel), validate(model, whole)
    assert own.frame["cutoff"].min() == more.frame["cutoff"].min() == stop_end
    assert own.frame["ds"].max() == panel.end and more.frame["ds"].max() == whole.end
    assert own.spans["train"] == more.spans["train"] and own.spans["stop"] == more.spans["stop"]
    assert more.spans["holdout"].split(" to ")[1].startswith(str(whole.end))
    for end in (200, int((panel.ds <= stop_end).sum()) + 1):
        with pytest.raises(TooShortError, match="nothing to score by: the model learned and stopped by rows up to"):
            validate(model, panel.up_to(panel.ds[end - 1]))
    with pytest.raises(TooShortError, match="the baseline to beat is chosen on rows of the model's stop span"):
        validate(model, make_panel(y, freq="h", start="2020-03-01"))
    with pytest.raises(UsageError, match="series 'b' is none of those fitted"):
        validate(model, make_panel({"a": y, "b": y}, freq="h"))
    with pytest.raises(UsageError, match="got str, expected a Panel"):
        validate(model, "run")  # type: ignore[arg-type]


def test_validate_knows_where_a_fit_until_a_stamp_stopped(random_walk) -> None:
    model = fit(random_walk, **TINY, epochs=1, until=random_walk.ds[-20])
    outcome = validate(model, random_walk)
    assert outcome.frame["cutoff"].min() == random_walk.ds[-20]
    assert f"to {model.facts['spans']['stop_end'][:10]}: early stopping" in outcome.spans["stop"]


def test_validate_of_a_fit_that_held_nothing_out_needs_later_rows(make_panel) -> None:
    whole = make_panel({name: np.random.default_rng(k).normal(size=200 - 30 * k) for k, name in enumerate("ab")})
    model = fit(whole.up_to(whole.ds[179]), **TINY, epochs=1, holdout=0)
    with pytest.raises(TooShortError, match="no series with the 2 values of a horizon behind that"):
        validate(model, whole.up_to(whole.ds[179]))
    found = validate(model, whole)
    assert found.frame["cutoff"].min() == whole.ds[179] and set(found.frame["unique_id"]) == {"a"}
    assert any(note.startswith("b: no value in the test span") for note in found.notes)


@pytest.mark.parametrize("form", [np.datetime64, str])
def test_until_takes_a_stamp_of_the_panel_in_any_form(random_walk, form) -> None:
    spans = fit(random_walk, **TINY, epochs=1, until=form(random_walk.ds[-20])).facts["spans"]
    assert spans["stop_end"] == str(pd.Timestamp(random_walk.ds[-20]))


@pytest.mark.parametrize("wrong", [300, "never", pd.Timestamp("2020-05-01", tz="UTC"), np.datetime64("NaT")])
def test_until_that_is_no_stamp_is_refused(random_walk, wrong) -> None:
    with pytest.raises(UsageError, match=r"until got .*, expected a moment without a time zone"):
        fit(random_walk, **TINY, epochs=1, until=wrong)
