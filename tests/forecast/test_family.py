"""Every core with every head in every mode works in all it does, or is refused with a reason before data is read."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import forecast
from forecast.config import Config
from forecast.family import FAMILY
from forecast.model import Model
from forecast.nn.cores import CORES
from forecast.sections import ModelConfig
from pipelines.errors import UsageError

HEADS = [head for head in get_args(ModelConfig.model_fields["head"].annotation) if head != "auto"]
MODES = ["stream", "window", "both ends"]
ROWS, FIRST = 130, 121  # rows in all, and those a model reads before the rest comes in by update
TINY: dict[str, Any] = {
    "horizon": 3, "hidden": 6, "epochs": 2, "lanes": 8, "k1": 16, "lookback": 12, "threads": 1, "accelerator": "cpu",
}  # fmt: skip


def settings(core: str, head: str, mode: str) -> dict[str, Any]:
    how = {"mode": "window", "bidirectional": True} if mode == "both ends" else {"mode": mode}
    return {**TINY, **how, "core": core, "head": head}


def refusal(core: str, head: str, mode: str) -> str | None:
    """Why the three do not go together, as the card of the core has it."""
    member = FAMILY[core]
    if mode == "both ends" and "bidirectional" in member.lacks:
        return member.lacks["bidirectional"]
    if mode == "stream" and not member.streams:
        return "cannot run as a stream"
    if mode == "window" and not member.windows:
        return "carries its exact state"
    if member.heads and head not in member.heads:
        return f"{core} has no {head} head; use model.head={member.heads[0]}"
    return None


ALL = list(itertools.product(FAMILY, HEADS, MODES))
ALLOWED = [one for one in ALL if refusal(*one) is None]
REFUSED = [one for one in ALL if refusal(*one) is not None]


@pytest.fixture(scope="module")
def short(make_panel):
    """Two short series with a season, and a gap in one."""
    rng = np.random.default_rng(0)
    table = {
        name: 10 + np.sin(np.arange(ROWS) / 3 + shift) + rng.normal(0, 0.1, ROWS)
        for name, shift in (("a", 0), ("b", 1))
    }
    table["a"][40] = np.nan
    return make_panel(table, freq="D")


def test_every_member_has_a_builder_a_mode_and_a_source() -> None:
    assert set(FAMILY) == set(CORES)
    for name, member in FAMILY.items():
        assert member.modes, name
        assert member.about and member.reference, name
        Config.make(None, core=name)  # its own defaults go together
    assert len(ALLOWED) > 4 * len(HEADS)


def _cases() -> list[Any]:
    """The less usual heads of bidirectional nets are left to make test-all; they differ in the core alone."""
    slow = [mode == "both ends" and head not in ("point", "quantile") for _, head, mode in ALLOWED]
    return [
        pytest.param(*one, id="-".join(one), marks=pytest.mark.slow if late else ())
        for one, late in zip(ALLOWED, slow, strict=True)
    ]


@pytest.mark.parametrize(("core", "head", "mode"), _cases())
def test_fits_predicts_saves_loads_updates_and_audits_clean(
    core: str, head: str, mode: str, short, tmp_path: Path
) -> None:
    before = short.up_to(short.ds[FIRST - 1])
    model = forecast.fit(before, Config.make(None, **settings(core, head, mode)))
    frame = model.predict()
    assert len(frame) == 2 * 3
    assert np.isfinite(frame.drop(columns=["unique_id", "ds", "cutoff"]).to_numpy(np.float64)).all()

    loaded = Model.load(model.save(tmp_path / "run"))
    assert loaded.predict().equals(frame)
    assert loaded.config == model.config

    rest = short.frame[short.frame["ds"] > short.ds[FIRST - 1]]
    went_on = loaded.update(rest).predict()
    read_again = model.predict(short)
    numbers = [name for name in frame if name not in ("unique_id", "ds", "cutoff")]
    assert (went_on["ds"] == read_again["ds"]).all()
    np.testing.assert_allclose(went_on[numbers].to_numpy(), read_again[numbers].to_numpy(), rtol=1e-4, atol=1e-4)
    assert not np.allclose(went_on[numbers].to_numpy(), frame[numbers].to_numpy(), rtol=1e-4)

    report = forecast.audit(model, short, origins=1, cutoffs=0)
    assert report.clean, report
    assert report.counts["forecasts"] > 0
    assert not report.notes, report.notes


@pytest.mark.slow
@pytest.mark.parametrize("core", ["esn", "mlp", "cnn", "segrnn"])  # tests/forecast/test_audit.py has the recurrent ones
def test_a_refit_audits_clean(core: str, short) -> None:
    """What is fitted, chosen and forecast at a cutoff does not move with the rows behind it."""
    config = Config.make(None, **{**TINY, "core": core})
    report = forecast.audit(core, short, origins=1, cutoffs=1, config=config)
    assert report.clean, report
    assert report.counts["refits"] > 0


@pytest.mark.parametrize(("core", "head", "mode"), REFUSED, ids=["-".join(one) for one in REFUSED])
def test_what_does_not_go_together_is_refused_with_the_reason(core: str, head: str, mode: str) -> None:
    with pytest.raises(UsageError) as caught:
        Config.make(None, **settings(core, head, mode))
    reason = refusal(core, head, mode)
    assert reason is not None
    assert reason in caught.value.message
    assert any(word in caught.value.message for word in ("; use ", "; leave "))


@pytest.mark.parametrize("core", FAMILY)
def test_settings_a_core_has_no_place_for(core: str) -> None:
    values = {"layers": 2, "dropout": 0.3, "bidirectional": True, "variational": True}
    for name, why in FAMILY[core].lacks.items():
        with pytest.raises(UsageError, match=f"{core} has no {name}") as caught:
            Config.make(None, **{"core": core, f"model.{name}": values[name]})
        assert why in caught.value.message


def test_what_is_not_said_takes_the_default_of_the_core() -> None:
    esn = Config.make(None, core="esn")
    assert (esn.model.hidden, esn.model.dropout) == (300, 0.0)
    back = esn.override(core="lstm")
    assert (back.model.hidden, back.model.dropout) == (64, 0.2)
    assert back == Config()
    assert esn.override(hidden=50).override(core="lstm").model.hidden == 50  # said by somebody
    assert Config(model=ModelConfig(core="esn")) == esn
    assert Config(model=ModelConfig(core="esn", hidden=64)).model.hidden == 64
    assert Config.make(esn.to_json()) == esn
    segrnn = Config().override(core="segrnn")
    assert (segrnn.data.mode, segrnn.data.features, segrnn.data.calendar) == ("window", "level", False)
    assert segrnn.override(core="gru") == Config().override(core="gru")
