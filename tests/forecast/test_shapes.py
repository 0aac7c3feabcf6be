"""Every shape of docs/shapes.md: its example runs as printed, the tensors are as it says; padding counts nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import forecast
from forecast.config import Config
from forecast.model import Model, build_network
from forecast.module import ForecastModule
from forecast.nn.decoder import RecurrentDecoder
from forecast.spans import pipeline_spec, settle
from forecast.tensors import device_chunks, tensors_of
from pipelines.batches import Batch, gather
from pipelines.panel import Panel
from pipelines.pipeline import Pipeline
from pipelines.plans import Chunk, pieces_of, plan_streams, plan_windows
from pipelines.prepared import Prepared

TINY = {"hidden": 4, "epochs": 1, "threads": 1, "k1": 16, "lanes": 4}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "shapes.md"
EXAMPLES = {
    heading.strip(): code
    for heading, code in re.findall(
        r"^## (.+?)$(?:(?!^## ).)*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.M | re.S
    )
}
SHAPES = {  # rows read, origins, steps ahead of a training batch with 4 lanes
    "One to one": (1, 1, 1),
    "One to many": (1, 1, 6),
    "Many to one": (24, 1, 1),
    "Many to many, same length": (16, 16, 1),
    "Many to many, other length": (24, 1, 6),
    "Several steps: direct or recursive": (16, 16, 1),
}


@pytest.fixture(scope="module")
def panel(make_panel) -> Panel:
    rng = np.random.default_rng(0)
    t = np.arange(170)
    return make_panel({name: 10 + np.sin(t / 4) + rng.normal(0, 0.1, 170) for name in "ab"}, freq="h")


def batch_of(model: Model, panel: Panel) -> Batch:
    """The first batch that training reads."""
    prepared = model.pipeline.transform(panel)
    data, pieces = model.config.data, pieces_of(prepared)
    chunks: list[Chunk]
    if data.mode == "window":
        chunks = plan_windows(pieces, data.lookback, int(data.lanes), None)
    else:
        chunks = plan_streams(pieces, int(data.lanes), int(data.k1))
    cpu = torch.device("cpu")
    return gather(tensors_of(prepared, None, cpu), device_chunks(chunks[:1], cpu)[0])


def test_the_page_has_an_example_of_every_shape() -> None:
    assert set(EXAMPLES) == set(SHAPES)


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape: str, panel: Panel) -> None:
    told = SimpleNamespace(fit=lambda panel, **named: forecast.fit(panel, Config.make(None, **TINY), **named))
    names = {"forecast": told, "panel": panel}
    exec(EXAMPLES[shape], names)
    model = names["model"]
    assert isinstance(model, Model)
    read, origins, ahead = SHAPES[shape]
    batch = batch_of(model, panel)
    width = len(model.pipeline.feature_names)
    with torch.no_grad():
        params, state = model.network(batch, model.network.initial(4))
    assert batch.x.shape == (4, read, width)
    assert batch.y.shape == batch.mask.shape == (4, origins, ahead)
    assert params.shape == (4, origins, ahead, model.network.head.parameters_per_step)
    assert all(part.shape[0] == 4 for part in state)
    assert batch.mask.all()  # every origin has its targets, at every step of a stream too
    frame = model.predict()
    assert len(frame) == 2 * model.horizon and frame[model.name].notna().all()
    assert isinstance(model.network.decoder, RecurrentDecoder) == ("other length" in shape)
    assert (model.config.data.strategy == "recursive") == ("recursive" in shape)


# -- series of different lengths -----------------------------------------------------------------
LENGTHS = (30, 200, 1000)


@pytest.fixture(scope="module")
def uneven(make_panel) -> Panel:
    rng = np.random.default_rng(0)
    return make_panel({f"s{n}": 10 + np.sin(np.arange(n) / 4) + rng.normal(0, 0.1, n) for n in LENGTHS}, freq="h")


def untrained(panel: Panel, **own: object) -> tuple[ForecastModule, Prepared, list[Chunk]]:
    """A net under its module, the rows, and a pass over all of them."""
    config = settle(Config.make(None, **{**TINY, "horizon": 3, "dropout": 0.0, "skip": 12, "k1": 32, **own}), panel)
    pipeline = Pipeline(pipeline_spec(config)).fit(panel)
    prepared = pipeline.transform(panel)
    torch.manual_seed(0)
    module = ForecastModule(build_network(config, pipeline), config)
    return module, prepared, plan_streams(pieces_of(prepared), int(config.data.lanes), int(config.data.k1))


@pytest.mark.parametrize("own", [{"core": "lstm"}, {"core": "gru", "head": "point", "decoder": "recurrent"}])
def test_padding_carries_no_loss_and_no_gradient(uneven: Panel, own: dict[str, object]) -> None:
    """One pass over series of 30, 200 and 1,000 rows, then again with noise where there are no rows."""
    module, prepared, plan = untrained(uneven, **own)
    cpu = torch.device("cpu")
    source, chunks = tensors_of(prepared, None, cpu), device_chunks(plan, cpu)
    counted = 0

    def one_pass(noise: float) -> tuple[list[float], list[torch.Tensor]]:
        nonlocal counted
        counted = 0
        torch.manual_seed(1)
        module.zero_grad()
        module.on_train_epoch_start()
        losses = []
        for chunk in chunks:
            batch = gather(source, chunk)
            padded = torch.arange(chunk.size) >= chunk.valid[:, None]
            counted += int(batch.mask.sum())
            assert not batch.mask[padded].any()
            if noise:
                x, y, anchor = batch.x.clone(), batch.y.clone(), batch.anchor.clone()
                x[padded] = noise * torch.randn_like(x[padded])
                anchor[padded] = noise
                y[~batch.mask] = float("nan")
                batch = replace(batch, x=x, y=y, anchor=anchor)
            loss = module.chunk_loss(batch)
            loss.backward()
            losses.append(loss.item())
        return losses, [weight.grad.clone() for weight in module.network.parameters()]

    losses, gradients = one_pass(0.0)
    again, others = one_pass(1e3)
    assert losses == again
    assert all(torch.equal(mine, other) for mine, other in zip(gradients, others, strict=True))
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    assert counted == sum(3 * n - 6 for n in LENGTHS)  # every origin once; the last three lack targets


def test_little_of_a_pass_is_padding(uneven: Panel) -> None:
    _, _, plan = untrained(uneven)
    steps = sum(chunk.size * len(chunk.start) for chunk in plan)
    padded = 1 - sum(int(chunk.valid.sum()) for chunk in plan) / steps
    own_lane = 1 - len(uneven) / (len(uneven.ids) * int(uneven.lengths.max()))
    print(f"padded steps: {padded:.1%} on lanes, {own_lane:.1%} with a lane for every series")
    assert padded < 0.1 < 0.5 < own_lane


def test_series_of_all_lengths_are_forecast(uneven: Panel) -> None:
    frame = forecast.fit(uneven, **TINY, horizon=3).predict()
    assert frame.groupby("unique_id").size().to_dict() == {f"s{n}": 3 for n in LENGTHS}
    assert frame["lstm"].notna().all()
