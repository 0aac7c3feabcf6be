"""The readout of a fixed core equals scikit-learn's ridge on the same rows, and chooses its strength."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import forecast
from forecast.config import Config
from forecast.model import build_network
from forecast.readout import CHUNK, STRENGTHS, WASHOUT, fit_readout
from forecast.spans import cut_spans, pipeline_spec, settle
from forecast.tensors import tensors_of
from forecast.train import prepare_rows
from pipelines.batches import gather, rows_before
from pipelines.errors import TooShortError, UsageError
from pipelines.plans import pieces_of, plan_whole

ESN = {"core": "esn", "hidden": 20, "horizon": 3, "threads": 1}


@pytest.fixture(scope="module")
def waves(make_panel):
    """Two series of unequal length, longer than a chunk and as long as two."""
    rng = np.random.default_rng(0)
    table = {
        name: 5 + np.sin(np.arange(length) / 7) + rng.normal(0, 0.1, length)
        for name, length in (("a", CHUNK + 150), ("b", 2 * CHUNK))
    }
    return make_panel(table, freq="h")


def parts(panel, **settings):
    """Everything a readout is solved from, and one design matrix of all training rows with their targets."""
    config = settle(Config.make(None, **ESN, **settings), panel)
    spans = cut_spans(panel, config)
    torch.manual_seed(0)
    pipeline, prepared = prepare_rows(panel, pipeline_spec(config), spans)
    network = build_network(config, pipeline).eval()
    source = tensors_of(prepared, rows_before(prepared, spans.train), torch.device("cpu"))
    pieces = pieces_of(prepared, 0, spans.train)
    quiet = np.array([min(WASHOUT, (piece.stop - piece.start) // 5) for piece in pieces])
    rows, targets, masks = [], [], []
    for piece, skip in zip(pieces, quiet, strict=True):
        (chunk,) = plan_whole([piece], piece.stop - piece.start, np.array([skip]))
        chunk = forecast.tensors.device_chunks([chunk], torch.device("cpu"))[0]
        batch = gather(source, chunk)
        with torch.no_grad():
            features, _ = network.run(batch.x, batch.static, network.initial(1))
            rows.append(network.inputs(features, batch)[0].double().numpy())
        targets.append(network.target(batch)[0].double().numpy())
        masks.append(batch.mask[0].numpy())
    return network, source, pieces, np.concatenate(rows), np.concatenate(targets), np.concatenate(masks)


@pytest.mark.parametrize("skip", [0, 12])
def test_equals_scikit_learn(waves, skip: int) -> None:
    from sklearn.linear_model import Ridge

    network, source, pieces, x, y, mask = parts(waves, skip=skip)
    ridge, loss = fit_readout(network, source, pieces, 1e-4, lambda: 0.25)
    assert (ridge, loss) == (1e-4, 0.25)
    whole = mask.all(1)
    assert 0 < whole.sum() < len(x) - 100
    judge = Ridge(alpha=1e-4 * whole.sum(), solver="svd").fit(x[whole], y[whole])
    got = network.head.linear.weight.detach().numpy()
    if network.skip is not None:
        assert got.shape[1] + skip == x.shape[1]
        got = np.concatenate([got, network.skip.weight.detach().numpy()], axis=1)
    np.testing.assert_allclose(got, judge.coef_, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(network.head.linear.bias.detach().numpy(), judge.intercept_, rtol=1e-3, atol=1e-4)


def test_where_gaps_are_many_every_step_has_its_own_rows(make_panel) -> None:
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(1)
    y = np.sin(np.arange(500) / 7) + rng.normal(0, 0.1, 500)
    y[rng.choice(np.arange(5, 495), 200, replace=False)] = np.nan
    network, source, pieces, x, target, mask = parts(make_panel(y, freq="h"), skip=0)
    assert mask.all(1).sum() < 0.5 * mask.any(1).sum()
    fit_readout(network, source, pieces, 1e-3, lambda: 0.0)
    for step in range(3):
        rows = mask[:, step]
        judge = Ridge(alpha=1e-3 * rows.sum(), solver="svd").fit(x[rows], target[rows, step])
        got = network.head.linear.weight[step].detach().numpy()
        np.testing.assert_allclose(got, judge.coef_, rtol=1e-3, atol=1e-4)


def test_the_strength_with_the_best_score_is_kept(waves) -> None:
    network, source, pieces, *_ = parts(waves)
    sizes: list[float] = []

    def score() -> float:
        sizes.append(float(network.head.linear.weight.detach().norm()))
        return abs(len(sizes) - 4.0) if len(sizes) != 2 else math.nan

    assert fit_readout(network, source, pieces, None, score) == (STRENGTHS[3], 0.0)
    assert len(sizes) == len(STRENGTHS)
    assert sizes == sorted(sizes, reverse=True)  # a stronger penalty, smaller weights
    assert float(network.head.linear.weight.detach().norm()) == pytest.approx(sizes[3])


def test_an_esn_learns_what_it_can_and_says_how(waves) -> None:
    model = forecast.fit(waves, **ESN)
    training = model.facts["training"]
    assert training["ridge"] in STRENGTHS
    assert (training["updates"], training["epochs"], len(training["checks"])) == (0, 1, 1)
    assert training["best_stop_loss"] < 0.1  # half the variance of the residual would be 0.5
    assert training["checks"][0]["loss"] < 0.1
    fixed = forecast.fit(waves, **ESN, ridge=100.0)
    assert fixed.facts["training"]["ridge"] == 100.0
    assert fixed.facts["training"]["best_stop_loss"] > training["best_stop_loss"]
    again = forecast.fit(waves, **ESN)
    assert again.predict().equals(model.predict())
    other = forecast.fit(waves, **ESN, seed=1)
    assert not other.predict().equals(model.predict())


def test_refusals(waves, make_panel) -> None:
    with pytest.raises(UsageError, match="solved for on the CPU"):
        forecast.fit(waves, **ESN, accelerator="gpu")
    with pytest.raises(UsageError, match="ridge: Input should be greater than 0"):
        forecast.fit(waves, **ESN, ridge=0.0)
    network, source, pieces, *_ = parts(waves)
    first = replace(pieces[0], stop=pieces[0].start + 1)
    with pytest.raises(TooShortError, match="no training row"):
        fit_readout(network, source, [first], 1.0, float)
