"""A model forecasts from the past alone, goes on row by row, and comes back from disk bit for bit."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import forecast
from forecast.config import Config
from forecast.model import Model
from pipelines.errors import ArtifactError, DataError, TimeError, TooShortError, UsageError
from pipelines.grid import Grid
from pipelines.panel import Panel

TINY = {"hidden": 8, "epochs": 2, "threads": 1, "horizon": 3}


@pytest.fixture(scope="module")
def walk(make_panel):
    steps = np.random.default_rng(0).normal(0.0002, 0.01, 600)
    return make_panel(100 * np.exp(np.cumsum(steps)), freq="B", meta={"kind": "price"})


@pytest.fixture(scope="module")
def hourly(make_panel):
    rng = np.random.default_rng(1)
    table = {}
    for name, length in (("s1", 500), ("s2", 450), ("s3", 500)):
        y = 10 + 3 * np.sin(2 * np.pi * np.arange(length) / 24) + rng.normal(0, 0.3, length)
        y[rng.choice(np.arange(5, length - 5), 9, replace=False)] = np.nan
        table[name] = y
    return make_panel(table, freq="h")


@pytest.fixture(scope="module")
def models(walk, hourly):
    """One fitted model of each kind the spine knows."""
    return {
        "price-lstm": (walk, forecast.fit(walk, **TINY)),
        "sensor-gru": (hourly, forecast.fit(hourly, **TINY, core="gru", head="point", skip=30)),
        "sensor-rnn": (hourly, forecast.fit(hourly, **TINY, core="rnn", layers=2)),
        "window-lstm": (walk, forecast.fit(walk, **TINY, mode="window", lookback=20, bidirectional=True)),
    }


KINDS = ["price-lstm", "sensor-gru", "sensor-rnn", "window-lstm"]


@pytest.mark.parametrize("kind", KINDS)
def test_forecast_frame(models, kind: str) -> None:
    panel, model = models[kind]
    frame = model.predict()
    assert list(frame.columns[:3]) == ["unique_id", "ds", "cutoff"]
    assert len(frame) == 3 * len(panel.ids)
    for name, part in frame.groupby("unique_id"):
        end = panel.frame.loc[panel.frame["unique_id"] == name, "ds"].max()
        assert part["ds"].tolist() == panel.grid.after(end, 3).tolist()
        assert set(part["cutoff"]) == {end}
    point = frame[model.name]
    assert np.isfinite(frame.drop(columns=["unique_id", "ds", "cutoff"]).to_numpy()).all()
    for level in (50, 90):
        assert (frame[f"{model.name}-lo-{level}"] <= point).all()
        assert (point <= frame[f"{model.name}-hi-{level}"]).all()
    assert (frame[f"{model.name}-lo-90"] <= frame[f"{model.name}-lo-50"]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_altering_the_future_changes_nothing(models, kind: str) -> None:
    """Noise of 1e6, NaN and nothing at all behind the cutoff: forecasts at and before it are bitwise equal."""
    panel, model = models[kind]
    cutoff = panel.ds[panel.offsets[0] + 430]
    rows = np.concatenate(
        [
            np.flatnonzero(panel.ds[a:b] <= cutoff)[-60:] + a
            for a, b in zip(panel.offsets, panel.offsets[1:], strict=False)
        ]
    )
    before = model.forecast_rows(panel, rows)
    late = panel.frame["ds"] > cutoff
    rng = np.random.default_rng(5)
    for noise in (np.abs(rng.normal(size=int(late.sum()))) * 1e6, np.full(int(late.sum()), np.nan)):
        frame = panel.frame.copy()
        frame.loc[late, "y"] = noise
        after = model.forecast_rows(replace(panel, frame=frame), rows)
        assert np.array_equal(before.point, after.point)
        assert all(np.array_equal(before.bounds[k], after.bounds[k]) for k in (50, 90))
    short = panel.up_to(cutoff)
    inside = [
        np.flatnonzero(panel.ds[a:b] <= cutoff)[-60:] + c
        for a, b, c in zip(panel.offsets, panel.offsets[1:], short.offsets, strict=False)
    ]
    assert np.array_equal(before.point, model.forecast_rows(short, np.concatenate(inside)).point)


def test_a_leak_would_be_seen(models) -> None:
    """The check above can fail: a model that reads one row ahead moves when that row does."""
    panel, model = models["price-lstm"]
    rows = np.arange(380, 430)
    other = panel.frame.copy()
    other.loc[430:, "y"] *= 3
    leaky = model.forecast_rows(panel, rows + 1).point
    moved = model.forecast_rows(replace(panel, frame=other), rows + 1).point
    assert not np.array_equal(leaky, moved)


@pytest.mark.parametrize("kind", KINDS)
def test_update_equals_a_full_replay(models, kind: str) -> None:
    """200 rows one at a time against reading everything from the start."""
    panel, model = models[kind]
    cutoff = np.unique(panel.ds)[-201]
    model.read(panel.up_to(cutoff))
    later = panel.frame[panel.frame["ds"] > cutoff]
    for _, rows in later.groupby("ds", sort=True):
        model.update(rows)
    stepped = model.predict()
    replayed = model.predict(panel)
    names = [name for name in replayed.columns if name.startswith(model.name)]
    np.testing.assert_allclose(stepped[names].to_numpy(), replayed[names].to_numpy(), rtol=1e-6)
    assert stepped[["unique_id", "ds", "cutoff"]].equals(replayed[["unique_id", "ds", "cutoff"]])


def test_update_in_one_go_and_for_some_series(models) -> None:
    panel, model = models["sensor-gru"]
    whole = model.predict(panel)
    model.read(panel.up_to(np.unique(panel.ds)[-60]))
    for name in panel.ids:
        rows = panel.frame[(panel.frame["unique_id"] == name) & (panel.frame["ds"] > np.unique(panel.ds)[-60])]
        if len(rows):
            model.update(rows)
    np.testing.assert_allclose(model.predict()["gru"], whole["gru"], rtol=1e-6)
    assert model.panel is not None and model.panel.fingerprint() == panel.fingerprint()


def test_update_does_not_touch_the_history(models) -> None:
    """O(1): the rows read before are neither copied nor looked at until somebody asks for them."""
    panel, model = models["price-lstm"]
    model.read(panel.up_to(panel.ds[-3]))
    held = model._panel
    model.update(panel.frame.tail(2))
    assert model._panel is held and len(model._pending) == 1
    assert model.panel is not None and len(model.panel) == len(panel)


def test_update_refuses_a_hole(models) -> None:
    panel, model = models["price-lstm"]
    model.read(panel.up_to(panel.ds[-5]))
    with pytest.raises(TimeError, match="comes"):
        model.update(panel.frame.tail(2))
    with pytest.raises(UsageError, match="not read before"):
        model.update(panel.frame.tail(4).assign(unique_id="other"))
    saturday = pd.Timestamp(panel.ds[-1]) + pd.offsets.Week(weekday=5)
    with pytest.raises(TimeError, match="is not a stamp of the grid"):
        model.update(panel.frame.tail(1).assign(ds=saturday))


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load(models, tmp_path, kind: str) -> None:
    panel, model = models[kind]
    expected = model.predict(panel)
    folder = model.save(tmp_path / "run")
    again = Model.load(folder)
    pd.testing.assert_frame_equal(again.predict(), expected, check_exact=True)
    pd.testing.assert_frame_equal(again.predict(panel), expected, check_exact=True)
    assert again.panel is not None and again.panel.fingerprint() == panel.fingerprint()
    assert sorted(file.suffix for file in folder.iterdir()) == [".json"] * 4 + [
        ".parquet",
        ".safetensors",
        ".safetensors",
    ]
    assert not list(tmp_path.glob(".*")), "something temporary was left behind"


def test_predicting_in_a_new_process_needs_no_lightning(models, tmp_path) -> None:
    panel, model = models["price-lstm"]
    expected = model.predict(panel)
    model.save(tmp_path / "run")
    code = (
        "import sys, forecast; f = forecast.load(sys.argv[1]).predict().drop(columns=['ds', 'cutoff']);"
        "print(f.to_json(double_precision=15));"
        "print([n for n in ('pytorch_lightning', 'statsmodels', 'arch', 'optuna') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, text=True, check=True
    )
    table, loaded = done.stdout.splitlines()
    assert json.loads(table) == json.loads(expected.drop(columns=["ds", "cutoff"]).to_json(double_precision=15))
    assert loaded == "[]"


def test_save_refuses_what_is_there(models, tmp_path) -> None:
    _, model = models["price-lstm"]
    model.save(tmp_path / "run")
    with pytest.raises(UsageError, match="exists"):
        model.save(tmp_path / "run")
    model.save(tmp_path / "run", overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="not a run folder"):
        model.save(tmp_path / "mine", overwrite=True)


@pytest.mark.parametrize(
    "name", ["weights.safetensors", "state.safetensors", "pipeline.json", "config.json", "data.parquet"]
)
def test_a_flipped_bit_is_refused(models, tmp_path, name: str) -> None:
    _, model = models["price-lstm"]
    file = model.save(tmp_path / "run") / name
    blob = bytearray(file.read_bytes())
    blob[len(blob) // 2] ^= 4
    file.write_bytes(blob)
    with pytest.raises(ArtifactError, match=r"SHA-256"):
        Model.load(tmp_path / "run")


def test_a_missing_file_and_a_foreign_schema_are_refused(models, tmp_path) -> None:
    _, model = models["price-lstm"]
    folder = model.save(tmp_path / "run")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema": 99}))
    with pytest.raises(ArtifactError, match="schema 99"):
        Model.load(folder)
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": {"../../etc/passwd": "0"}}))
    with pytest.raises(ArtifactError, match="outside"):
        Model.load(folder)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "state.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"lacks state\.safetensors"):
        Model.load(folder)
    with pytest.raises(ArtifactError, match="not a run folder"):
        Model.load(tmp_path / "nothing")


@pytest.mark.slow
def test_same_seed_same_weights_in_two_processes(tmp_path) -> None:
    code = (
        "import sys, numpy as np, pandas as pd, forecast, pipelines as pl\n"
        "y = 50 + np.random.default_rng(3).normal(size=400).cumsum()\n"
        "ds = pd.date_range('2020', periods=400, freq='h')\n"
        "panel = pl.Panel(pd.DataFrame({'unique_id': 'a', 'ds': ds, 'y': y}), pl.Grid('h'))\n"
        "import hashlib\n"
        "for seed in map(int, sys.argv[1:]):\n"
        "    model = forecast.fit(panel, horizon=2, hidden=8, epochs=3, threads=1, seed=seed)\n"
        "    weights = b''.join(w.numpy().tobytes() for w in model.network.state_dict().values())\n"
        "    print(hashlib.sha256(weights).hexdigest())"
    )
    sums = [
        subprocess.run([sys.executable, "-c", code, *seeds], capture_output=True, text=True, check=True).stdout.split()
        for seeds in (("7", "8"), ("8", "7"))
    ]
    assert sums[0] == sums[1][::-1] and sums[0][0] != sums[0][1]


def test_fit_leaves_the_callers_generator_and_threads_alone(walk) -> None:
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    threads = torch.get_num_threads()
    forecast.fit(walk, **{**TINY, "threads": 2, "epochs": 1})
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.filterwarnings("ignore")  # other libraries' warnings: catching them is not for threads
def test_fits_in_threads_do_not_share_their_chance(walk) -> None:
    def point(seed: int) -> np.ndarray:
        return forecast.fit(walk, **{**TINY, "epochs": 3, "dropout": 0.3}, seed=seed).predict()["lstm"].to_numpy()

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(point, range(3)))
    for seed, values in enumerate(together):
        np.testing.assert_array_equal(values, point(seed))


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"init": "chrono", "core": "gru"}, {"head": "categorical"}, {"head": "student-t"}, {"head": "gaussian"},
        {"core": "esn", "hidden": 20}, {"core": "segrnn", "lookback": 12}, {"core": "cnn", "lookback": 12},
        {"core": "mlp", "lookback": 12}, {"mode": "window", "lookback": 12, "decoder": "recurrent"},
    ],
)  # fmt: skip
def test_loading_takes_no_random_number(walk, tmp_path, settings: dict) -> None:
    model = forecast.fit(walk, Config.make(None, **{**TINY, "epochs": 1, **settings}))
    path = model.save(tmp_path / "run")
    before = torch.get_rng_state()
    again = Model.load(path)
    assert torch.equal(before, torch.get_rng_state())
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)
    tensors = [*again.network.parameters(), *again.network.buffers()]
    assert {(part.dtype, part.device.type) for part in tensors} == {(torch.float32, "cpu")}


def test_a_sound_reservoir_loads_whatever_would_be_drawn(walk, tmp_path) -> None:
    """So few connections that most draws have no cycle, and are refused."""
    found = []
    for seed in range(100):
        with contextlib.suppress(UsageError):
            found.append(forecast.fit(walk, horizon=1, core="esn", hidden=3, connections=0.3, seed=seed))
            break
    [model] = found
    path = model.save(tmp_path / "run")
    for seed in range(10):
        torch.manual_seed(seed)
        pd.testing.assert_frame_equal(Model.load(path).predict(), model.predict(), check_exact=True)


@pytest.mark.parametrize(
    "settings", [{}, {"mode": "window", "lookback": 12}, {"strategy": "recursive"}, {"core": "esn", "hidden": 20}]
)
def test_nets_are_float32_whatever_the_default_type(walk, tmp_path, settings: dict) -> None:
    config = Config.make(None, **{**TINY, "epochs": 1, **settings})
    expected = forecast.fit(walk, config).predict()
    torch.set_default_dtype(torch.float64)
    try:
        model = forecast.fit(walk, config)
        assert torch.get_default_dtype() == torch.float64
        pd.testing.assert_frame_equal(model.predict(), expected, check_exact=True)
        again = Model.load(model.save(tmp_path / "run"))
        pd.testing.assert_frame_equal(again.predict(walk), expected, check_exact=True)
        rows = np.arange(100, 110)
        np.testing.assert_array_equal(again.forecast_rows(walk, rows).point, model.forecast_rows(walk, rows).point)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_stream_goes_on_without_laying_its_history_out(walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row and a forecast cost the same however long the history is."""
    model = forecast.fit(walk, **TINY)

    def grown(*args: object) -> None:
        raise AssertionError("the history was copied")

    monkeypatch.setattr(type(walk), "append", grown)
    after = walk.grid.after(walk.end, 2)
    for stamp in after:
        model.update(pd.DataFrame({"unique_id": walk.ids[0], "ds": [stamp], "y": [100.0]}))
        assert (model.predict()["cutoff"] == stamp).all()


def test_covariates_of_every_role(make_panel) -> None:
    rng = np.random.default_rng(2)
    n = 300
    parts, ahead = [], []
    for i, name in enumerate(("a", "b")):
        stamps = pd.date_range("2020-01-01", periods=n + 4, freq="h")
        holiday = (rng.random(n + 4) < 0.2).astype(float)
        frame = pd.DataFrame(
            {
                "unique_id": name,
                "ds": stamps,
                "y": 5 * holiday + rng.normal(size=n + 4),
                "temp": rng.normal(size=n + 4),
                "holiday": holiday,
                "size": float(i),
            }
        )
        parts.append(frame.iloc[:n])
        ahead.append(frame.iloc[n:][["unique_id", "ds", "holiday"]])
    roles = {"temp": "past", "holiday": "future", "size": "static"}
    panel = Panel(pd.concat(parts), Grid("h"), roles, future=pd.concat(ahead))
    model = forecast.fit(panel, **{**TINY, "epochs": 60}, skip=0)
    frame = model.predict()
    # the effect of a holiday three hours ahead is forecast three hours ahead
    flipped = replace(panel, future=panel.future.assign(holiday=1 - panel.future["holiday"]))
    other = model.predict(flipped)
    change = (other["lstm"] - frame["lstm"]).to_numpy()
    expected = (1 - 2 * panel.future.groupby("unique_id", sort=False).head(3)["holiday"]).to_numpy()
    assert (np.sign(change) == expected).mean() > 0.8
    with pytest.raises(DataError, match="known-future"):
        model.predict(replace(panel, future=None))
    # update walks on with the covariates given before
    model.read(panel.up_to(panel.ds[n - 20]))
    model.update(panel.frame[panel.frame["ds"] > panel.ds[n - 20]])
    np.testing.assert_allclose(model.predict()["lstm"], frame["lstm"], rtol=1e-5, atol=1e-6)


def test_the_future_cannot_be_told_from_rounding(make_panel) -> None:
    """Several series with a skip long enough for the sliding product: a spike in the last row moves nothing before."""
    rng = np.random.default_rng(0)
    panel = make_panel({name: 10 + rng.normal(size=1200).cumsum() for name in "abc"}, freq="h")
    model = forecast.fit(panel, **{**TINY, "epochs": 1}, skip=336)
    rows = panel.offsets[:-1] + 1100
    before = model.forecast_rows(panel, rows).point
    frame = panel.frame.copy()
    frame.loc[panel.offsets[1:] - 1, "y"] = 1e9
    assert np.array_equal(before, model.forecast_rows(replace(panel, frame=frame), rows).point)


def test_other_grids_and_lacking_covariates_are_refused(models, make_panel) -> None:
    _, model = models["sensor-gru"]
    with pytest.raises(UsageError, match="on the grid D"):
        model.predict(make_panel({"s1": np.arange(100.0)}))
    rng = np.random.default_rng(0)
    frame = make_panel(rng.normal(size=200), freq="h").frame.assign(temp=rng.normal(size=200))
    with_temp = forecast.fit(Panel(frame, Grid("h"), {"temp": "past"}), **TINY)
    with pytest.raises(UsageError, match="past covariate 'temp'"):
        with_temp.predict(make_panel(rng.normal(size=200), freq="h"))


def test_both_halves_of_a_bidirectional_net_read_the_window(models) -> None:
    _, model = models["window-lstm"]
    x = torch.randn(1, 20, len(model.pipeline.feature_names), requires_grad=True)
    half = model.network.core.out_features // 2
    features, _ = model.network.run(x, torch.zeros(1, 0), model.network.initial(1))
    for part in (slice(0, half), slice(half, None)):
        [gradient] = torch.autograd.grad(features[0, -1, part].sum(), x, retain_graph=True)
        assert (gradient[0].abs().sum(dim=1) > 0).all()


def test_future_rows_inside_the_history_are_no_trouble(make_panel) -> None:
    """A whole holiday table is given once: the rows the history holds already are left out, doubles are refused."""
    stamps = pd.date_range("2020-01-01", periods=210, freq="h")
    holiday = (np.arange(210) % 5 == 0).astype(float)
    table = pd.DataFrame({"unique_id": "a", "ds": stamps, "holiday": holiday})
    y = np.random.default_rng(0).normal(size=200)
    panel = Panel(table.iloc[:200].assign(y=y), Grid("h"), {"holiday": "future"}, future=table)
    assert panel.future is not None
    assert len(panel.future) == 10
    model = forecast.fit(panel, **TINY)
    model.update(table.iloc[200:201].assign(y=0.3))
    assert model.panel is not None
    model.predict(model.panel.up_to(stamps[150]))
    with pytest.raises(TimeError, match="twice"):
        replace(panel, future=pd.concat([table, table.tail(1)]))


def test_bidirectional_streams_are_refused(walk) -> None:
    with pytest.raises(UsageError, match="reads its window from both ends"):
        forecast.fit(walk, **TINY, bidirectional=True, mode="stream")


def test_unknown_series(models, make_panel) -> None:
    _, model = models["price-lstm"]
    with pytest.raises(UsageError, match="is none of those fitted: a"):
        model.predict(make_panel({"other": np.arange(1.0, 100)}, freq="B"))


def test_too_short(make_panel) -> None:
    with pytest.raises(TooShortError, match="with a value; horizon 5 needs 30 or more"):
        forecast.fit(make_panel(np.arange(1.0, 20)), horizon=5)


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_a_series_shorter_than_a_window_has_no_forecast_and_is_named(make_panel, tmp_path, strategy: str) -> None:
    y = np.sin(np.arange(300) / 4)
    panel = make_panel({"long": y, "short": y[:25]}, freq="h", start="2020-01-01")
    model = forecast.fit(panel, **TINY, mode="window", lookback=30, strategy=strategy)
    found = model.predict()
    columns = [name for name in found if name.startswith("lstm")]
    at = found["unique_id"] == "short"
    assert found.loc[at, columns].isna().all(axis=None) and found.loc[~at, columns].notna().all(axis=None)
    ends = panel.offsets[1:] - 1
    np.testing.assert_array_equal(model.reaches(panel, ends), [True, False])
    np.testing.assert_allclose(model.forecast_rows(panel, ends).point.ravel(), found["lstm"], rtol=1e-5)
    assert model.notes == ("no forecast for short: fewer rows than a window of this model reads (30).",)
    again = Model.load(model.save(tmp_path / "run"))
    assert again.notes == model.notes
    stamps = panel.grid.after(found.loc[at, "cutoff"].iloc[0], 5)
    again.update(pd.DataFrame({"unique_id": "short", "ds": stamps, "y": y[25:30]}))
    assert again.notes == () and again.predict()["lstm"].notna().all()


def test_window_longer_than_the_data(make_panel) -> None:
    with pytest.raises(TooShortError, match="--lookback"):
        forecast.fit(make_panel(np.arange(1.0, 80)), horizon=2, mode="window", lookback=70, epochs=1)


def test_all_missing(make_panel) -> None:
    with pytest.raises(DataError, match="missing"):
        forecast.fit(make_panel(np.full(200, np.nan)))


def test_constant_series(make_panel) -> None:
    model = forecast.fit(make_panel(np.full(300, 7.0), freq="h"), **TINY)
    np.testing.assert_allclose(model.predict()["lstm"], 7.0, rtol=1e-2)


@pytest.mark.gpu
def test_a_gpu_model_loads_on_a_cpu(walk, tmp_path) -> None:
    model = forecast.fit(walk, **TINY, accelerator="gpu")
    assert {w.device.type for w in model.network.parameters()} == {"cpu"}
    again = Model.load(model.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)


@pytest.mark.parametrize("name", ["cuda", "tpu", "warp"])
def test_an_accelerator_that_is_not_there(walk, name: str) -> None:
    if name == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(UsageError, match="accelerator"):
        forecast.fit(walk, **TINY, accelerator=name)


@pytest.mark.parametrize("kind", KINDS)
def test_origins_in_any_order_and_repeated(models, kind: str) -> None:
    panel, model = models[kind]
    found = model.forecast_rows(panel, [60, 30, 60, 60]).point
    assert np.isfinite(found).all()
    assert np.array_equal(found, model.forecast_rows(panel, np.array([30, 60])).point[[1, 0, 1, 1]])


@pytest.mark.parametrize("rows", [[-1], [600], [2.5], [True] * 600, 5, [[5]], ["5"]])
def test_origins_that_are_no_rows_are_refused(models, rows) -> None:
    panel, model = models["price-lstm"]
    with pytest.raises(UsageError, match=r"origins must be row positions 0 to 599 of the panel, .*; got "):
        model.forecast_rows(panel, rows)
    assert model.forecast_rows(panel, []).point.shape == (0, 3)


def test_update_refuses_what_is_no_frame(models) -> None:
    panel, model = models["price-lstm"]
    row = {"unique_id": "a", "ds": panel.grid.after(panel.end, 1)[0], "y": 100.0}
    for wrong in (row, pd.Series(row), None, panel):
        with pytest.raises(UsageError, match=r"the new rows came as \w+, expected a DataFrame with unique_id, ds, y\."):
            model.update(wrong)
    with pytest.raises(UsageError, match=r"future came as dict, expected a DataFrame with unique_id, ds\."):
        model.update(pd.DataFrame([row]), future={})
    twice = pd.DataFrame([[*row.values(), 1.0]], columns=[*row, "y"])
    with pytest.raises(UsageError, match="the panel has several columns called 'y'"):
        model.update(twice)
    for stamp, kind in (("x", object), (20240101, int), (20240101, object)):
        with pytest.raises(TimeError, match=r"time stamps of the panel (cannot be read|are numbers)"):
            model.update(pd.DataFrame([row | {"ds": stamp}]).astype({"ds": kind}))
