"""Gradient health: planted decays are found, remedies act and are refused where they mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import forecast
from forecast.cli import main
from forecast.config import Config
from forecast.diagnose import conclusion, diagnose, examine, refuse, watched_fit
from forecast.diagnose_flow import Flow, flow, stretches
from forecast.diagnose_probe import Probe, part_of
from forecast.diagnose_remedies import Comparison, Outcome, Remedy, compare, remedies
from forecast.diagnose_units import _gates, _run, saturation
from forecast.family import FAMILY
from forecast.long_memory import delayed_recall, recall_origins, recall_settings
from forecast.model import build_network
from forecast.module import ForecastModule
from forecast.nn.cores import build_core, reset_state
from forecast.spans import pipeline_spec, settle
from forecast.tensors import device_chunks, tensors_of
from pipelines.batches import gather
from pipelines.errors import ToolkitError, TooShortError, UsageError
from pipelines.pipeline import Pipeline
from pipelines.plans import pieces_of, plan_streams

LAGS = 30
CPU = torch.device("cpu")


def build(panel, core: str = "rnn", **settings):
    """A settled configuration, prepared rows and an untrained net."""
    known = {"horizon": 2, "calendar": False, "hidden": 6, "dropout": 0.0, "skip": 0, "kind": "sensor"}
    config = settle(Config.make(core=core, **{**known, **settings}), panel)
    pipeline = Pipeline(pipeline_spec(config)).fit(panel)
    torch.manual_seed(0)
    return config, pipeline.transform(panel), build_network(config, pipeline)


def planted(panel, factor: float):
    """The gradient by lag of a nearly linear net whose recurrent matrix is ``factor`` times an orthogonal one."""
    config, prepared, network = build(
        panel, mode="window", lookback=LAGS
    )  # from a state of zero, which tanh leaves alone
    with torch.no_grad():
        rnn = network.core.rnn
        rnn.weight_ih_l0.mul_(1e-6)
        rnn.weight_hh_l0.copy_(factor * torch.linalg.qr(torch.randn(6, 6))[0])
    return flow(network, stretches(prepared, config, LAGS, 16))


# -- by lag ----------------------------------------------------------------------------------------
def test_a_planted_decay_is_found(sensors) -> None:
    found = planted(sensors, 0.5)
    np.testing.assert_allclose(found.share, 0.5 ** np.arange(LAGS), rtol=1e-3)
    assert found.reach == 6  # 0.5 ** 6 = 0.0156, 0.5 ** 7 = 0.0078
    assert found.verdict == "vanish"


def test_a_net_that_keeps_its_gradient_reaches_everything(sensors) -> None:
    found = planted(sensors, 1.0)
    np.testing.assert_allclose(found.share, 1.0, rtol=1e-3)
    assert (found.reach, found.verdict) == (LAGS - 1, "reach")


def test_an_explosion_is_one(sensors) -> None:
    found = planted(sensors, 1.3)
    np.testing.assert_allclose(found.growth, 1.3 ** (LAGS - 1), rtol=1e-2)
    assert found.verdict == "explode"


@pytest.mark.parametrize("core", ["rnn", "rnn-relu", "lstm", "gru"])
def test_step_by_step_is_back_propagation(sensors, core: str) -> None:
    """Gradients by the inputs, taken one step at a time, are those of one pass over the stretch."""
    config, prepared, network = build(sensors, core, layers=2)
    stretch = stretches(prepared, config, LAGS, 5)
    found = flow(network, stretch)
    network.eval()
    x = stretch.x.clone().requires_grad_()
    features, _ = network.run(x, stretch.batch.static, stretch.start(network))
    (network.loss(network.params(features[:, -1:], stretch.batch), stretch.batch) * len(x)).backward()
    np.testing.assert_allclose(found.inputs, x.grad.norm(dim=-1).mean(0).flip(0), rtol=1e-4)
    assert set(found.layers) == {"layer 1", "layer 2"}
    assert found.layers["layer 1"][0] == 0.0  # the head reads the upper layer; the lower one hands on to later steps
    assert found.layers["layer 1"][1] > 0


def test_looking_leaves_the_net_as_it_was(sensors) -> None:
    config, prepared, network = build(sensors, "lstm", skip=16)
    network.train()
    flow(network, stretches(prepared, config, LAGS, 5))
    assert network.training
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())


@pytest.mark.parametrize("settings", [{"bidirectional": True, "core": "gru"}, {"core": "mlp"}, {"core": "cnn"}])
def test_windows_are_measured_by_their_inputs(sensors, settings: dict) -> None:
    config, prepared, network = build(sensors, mode="window", lookback=12, **settings)
    found = flow(network, stretches(prepared, config, 12, 8))
    assert found.measure == "input"
    assert found.norms.shape == (12,)
    assert (found.norms[:6] > 0).all()


def test_too_few_rows(sensors) -> None:
    config, prepared, _ = build(sensors)
    with pytest.raises(TooShortError, match="Use --lags"):
        stretches(prepared, config, 5000, 8)


def test_conclusions() -> None:
    def said(norms, core: str = "rnn", steps: int = 20, **settings) -> str:
        norms = np.asarray(norms, float)
        return conclusion(Flow(norms, norms, "state"), Config.make(core=core, **settings), steps)

    decay = 0.5 ** np.arange(20)  # reaches 6 steps
    assert said(decay) == (
        "gradients vanish beyond 6 steps (below 1 % of the largest), well before k2 = 20 ends: "
        "use lstm or gru, a longer k2 alone is unlikely to help"
    )
    assert said(decay, "lstm").endswith(
        "ends: let gates begin open (model.init=chrono), a longer k2 alone is unlikely to help"
    )
    chrono = said(decay, "lstm", init="chrono")
    assert chrono.endswith("though gates began open (model.init=chrono): a longer k2 alone is unlikely to help")
    for core in ("rnn", "gru"):
        assert said(decay, core, steps=4).endswith("but k2 is only 4: a longer k2 may learn more")
    assert said(decay, mode="window").endswith("use lstm or gru, a longer lookback alone is unlikely to help")
    assert said(decay, "mlp").endswith("ends: a longer lookback alone is unlikely to help")
    assert said(np.ones(20)) == (
        "gradients reach the whole of k2 = 20, where they are still 100 % of the largest: a longer k2 may learn more"
    )
    assert said(0.8 ** np.arange(20)).endswith("still 1 % of the largest: a longer k2 may learn more")
    assert said(np.ones(20), mode="window").endswith("100 % of the largest: a longer lookback may learn more")
    assert said(np.ones(20), steps=64).endswith(
        "all of the 19 steps looked at, where they are still 100 % of the largest"
    )
    assert "19 steps back they are 524,288 times" in said(2.0 ** np.arange(20))
    assert "explode" in said([1.0, np.inf])
    assert "cannot learn" in said(np.zeros(20))


@pytest.mark.parametrize(
    ("core", "settings", "said"),
    [
        ("gru", {}, "and no gradient came from farther back than k2 = 12: try a longer k2"),
        ("rnn", {}, "and no gradient came from farther back than k2 = 12: try a longer k2 or use lstm or gru"),
        ("gru", {"mode": "window"}, "and the net saw nothing farther back than lookback = 12: try a longer lookback"),
    ],
)
def test_a_reach_that_k2_may_have_cut_off_is_no_reason_against_a_longer_one(core, settings, said) -> None:
    norms = 0.5 ** np.arange(12)  # reaches 6 steps: half of k2
    told = conclusion(Flow(norms, norms, "state"), Config.make(core=core, **settings), 12)
    assert told == f"gradients vanish beyond 6 steps (below 1 % of the largest), {said}"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "keep clipping (train.clip), use lstm or gru or shorten k2"),
        (
            {"train.clip_value": 0.1, "train.clip": 0.0},
            "keep clipping (train.clip_value), use lstm or gru or shorten k2",
        ),
        ({"train.clip": 0.0}, "turn clipping on (train.clip=1), use lstm or gru or shorten k2"),
        ({"train.clip": 0.0, "core": "gru"}, "turn clipping on (train.clip=1) or shorten k2"),
    ],
)
def test_clipping_that_is_off_cannot_be_kept(settings, said) -> None:
    norms = 2.0 ** np.arange(20)
    told = conclusion(Flow(norms, norms, "state"), Config.make(**{"core": "rnn", **settings}), 20)
    assert told.endswith(said)


# -- units -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["LSTM", "GRU"])
def test_gates_are_those_that_made_the_states(mode: str) -> None:
    rnn = getattr(nn, mode)(3, 5, batch_first=True)
    x, begin = torch.randn(2, 7, 3), tuple(torch.randn(2, 5) for _ in range(2 if mode == "LSTM" else 1))
    with torch.no_grad():
        hidden = _run(rnn, x, begin, rnn.all_weights[0])
        before = torch.cat([begin[0][:, None], hidden[:, :-1]], dim=1)
        gates = {name: values for name, _, values in _gates(rnn, x, before, hidden, rnn.all_weights[0])}
        if mode == "GRU":
            update = gates["update gate"]
            torch.testing.assert_close((1 - update) * gates["candidate"] + update * before, hidden)
            return
        cell = begin[1]
        for t in range(7):
            cell = gates["forget gate"][:, t] * cell + gates["input gate"][:, t] * gates["candidate"][:, t]
            torch.testing.assert_close(gates["output gate"][:, t] * cell.tanh(), hidden[:, t])


def test_planted_saturation(sensors) -> None:
    config, prepared, network = build(sensors, "lstm")
    with torch.no_grad():
        network.core.rnn.bias_ih_l0[:6] = -50.0
        network.core.rnn.bias_ih_l0[6:12] = 50.0
    stretch = stretches(prepared, config, LAGS, 5)
    found = {one.name: one for one in saturation(network, stretch.x, stretch.batch.static, stretch.start(network))}
    assert (found["input gate"].low, found["input gate"].high) == (1.0, 0.0)
    assert (found["forget gate"].low, found["forget gate"].high) == (0.0, 1.0)
    assert found["forget gate"].text == "0 % shut, 100 % open"

    config, prepared, network = build(sensors, "rnn-relu", layers=2)
    with torch.no_grad():
        network.core.rnn.bias_ih_l0[:3] = -1e3
        network.core.rnn.weight_hh_l0[:3] = 0.0
    first, second = saturation(network, stretch.x, stretch.batch.static, network.initial(len(stretch.x)))
    assert first.dead == 0.5
    assert second.layer == "layer 2"
    config, prepared, network = build(sensors, "gru", mode="window", lookback=12, bidirectional=True)
    names = {one.layer for one in saturation(network, stretch.x, stretch.batch.static, network.initial(len(stretch.x)))}
    assert names == {"layer 1", "layer 1 backward"}


@pytest.mark.parametrize("core", ["mlp", "cnn"])
def test_dead_units_of_nets_on_windows(sensors, core: str) -> None:
    config, prepared, network = build(sensors, core, mode="window", lookback=12)
    first = next(module for module in network.core.modules() if isinstance(module, nn.Linear | nn.Conv1d))
    with torch.no_grad():
        first.bias[:3] = -1e3
    stretch = stretches(prepared, config, 12, 8)
    found = saturation(network, stretch.x, stretch.batch.static, network.initial(len(stretch.x)))
    assert found[0].kind == "relu"
    assert 0.5 <= found[0].dead < 1
    assert found[0].low >= found[0].dead


def test_a_model_that_has_read_other_rows_is_told_to_read_its_own(make_panel) -> None:
    y = np.random.default_rng(0).normal(size=200)
    model = forecast.fit(make_panel(y), horizon=2, hidden=4, epochs=1)
    with pytest.raises(UsageError, match=r"its training rows, .* end at 2020-.*model\.read\(panel\)"):
        diagnose(model.read(make_panel(y, start="2021-01-01")))


# -- over training ---------------------------------------------------------------------------------
def test_the_probe_sees_norms_before_clipping_and_changes_nothing(random_walk) -> None:
    config = Config.make(
        horizon=2,
        hidden=4,
        epochs=2,
        k1=16,
        core="rnn",
        **{"train.clip": 0.05, "model.dropout": 0.0, "train.threads": 1},
    )
    model, seen = watched_fit(random_walk, config)
    assert seen is not None
    assert len(seen.norm) == model.facts["training"]["updates"]
    assert seen.norm.max() > 0.05
    assert seen.clipped == pytest.approx(np.mean(seen.norm > 0.05))
    assert seen.clipped > 0
    assert set(seen.layers) >= {"layer 1", "head"}
    np.testing.assert_allclose(np.sqrt(sum(part**2 for part in seen.layers.values())), seen.norm)
    plain = forecast.fit(random_walk, config)
    for mine, theirs in zip(model.network.parameters(), plain.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_clipping_by_value_is_counted() -> None:
    net = nn.Linear(2, 1, bias=False)
    probe = Probe()
    for gradient in ([0.3, 0.0], [0.1, 0.1], [0.0, 0.0]):
        net.weight.grad = torch.tensor([gradient])
        probe(net)
    seen = probe.training(Config.make(clip_value=0.2, **{"train.clip": 0.0}).train)
    assert seen is not None
    assert seen.clipped == pytest.approx(1 / 3)
    assert seen.norm.tolist() == pytest.approx([0.3, 0.02**0.5, 0.0])
    assert probe.training(Config.make(**{"train.clip": 0.0}).train).clipped is None
    assert Probe().training(Config().train) is None


@pytest.mark.parametrize(
    ("name", "part"),
    [("core.rnn.weight_ih_l1", "layer 2"), ("core.rnn.bias_hh_l0_reverse", "layer 1"), ("head.linear.bias", "head"),
     ("core.net.0.weight", "core"), ("skip.weight", "skip")],
)  # fmt: skip
def test_parts(name: str, part: str) -> None:
    assert part_of(name) == part


# -- remedies --------------------------------------------------------------------------------------
def one_step(panel, **settings) -> tuple[ForecastModule, list[torch.Tensor]]:
    """The weights' change in the first update on one chunk."""
    config, prepared, network = build(panel, "gru", **{"optimizer": "sgd", "lr": 1.0, "weight_decay": 0.0, **settings})
    module = ForecastModule(network, config)
    [optimizer] = [module.configure_optimizers()]
    module.optimizers = lambda use_pl_optimizer=True: optimizer  # type: ignore[method-assign,assignment]
    module._nobody_listens = lambda: True  # type: ignore[method-assign]
    before = [weight.detach().clone() for weight in network.parameters()]
    chunk = plan_streams(pieces_of(prepared), 4, 16)[0]
    batch = gather(tensors_of(prepared, None, CPU), device_chunks([chunk], CPU)[0])
    module.training_step([batch], 0)
    return module, [weight.detach() - old for weight, old in zip(network.parameters(), before, strict=True)]


def test_clipping_by_value_and_by_norm(sensors) -> None:
    off = {"train.clip": 0.0}
    _, free = one_step(sensors, **off)
    _, cut = one_step(sensors, clip_value=1e-3, **off)
    for mine, theirs in zip(cut, free, strict=True):
        torch.testing.assert_close(mine, theirs.clamp(-1e-3, 1e-3), rtol=1e-3, atol=1e-7)
    assert max(float(part.abs().max()) for part in free) > 1e-2
    _, short = one_step(sensors, **{"train.clip": 1e-2})
    assert float(torch.cat([part.flatten() for part in short]).norm()) == pytest.approx(1e-2, rel=1e-3)


@pytest.mark.parametrize("setting", ["activation", "slowness"])
def test_penalties_are_what_they_say(sensors, setting: str) -> None:
    config, prepared, network = build(sensors, "lstm")
    chunk = plan_streams(pieces_of(prepared), 4, 16)[0]
    batch = gather(tensors_of(prepared, None, CPU), device_chunks([chunk], CPU)[0])
    features, _ = network.run(batch.x, batch.static, network.initial(4))
    size = features.square().mean() if setting == "activation" else features.diff(dim=1).square().mean()
    plain = ForecastModule(network, config).chunk_loss(batch)
    held = ForecastModule(network, config.override(**{setting: 2.0})).chunk_loss(batch)
    torch.testing.assert_close(held - plain, 2.0 * size)
    gradients = [torch.autograd.grad(loss, network.core.rnn.weight_hh_l0)[0] for loss in (plain, held)]
    assert not torch.allclose(*gradients, rtol=1e-3)


@pytest.mark.parametrize("setting", ["activation", "slowness"])
def test_penalties_count_what_the_loss_counts(make_panel, setting: str) -> None:
    """Padding, idle lanes and the rows that chunks share (k2 > k1) weigh nothing, or once."""
    panel = make_panel({"long": np.sin(np.arange(90) / 3), "short": np.cos(np.arange(37) / 5)}, freq="h")
    config, prepared, network = build(panel, "lstm")
    module = ForecastModule(network, config.override(**{setting: 2.0}))
    plain = ForecastModule(network, config)
    source, seen = tensors_of(prepared, None, CPU), 0
    for chunk in plan_streams(pieces_of(prepared), 3, 16, 24):
        batch = gather(source, device_chunks([chunk], CPU)[0])
        state = reset_state(module._state or network.initial(3), batch.reset)
        with torch.no_grad():
            first, carry = network.run(batch.x[:, : batch.stride], batch.static, state)
            rest = network.run(batch.x[:, batch.stride :], batch.static, carry)[0]
            features = torch.cat([first, rest], dim=1)
            sizes = []
            for lane, low, high in zip(features, chunk.counted_from, chunk.valid, strict=True):
                value = lane if setting == "activation" else torch.cat([lane[:1] * torch.nan, lane.diff(dim=0)])
                part = value[low:high].square()
                sizes.append(part[~part.isnan()])
            added = module.chunk_loss(batch) - plain.chunk_loss(batch)
        seen += int((chunk.valid - chunk.counted_from).clip(0).sum())
        every = torch.cat(sizes)
        torch.testing.assert_close(added, 2.0 * every.sum() / max(1, len(every)), rtol=1e-4, atol=1e-6)
    assert seen == 127


def test_momentum_and_sgd(sensors) -> None:
    for name, kind in (("sgd", torch.optim.SGD), ("rmsprop", torch.optim.RMSprop)):
        config, _, network = build(sensors, "gru", optimizer=name, momentum=0.7)
        optimizer = ForecastModule(network, config).configure_optimizers()
        assert isinstance(optimizer, kind)
        assert optimizer.param_groups[0]["momentum"] == 0.7


def test_open_gates_keep_up_to_k2_steps(sensors) -> None:
    torch.manual_seed(0)
    lstm = build_core("lstm", 3, 400, init="chrono", memory=100).requires_grad_(False).rnn
    keep = torch.exp(lstm.bias_ih_l0[400:800])  # U(1, 99)
    assert 1 <= keep.min() < 5 < 90 < keep.max() <= 99.001
    torch.testing.assert_close(lstm.bias_ih_l0[:400], -lstm.bias_ih_l0[400:800])
    gru = build_core("gru", 3, 400, init="chrono", memory=100).requires_grad_(False).rnn
    assert float(gru.bias_ih_l0[400:800].exp().max()) > 90
    assert not gru.bias_ih_l0[:400].any()
    _, _, network = build(sensors, "lstm", init="chrono", k1=8, k2=24, hidden=200)
    assert 15 < float(network.core.rnn.bias_ih_l0.detach()[200:400].exp().max()) <= 23.001
    _, _, torches = build(sensors, "rnn", init="torch")
    assert float(torches.core.rnn.weight_hh_l0.detach().abs().max()) <= 6**-0.5
    assert torches.core.rnn.bias_hh_l0.any()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"core": "rnn", "init": "chrono"}, "has none"),
        ({"core": "mlp", "init": "identity"}, "its own way"),
        ({"core": "mlp", "slowness": 1.0}, "time order"),
        ({"core": "gru", "mode": "window", "bidirectional": True, "slowness": 1.0}, "time order"),
        ({"momentum": 0.9}, "adamw has its own"),
        ({"clip_value": -1.0}, "clip_value"),
        ({"activation": -1.0}, "activation"),
        ({"init": "orthogonally"}, "init"),
    ],
)
def test_refusals(settings: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        Config.make(**settings)


@pytest.mark.parametrize("core", [name for name, member in FAMILY.items() if not member.gradient])
def test_nets_without_gradients_are_refused(core: str) -> None:
    with pytest.raises(UsageError, match="not trained by gradients"):
        refuse(Config.make(core=core))
    with pytest.raises(UsageError, match="acts on gradients"):
        Config.make(core=core, clip_value=1.0)


def test_every_remedy_changes_something_and_is_allowed(random_walk) -> None:
    for core in ("rnn", "rnn-relu", "lstm", "gru", "mlp"):
        config = settle(Config.make(core=core, horizon=2), random_walk)
        found = remedies(config)
        names = [one.name for one in found]
        assert names[0] == "as given"
        assert len(set(names)) == len(names)
        assert all(config.override(**one.settings) != config for one in found[1:])
        assert ("open gates" in names) == (core in ("lstm", "gru"))
        assert ("slowness penalty 0.1" in names) == (core != "mlp")
    names = {one.name for one in remedies(settle(Config.make(core="rnn", k1=64), random_walk))}
    assert names >= {
        "no clipping",
        "clip value 0.01",
        "identity weights",
        "rmsprop",
        "lstm",
        "gru",
        "relu, identity weights",
    }
    assert {name for name in names if name.startswith("k2")} == {"k2 = 16", "k2 = 128"}


def test_compare(random_walk) -> None:
    told: list[str] = []
    quick = {"core": "rnn", "horizon": 2, "hidden": 4, "epochs": 1, "threads": 1}
    found = compare(random_walk, only=["gru", "no clipping"], stage=told.append, **quick)
    assert [one.remedy.name for one in found.outcomes] == ["as given", "no clipping", "gru"]
    assert told[0] == "1/3 as given"
    assert [one.clipped is None for one in found.outcomes] == [False, True, False]
    assert all(one.stop_loss is not None and one.reach is not None and one.seconds > 0 for one in found.outcomes)
    assert "stop loss" in found.text
    json.dumps(found.to_json(), allow_nan=False)
    with pytest.raises(UsageError, match="Did you mean 'lstm'"):
        compare(random_walk, only=["lstn"], **quick)


def test_the_first_line_does_not_pay_for_imports() -> None:
    code = """
import sys
from forecast import diagnose_remedies as remedies
from forecast.long_memory import delayed_recall
def fit(*args):
    print("forecast.train" in sys.modules, "sklearn.preprocessing" in sys.modules)
    sys.exit()
remedies.watched_fit = fit
remedies.compare(delayed_recall(2), core="rnn")
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["True", "True"]


def test_a_remedy_that_fails_is_a_line(random_walk) -> None:
    found = compare(random_walk, only=["no clipping"], core="rnn-relu", horizon=2, epochs=1, lr=1e30, threads=1)
    assert {one.verdict for one in found.outcomes} == {"failed"}
    assert "every fit failed" in found.text

    def line(name: str, loss: float | None) -> Outcome:
        return Outcome(Remedy(name, {}), loss, 1, 1, 8, "reach", None, 0.1)

    assert "nothing beat" in Comparison([line("as given", 1.0), line("gru", 2.0)]).text
    assert "has gru: 50.0 % below" in Comparison([line("as given", 2.0), line("gru", 1.0)]).text
    assert "as given training failed" in Comparison([line("as given", None), line("gru", 1.0)]).text


# -- the built-in series ---------------------------------------------------------------------------
def test_the_series_asks_for_memory_and_leaves_no_short_cut() -> None:
    panel = delayed_recall(20, 1500, seed=1)
    rows = recall_origins(panel)
    value, marker, y = (panel.column(name) for name in ("value", "marker", "y"))
    assert len(rows) == 1500
    assert (marker[rows - 20] == 1).all()
    assert marker.sum() == 1500
    np.testing.assert_array_equal(y[rows + 1], value[rows - 20])
    assert (y[rows] == 0).all()
    # what the net reads at the origin alone does not tell what is due
    config = settle(Config.make(recall_settings(20)), panel)
    prepared = Pipeline(pipeline_spec(config)).fit(panel).transform(panel)
    x = np.column_stack([prepared.x[rows], np.ones(len(rows))])
    fitted, tested = slice(0, 1000), slice(1000, None)
    weights = np.linalg.lstsq(x[fitted], y[rows + 1][fitted], rcond=None)[0]
    wrong = y[rows + 1][tested] - x[tested] @ weights
    assert 1 - np.mean(wrong**2) / np.var(y[rows + 1][tested]) < 0.05
    for bad in (1, 501):
        with pytest.raises(UsageError, match="delay"):
            delayed_recall(bad)
    with pytest.raises(UsageError, match="blocks"):
        delayed_recall(20, 5)


@pytest.mark.slow
def test_memory_is_learned_where_gradients_reach() -> None:
    from forecast.long_memory import explained

    panel = delayed_recall(30, 1000)
    scores, reach = {}, {}
    for core, init in (("rnn", "torch"), ("gru", "chrono")):
        model, training = watched_fit(panel, Config.make(recall_settings(30), core=core, init=init, updates=300))
        scores[core], reach[core] = explained(model, panel), examine(model, training).begin.reach
    assert scores["rnn"] < 0.1
    assert scores["gru"] > 0.9
    assert reach["rnn"] < 15
    assert reach["gru"] >= 30


# -- the whole -------------------------------------------------------------------------------------
def test_of_a_panel_and_of_a_model(random_walk, tmp_path: Path) -> None:
    found = forecast.diagnose(random_walk, core="gru", horizon=2, hidden=4, epochs=1, threads=1, layers=2)
    assert found.training is not None
    assert found.steps == len(found.flow.norms)
    assert str(found).startswith(found.text)
    document = found.to_json()
    json.dumps(document, allow_nan=False)
    assert set(document) == {
        "schema", "model", "verdict", "text", "notes", "steps", "reach", "by_lag", "before_training", "saturation",
        "training", "config",
    }  # fmt: skip
    found.plot(tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes()[:4] == b"\x89PNG"
    model = forecast.fit(random_walk, core="gru", horizon=2, hidden=4, epochs=1, threads=1, layers=2)
    again = diagnose(model, lags=20)
    assert again.training is None
    assert len(again.flow.norms) == 20
    np.testing.assert_allclose(diagnose(model).flow.norms, found.flow.norms)
    for bad, says in (({"horizon": 3}, "takes no settings"), ({"lags": 1}, "lags is 1"), ({"origins": 0}, "origins")):
        with pytest.raises(UsageError, match=says):
            diagnose(model, **bad)


def test_before_training_is_the_net_training_began_with(random_walk) -> None:
    settings = {"core": "rnn", "horizon": 2, "hidden": 4, "epochs": 1, "threads": 1, "average": 0.0, "lr": 1e-12}
    found = forecast.diagnose(random_walk, weight_decay=0.0, **settings)
    np.testing.assert_allclose(found.flow.norms, found.begin.norms, rtol=1e-4)


def test_of_windows(random_walk, tmp_path: Path) -> None:
    settings = {"mode": "window", "lookback": 12, "horizon": 2, "hidden": 4, "epochs": 1, "threads": 1}
    for core, measure in (("lstm", "state"), ("mlp", "input")):
        found = forecast.diagnose(random_walk, core=core, **settings)
        assert (found.flow.measure, len(found.flow.norms), found.steps) == (measure, 12, 12)
        found.plot(tmp_path / f"{core}.png")
    model = forecast.fit(random_walk, core="lstm", **settings)
    with pytest.raises(UsageError, match="a window of this model has 12 rows"):
        diagnose(model, lags=13)


QUICK = ["--ticker", "^GSPC", "--source", "sample", "--epochs", "1", "--set", "model.hidden=4", "--threads", "1"]


def call(*words: str, capsys) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of the command in this process."""
    import sys

    before, sys.argv = sys.argv, ["forecast", *words]
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = before
    return code, *capsys.readouterr()


def test_the_command(random_walk, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    random_walk.frame.drop(columns="unique_id").to_csv("a.csv", index=False)
    data = ["--csv", "a.csv", "--time", "ds", "--target", "y", "--freq", "B", *QUICK[4:]]
    assert call("fit", *data, "--out", "run", "--json", capsys=capsys)[0] == 0
    code, out, _ = call("diagnose", "run", "--json", capsys=capsys)
    document = json.loads(out)
    assert (code, document["schema"], document["training"]) == (0, 1, None)
    assert (tmp_path / "run" / "diagnose.png").is_file()
    assert call("predict", "run", "--json", capsys=capsys)[0] == 0  # the run folder is whole
    code, out, _ = call("diagnose", *data, "--model", "rnn", "--out", "a.png", capsys=capsys)
    assert code == 0
    assert "Gradient of the loss by the state" in out
    assert "Saturation" in out
    assert (tmp_path / "a.png").is_file()
    code, out, _ = call("diagnose", *data, "--compare", "--remedy", "gru", "--json", capsys=capsys)
    assert code == 0
    assert [one["remedy"]["name"] for one in json.loads(out)["outcomes"]] == ["as given", "gru"]
    words = ["--set", "model.core=lstm", "--compare", "--remedy", "plain rnn"]  # --set is heard: the base is an lstm
    assert call("diagnose", *data, *words, capsys=capsys)[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "there is nothing to look at"),
        (["gone"], "not a run folder"),
        (["gone", "--compare"], "--compare goes with"),
        (["gone", "--model", "gru"], "--model goes with"),
        (["gone", "--ticker", "A"], "--ticker goes with"),
        (["--delay", "30", "--ticker", "A"], "data of its own"),
        (["--delay", "1"], "delay is 1"),
        ([*QUICK, "--remedy", "gru"], "--remedy goes with --compare"),
        ([*QUICK, "--compare", "--lags", "9"], "--lags does not go with"),
        ([*QUICK, "--lags", "1"], "lags is 1"),
        ([*QUICK, "--out", "a.csv"], "expected the name of a PNG"),
        ([*QUICK, "--out", "a.csv/b.png"], "cannot be written"),
    ],
)
def test_wrong_usage(words: list[str], says: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("a,b\n")
    code, out, err = call("diagnose", *words, capsys=capsys)
    assert (tmp_path / "a.csv").read_text() == "a,b\n"
    assert code in (2, 5)
    assert says in " ".join(err.split())
    assert "Traceback" not in err
    assert not out or words[:1] == ["--ticker"]
    assert issubclass(UsageError, ToolkitError)
