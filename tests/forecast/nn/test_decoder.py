"""The recurrent decoder: one layer over the steps ahead, begun by the encoder, causal along them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import forecast
from forecast.config import Config
from forecast.nn import decoder as module
from forecast.nn.cores import build_core
from forecast.nn.decoder import RecurrentDecoder
from forecast.sections import RECURRENT
from pipelines.errors import UsageError
from pipelines.panel import Panel

LANES, STEPS, FEATURES, HIDDEN, HORIZON, FUTURE, WIDTH = 3, 4, 6, 5, 7, 2, 3


def make(kind: str) -> tuple[RecurrentDecoder, nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    built = RecurrentDecoder(kind, FEATURES, HIDDEN, HORIZON, FUTURE, WIDTH, dropout=0.3).eval()
    features = torch.randn(LANES, STEPS, FEATURES)
    return built, build_core(kind, 2, FEATURES), features, torch.randn(LANES, STEPS, HORIZON, FUTURE)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_equals_one_cell_at_a_time(kind: str) -> None:
    built, core, features, future = make(kind)
    rnn = built.core.rnn
    cell = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}[kind](rnn.input_size, HIDDEN)
    with torch.no_grad():
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(cell, name).copy_(getattr(rnn, f"{name}_l0"))
        found = built(core, features, future, torch.zeros(LANES, 0))
        assert found.shape == (LANES, STEPS, HORIZON, WIDTH)
        begin = built.bridge(features[1, 2])[None]
        state = torch.tanh(begin[:, :HIDDEN])
        state = (state, begin[:, HIDDEN:]) if kind == "lstm" else state
        for h in range(HORIZON):
            state = cell(torch.cat([built.place[h], future[1, 2, h]])[None], state)
            hidden = state[0] if kind == "lstm" else state
            torch.testing.assert_close(found[1, 2, h], built.linear(hidden)[0], rtol=1e-5, atol=1e-6)


def test_origins_are_decoded_alone_and_in_parts_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    built, core, features, future = make("gru")
    with torch.no_grad():
        whole = built(core, features, future, torch.zeros(LANES, 0))
        alone = built(core, features[1:2, 2:3], future[1:2, 2:3], torch.zeros(1, 0))
        monkeypatch.setattr(module, "AT_ONCE", 5 * HORIZON * HIDDEN)
        parts = built(core, features, future, torch.zeros(LANES, 0))
    torch.testing.assert_close(alone[0, 0], whole[1, 2])
    torch.testing.assert_close(parts, whole)


def test_every_step_reads_the_newest_observation_and_covariates_up_to_its_own() -> None:
    built, core, features, future = make("lstm")
    features.requires_grad_()
    future.requires_grad_()
    found = built(core, features, future, torch.zeros(LANES, 0))
    for h in range(HORIZON):
        by_state, by_known = torch.autograd.grad(found[0, 1, h].sum(), (features, future), retain_graph=True)
        assert by_state[0, 1].abs().sum() > 0 and by_state[0, 2].abs().sum() == 0
        reached = by_known[0, 1].abs().sum(-1) > 0
        assert reached[: h + 1].all() and not reached[h + 1 :].any()


@pytest.mark.parametrize("head", ["point", "quantile", "gaussian", "student-t", "direction", "categorical"])
def test_heads_and_modes(head: str, make_panel) -> None:
    rng = np.random.default_rng(0)
    panel = make_panel({"a": 10 + np.sin(np.arange(150) / 4) + rng.normal(0, 0.1, 150)}, freq="h")
    for shape in ({"mode": "stream"}, {"mode": "window", "bidirectional": True, "lookback": 12}):
        model = forecast.fit(
            panel, core="gru", decoder="recurrent", head=head, **shape, horizon=6,
            hidden=4, epochs=1, threads=1, **({} if head == "categorical" else {"skip": 8}),
        )  # fmt: skip
        frame = model.predict()
        rows = model.forecast_rows(panel, np.array([60, len(panel) - 1]))
        np.testing.assert_allclose(rows.point[1], frame["gru"], rtol=1e-5)
        assert np.isfinite(rows.point).all()
        assert "linear.weight" in dict(model.network.decoder.named_parameters())
        assert not list(model.network.head.parameters())


def test_a_known_value_moves_no_earlier_step(make_panel) -> None:
    rng = np.random.default_rng(0)
    plain = make_panel(rng.normal(size=150).cumsum(), freq="h")
    panel = Panel(plain.frame.assign(known=rng.normal(size=150)), plain.grid, {"known": "future"})
    model = forecast.fit(panel, decoder="recurrent", head="point", horizon=5, hidden=4, epochs=1, threads=1)
    frame = panel.frame.copy()
    frame.loc[103, "known"] += 1
    other = Panel(frame, panel.grid, panel.roles)
    before, after = (model.forecast_rows(one, np.array([100])).point[0] for one in (panel, other))
    assert np.array_equal(before[:2], after[:2]) and (before[2:] != after[2:]).all()


@pytest.mark.slow
def test_a_decoder_learns_what_the_season_needs(make_panel) -> None:
    """A pure season: eight steps ahead from one state, far better than the last value."""
    t = np.arange(900)
    panel = make_panel(10 + np.sin(2 * np.pi * t / 12), freq="h")
    model = forecast.fit(
        panel, core="gru", decoder="recurrent", head="point", horizon=8, hidden=16, updates=300, k1=16, lanes=8,
        dropout=0.0, calendar=False, skip=0, threads=1,
    )  # fmt: skip
    rows = np.arange(800, 892)
    y = panel.column("y")
    truth = y[rows[:, None] + np.arange(1, 9)]
    error = np.abs(model.forecast_rows(panel, rows).point - truth).mean()
    assert error < 0.2 * np.abs(y[rows][:, None] - truth).mean()


def test_what_has_no_decoder_says_so() -> None:
    for core in ("mlp", "cnn", "esn", "segrnn"):
        with pytest.raises(UsageError, match=f"goes with {', '.join(RECURRENT)}"):
            Config.make(None, core=core, decoder="recurrent")
    with pytest.raises(UsageError, match="nothing to decode"):
        Config.make(None, decoder="recurrent", strategy="recursive")


def test_initial_weights_reach_the_decoder(make_panel) -> None:
    panel = make_panel(np.sin(np.arange(400) / 4), freq="h")
    shape = {"core": "rnn-relu", "decoder": "recurrent", "head": "point", "horizon": 3, "hidden": 5, "threads": 1}

    class Seen(Exception):
        """Raised before the first update."""

    def look(net: nn.Module) -> None:
        raise Seen(net)

    weights = []
    for init in ("identity", "orthogonal"):
        with pytest.raises(Seen) as seen:
            forecast.fit(panel, **shape, init=init, probe=look)
        weights.append(seen.value.args[0].decoder.core.rnn.weight_hh_l0.detach())
    assert torch.equal(weights[0], torch.eye(5))
    assert not torch.equal(weights[1], torch.eye(5))
