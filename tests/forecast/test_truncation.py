"""Truncated back-propagation through time, exactly: what is carried, what is zeroed, what gradients see."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.config import Config
from forecast.model import build_network
from forecast.module import ForecastModule, WeightAverage
from forecast.nn.network import Network
from forecast.spans import pipeline_spec, settle
from forecast.tensors import device_chunks, tensors_of
from pipelines.batches import Batch, gather, streams
from pipelines.pipeline import Pipeline
from pipelines.plans import Chunk, pieces_of, plan_streams, plan_whole
from pipelines.prepared import Prepared

CORES = ["rnn", "rnn-relu", "lstm", "gru"]
CPU = torch.device("cpu")


def build(panel, core: str = "lstm", **settings) -> tuple[Config, Pipeline, Prepared, Network]:
    config = Config.make(
        {"model": {"core": core, "hidden": 6, "layers": 2, "dropout": 0.0}, "data": {"horizon": 3, "calendar": False}},
        **settings,
    )
    config = settle(config, panel)
    pipeline = Pipeline(pipeline_spec(config)).fit(panel)
    torch.manual_seed(0)
    return config, pipeline, pipeline.transform(panel), build_network(config, pipeline)


def batches(prepared: Prepared, chunks: list[Chunk]) -> list[Batch]:
    source = tensors_of(prepared, None, CPU)
    return [gather(source, chunk) for chunk in device_chunks(chunks, CPU)]


def gradients(network: Network) -> list[torch.Tensor]:
    return [torch.zeros(()) if w.grad is None else w.grad.clone() for w in network.parameters()]


@pytest.mark.parametrize("core", CORES)
def test_chunked_forward_equals_whole_forward(sensors, core: str) -> None:
    _, _, prepared, network = build(sensors, core)
    network.eval()
    longest = int(prepared.lengths.max())
    [whole] = batches(prepared, list(plan_whole(pieces_of(prepared), longest)))
    with torch.no_grad():
        expected, _ = network(whole, network.initial(3))
        state, parts = network.initial(3), []
        for batch in batches(prepared, list(plan_whole(pieces_of(prepared), 37))):
            params, state = network(batch, state)
            parts.append(params)
    got = torch.cat(parts, dim=1)
    for i, n in enumerate(prepared.lengths):
        torch.testing.assert_close(got[i, :n], expected[i, :n], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("core", CORES)
def test_one_chunk_is_full_bptt(random_walk, core: str) -> None:
    """With k1 = k2 = T the module's gradient is that of back-propagation through the whole series."""
    config, _, prepared, network = build(random_walk, core)
    steps = int(prepared.lengths[0])
    [batch] = batches(prepared, plan_streams(pieces_of(prepared), 1, steps))
    ForecastModule(network, config).chunk_loss(batch).backward()
    got = gradients(network)
    network.zero_grad()
    # the same by hand: one step at a time, nothing detached
    state, out = network.initial(1), []
    for t in range(steps):
        features, state = network.run(batch.x[:, t : t + 1], batch.static, state)
        out.append(features)
    network.loss(network.params(torch.cat(out, dim=1), batch), batch).backward()
    for mine, full in zip(got, gradients(network), strict=True):
        torch.testing.assert_close(mine, full, rtol=1e-5, atol=1e-6)


def test_truncation_cuts_gradients(random_walk) -> None:
    config, _, prepared, network = build(random_walk)
    steps = int(prepared.lengths[0])
    module = ForecastModule(network, config)
    total = []
    for k1 in (steps, 10):
        network.zero_grad()
        for batch in batches(prepared, plan_streams(pieces_of(prepared), 1, k1)):
            module.chunk_loss(batch).backward()
        total.append(torch.cat([g.flatten() for g in gradients(network)]))
    assert not torch.allclose(total[0], total[1], rtol=1e-2)


def test_state_is_zeroed_exactly_at_reset_and_carried_elsewhere(sensors) -> None:
    config, _, prepared, network = build(sensors)
    module = ForecastModule(network, config)
    seen: list[tuple[torch.Tensor, ...]] = []
    run = network.run

    def spy(x, static, state):
        seen.append(state)
        return run(x, static, state)

    network.run = spy  # type: ignore[method-assign]
    chunks = plan_streams(pieces_of(prepared), 2, 24)
    left: tuple[torch.Tensor, ...] | None = None
    for chunk, batch in zip(chunks, batches(prepared, chunks), strict=True):
        module.chunk_loss(batch)
        for part, before in zip(seen[-1], left or seen[-1], strict=True):
            assert not part.requires_grad
            for b in range(2):
                if chunk.reset[b]:
                    assert torch.count_nonzero(part[b]) == 0
                elif left is not None:
                    assert torch.equal(part[b], before[b])
        left = module._state
    assert any(chunk.reset.any() and not chunk.reset.all() for chunk in chunks), "the data has no lone reset"


def test_a_nan_in_a_lane_that_resets_is_gone(sensors) -> None:
    config, _, prepared, network = build(sensors)
    module = ForecastModule(network, config)
    [first] = batches(prepared, plan_streams(pieces_of(prepared), 2, 24)[:1])
    module._state = tuple(torch.full_like(part, float("nan")) for part in network.initial(2))
    loss = module.chunk_loss(replace(first, reset=torch.tensor([True, True])))
    assert torch.isfinite(loss)


@pytest.mark.parametrize("core", CORES)
def test_overlapping_chunks_carry_the_state_after_k1_steps(random_walk, core: str) -> None:
    """With k2 > k1 every carried state is that of the plain forward pass, and every origin counts once."""
    config, _, prepared, network = build(random_walk, core)
    module = ForecastModule(network.eval(), config)
    chunks = plan_streams(pieces_of(prepared), 1, 20, 50)
    counted = 0
    for i, batch in enumerate(batches(prepared, chunks)):
        with torch.no_grad():
            module.chunk_loss(batch)
            source = tensors_of(prepared, None, CPU)
            upto = min((i + 1) * 20, int(prepared.lengths[0]))
            _, expected = network.run(source.x[None, :upto], batch.static, network.initial(1))
        counted += int(batch.mask.sum())
        if (i + 1) * 20 <= int(prepared.lengths[0]):
            for mine, plain in zip(module._state, expected, strict=True):
                torch.testing.assert_close(mine, plain, rtol=1e-5, atol=1e-6)
    n = int(prepared.lengths[0])
    assert counted == sum(min(3, n - 1 - t) for t in range(n))


def test_k2_reaches_further_back_than_k1(random_walk) -> None:
    """The gradient of a chunk's loss reaches k2 steps back, not k1."""
    config, _, prepared, network = build(random_walk)
    module = ForecastModule(network, config)
    for k2, reaches in ((10, False), (30, True)):
        chunk = plan_streams(pieces_of(prepared), 1, 10, k2)[3]
        [batch] = batches(prepared, [chunk])
        x = batch.x.clone().requires_grad_()
        only_last = batch.mask.clone()
        only_last[:, :-1] = False
        module._state = network.initial(1)
        module.chunk_loss(replace(batch, x=x, mask=only_last)).backward()
        far = x.grad[0, : k2 - 10].abs().sum()
        assert bool(far > 0) == reaches


@pytest.mark.parametrize("core", CORES)
def test_every_step_ahead_sees_the_newest_observation(random_walk, core: str) -> None:
    """Fresh state: no step of the forecast may ignore the row it is made at."""
    _, _, prepared, network = build(random_walk, core)
    network.eval()
    assert all(size > 1e-9 for size in newest_gradients(network, prepared, network.params))


def test_a_head_that_slices_the_output_is_caught(random_walk) -> None:
    """The mutant is what two known toolkits do: step h reads the state of h steps before the end."""
    _, _, prepared, network = build(random_walk)
    network.eval()

    def sliced(features: torch.Tensor, batch: Batch) -> torch.Tensor:
        params = network.params(features, batch)
        lag = torch.arange(params.shape[2])
        at = torch.clamp(torch.arange(params.shape[1])[:, None] - (params.shape[2] - 1 - lag), min=0)
        return params[:, at, lag]

    sizes = newest_gradients(network, prepared, sliced)
    assert sizes[-1] > 1e-9 and all(size == 0 for size in sizes[:-1])


def newest_gradients(network: Network, prepared: Prepared, readout) -> list[float]:
    """Size of the gradient of each step ahead, forecast at the last row, with respect to that row's features."""
    [batch] = batches(prepared, list(plan_whole(pieces_of(prepared, 0, 50), 50)))
    sizes = []
    for h in range(3):
        x = batch.x.clone().requires_grad_()
        features, _ = network.run(x, batch.static, network.initial(1))
        network.head.forecast(readout(features, batch))[0, -1, h].sum().backward()
        sizes.append(float(x.grad[0, -1].abs().sum()))
    return sizes


def test_memory_does_not_grow_with_the_series(make_panel) -> None:
    """Peak memory of a pass, beyond the resident arrays, is the same for a series ten times as long."""
    peaks = []
    for steps in (3_000, 30_000):
        panel = make_panel(np.random.default_rng(0).normal(size=steps), freq="h")
        pipeline = Pipeline(pipeline_spec(settle(Config.make(horizon=24, skip=100), panel))).fit(panel)
        prepared = pipeline.transform(panel)
        list(streams(prepared, lanes=4, k1=32, until=500))
        tracemalloc.start()
        resident = None
        for batch in streams(prepared, lanes=4, k1=32):
            if resident is None:  # what a pass makes once: arrays as long as the series
                resident = tracemalloc.get_traced_memory()[0]
                tracemalloc.reset_peak()
            del batch
        peaks.append(tracemalloc.get_traced_memory()[1] - resident)
        tracemalloc.stop()
    assert peaks[1] < 2 * peaks[0] + 200_000


def test_weight_average_is_the_recurrence() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(layer, 0.5)
    mean = layer.weight.item()
    for n in range(1, 6):
        with torch.no_grad():
            layer.weight.fill_(float(n))
        average.update()
        decay = min(0.5, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * n
    assert average.values[0].item() == pytest.approx(mean)
    average.swap()
    assert layer.weight.item() == pytest.approx(mean) and average.values[0].item() == 5.0


def test_the_train_step_uses_the_clip(random_walk) -> None:
    """One step with a tiny norm limit moves plain SGD by no more than lr times that limit."""
    config, _, prepared, network = build(random_walk, train__clip=1e-3)
    module = ForecastModule(network, config)
    [batch] = batches(prepared, plan_streams(pieces_of(prepared), 1, 64)[:1])
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    module.optimizers = lambda use_pl_optimizer=True: optimizer  # type: ignore[method-assign, assignment]
    module._nobody_listens = lambda: True  # type: ignore[method-assign]
    before = torch.cat([w.detach().flatten() for w in network.parameters()])
    module.training_step([batch], 0)
    after = torch.cat([w.detach().flatten() for w in network.parameters()])
    assert float((after - before).norm()) <= 1e-3 * 1.0001
