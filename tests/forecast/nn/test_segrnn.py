"""SegRNN as published: its parameters by the formula, its values by the published steps, one GRU for both halves."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

import forecast
from forecast.config import Config
from forecast.nn.cores import build_core
from forecast.nn.network import Network
from forecast.nn.segrnn import SegmentCore, SegmentDecoder
from forecast.spans import segment_notes, settle
from pipelines.errors import UsageError

TINY = {"core": "segrnn", "hidden": 8, "epochs": 2, "threads": 1, "horizon": 12, "lookback": 24}


@pytest.mark.parametrize(
    ("d", "w", "lookback", "horizon", "series"),
    [(512, 48, 96, 96, 7), (512, 48, 720, 336, 7), (16, 4, 24, 12, 3)],
)
def test_parameters_equal_the_formula(d: int, w: int, lookback: int, horizon: int, series: int) -> None:
    config = Config.make(
        None, core="segrnn", hidden=d, segment=w, lookback=lookback, horizon=horizon, head="point",
    )  # fmt: skip
    net = Network(config, 1, 0, 0, torch.ones(horizon), series)
    m = horizon // w
    formula = w * d + d + 3 * (d * d + d * d + 2 * d) + m * d // 2 + series * d // 2 + d * w + w
    assert sum(weight.numel() for weight in net.parameters()) == formula


def test_values_equal_the_published_steps() -> None:
    """Subtract the last value, embed, read, decode every segment ahead in one step, add the last value."""
    torch.manual_seed(0)
    d, w, n, m, series = 6, 4, 5, 3, 2
    core = build_core("segrnn", 1, d, lookback=n * w, segment=w, unit=2.0).eval()
    assert isinstance(core, SegmentCore)
    decoder = SegmentDecoder(core, m * w, 1, series, 0.5).eval()
    x, which = torch.randn(3, n * w, 1), torch.tensor([1, 0, 1])
    state, _ = core(x, core.initial(3))
    got = decoder(core, state, torch.zeros(3, 1, m * w, 0), which[:, None].float())[:, 0, :, 0]
    rnn = torch.nn.GRU(d, d, batch_first=True)
    rnn.load_state_dict(core.rnn.state_dict())
    for lane in range(3):
        change = (x[lane, :, 0] - x[lane, -1, 0]) / 2.0
        embedded = torch.relu(torch.nn.functional.linear(change.view(n, w), core.embed[0].weight, core.embed[0].bias))
        _, last = rnn(embedded[None])
        ahead = []
        for step in range(m):
            token = torch.cat([decoder.place[step], decoder.series[which[lane]]])  # type: ignore[index]
            out, _ = rnn(token[None, None], last)
            ahead.append(decoder.linear(out[0, 0]))
        torch.testing.assert_close(got[lane], torch.cat(ahead), rtol=1e-5, atol=1e-6)


def test_every_step_ahead_has_seen_every_value() -> None:
    torch.manual_seed(0)
    core = build_core("segrnn", 1, 16, lookback=12, segment=3)
    assert isinstance(core, SegmentCore)
    decoder = SegmentDecoder(core, 6, 2, 1, 0.0)
    x = torch.randn(1, 12, 1, requires_grad=True)
    params = decoder(core, core(x, core.initial(1))[0], torch.zeros(1, 1, 6, 0), torch.zeros(1, 0))
    assert params.shape == (1, 1, 6, 2)
    for step in range(6):
        (gradient,) = torch.autograd.grad(params[0, 0, step, 0], x, retain_graph=True)
        assert bool((gradient != 0).all())


def test_a_series_is_known_by_its_name_and_not_by_its_position(make_panel) -> None:
    rng = np.random.default_rng(0)
    table = {name: np.sin(np.arange(300) / 4) + rng.normal(0, 0.1, 300) for name in ("a", "b", "c")}
    panel = make_panel(table, freq="h")
    model = forecast.fit(panel, **TINY)
    together = model.predict().set_index("unique_id")["segrnn"]
    for name in table:
        alone = model.predict(replace(panel, frame=panel.frame[panel.frame["unique_id"] == name]))["segrnn"]
        np.testing.assert_allclose(alone.to_numpy(), together[name].to_numpy(), rtol=1e-5)
    decoder = model.network.decoder
    assert decoder is not None
    assert decoder.series is not None
    with torch.no_grad():
        decoder.series[1] += 1.0
    after = model.predict(panel).set_index("unique_id")["segrnn"]
    np.testing.assert_allclose(after["a"].to_numpy(), together["a"].to_numpy(), rtol=1e-5)
    assert np.abs(after["b"].to_numpy() - together["b"].to_numpy()).max() > 1e-3


@pytest.mark.parametrize(
    ("lookback", "horizon", "segment"),
    [(96, 96, 48), (720, 336, 48), (96, 5, 1), (60, 24, 12), (96, 192, 48), (1, 3, 1)],
)
def test_the_segment_divides_both(lookback: int, horizon: int, segment: int, make_panel) -> None:
    panel = make_panel(np.sin(np.arange(3000) / 9), freq="h")
    config = settle(Config.make(None, core="segrnn", lookback=lookback, horizon=horizon), panel)
    assert config.model.segment == segment
    assert (config.data.mode, config.data.features, config.data.anchor) == ("window", "level", "last")


@pytest.mark.parametrize(
    ("lookback", "horizon", "said"),
    [
        (
            96,
            5,
            r"of one value: .* up to 48 .* = 96 .* = 5,.*A fit with --lookback 95 \(segments of 5\) or --horizon 6 \(",
        ),
        (96, 2, r"of 2 values: .*A fit with --horizon 4 \(segments of 4\) would have longer ones\.$"),
        (96, 24, None),
        (60, 4, None),
    ],
)
def test_short_segments_that_nobody_named_are_said(lookback: int, horizon: int, said: str | None) -> None:
    asked = Config.make(None, core="segrnn", lookback=lookback, horizon=horizon)
    notes = segment_notes(asked)
    assert len(notes) == (said is not None)
    assert said is None or re.search(said, notes[0])
    assert segment_notes(asked.override(segment=1)) == []
    assert segment_notes(asked.override(core="mlp")) == []


def test_a_fit_says_so(make_panel) -> None:
    panel = make_panel(np.sin(np.arange(300) / 9), freq="h")
    model = forecast.fit(panel, core="segrnn", lookback=16, horizon=5, hidden=4, epochs=1, threads=1)
    assert model.config.model.segment == 1
    assert [note for note in model.notes if "segments of one value" in note and "--lookback 15" in note]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"segment": 5}, "lookback is 24, no multiple of model.segment = 5; use --lookback 25"),
        ({"segment": 8}, "horizon is 12, no multiple of model.segment = 8; use --horizon 16"),
        ({"features": "relative"}, "leave data.features at level"),
        ({"anchor": "mean"}, "data.anchor at last"),
        ({"calendar": True}, "data.calendar at false"),
        ({"layers": 2}, "its GRU is one layer"),
        ({"mode": "stream"}, "use --mode window"),
    ],
)
def test_refused_before_any_data_is_read(settings: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        Config.make(None, **TINY | settings)


def test_covariates_are_refused(make_panel) -> None:
    panel = make_panel(np.sin(np.arange(300) / 9), freq="h")
    panel = replace(panel, frame=panel.frame.assign(wind=1.0), roles={"wind": "past"})
    with pytest.raises(UsageError, match="no place for 'wind'"):
        forecast.fit(panel, **TINY)
    with pytest.raises(UsageError, match="Use an even"):
        Network(Config.make(None, **TINY | {"hidden": 7, "segment": 6, "head": "point"}), 1, 0, 0, torch.ones(12), 2)
