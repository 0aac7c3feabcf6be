"""Heads: quantiles never cross, losses are what the formulas say, masked targets cannot matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import stdtrit

from forecast.model import Model
from forecast.nn.classes import CategoricalHead, draw
from forecast.nn.densities import FLOOR, GaussianHead, StudentHead
from forecast.nn.head import masked_mean
from forecast.nn.heads import PointHead, QuantileHead, build_head
from forecast.nn.network import LinearSkip
from forecast.train import fit
from pipelines.errors import UsageError
from tests.forecast.walks import small, walks

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def test_quantiles_never_cross() -> None:
    torch.manual_seed(0)
    head = QuantileHead(8, 4, LEVELS)
    out = head.forecast(100 * torch.randn(3, 5, 4, 5))
    assert (out.diff(dim=-1) >= 0).all()
    assert out.shape == (3, 5, 4, 5)


def test_the_middle_is_the_location() -> None:
    head = QuantileHead(8, 4, LEVELS)
    params = torch.randn(2, 3, 4, 5)
    assert torch.equal(head.forecast(params)[..., 2], params[..., 0])


def test_pinball_by_hand() -> None:
    head = QuantileHead(1, 1, (0.1, 0.5, 0.9))
    params = torch.tensor([0.0, 0.5413, 0.5413]).view(1, 1, 1, 3)  # softplus(0.5413) = 1: quantiles -1, 0, 1
    y = torch.tensor([2.0]).view(1, 1, 1)
    expected = (0.1 * 3 + 0.5 * 2 + 0.9 * 1) / 3
    assert float(head.loss(params, y, torch.ones_like(y, dtype=torch.bool))) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("loss", "expected"), [("mse", 4.0), ("mae", 2.0), ("huber", 1.5)])
def test_point_losses(loss: str, expected: float) -> None:
    head = PointHead(1, 1, loss)
    y = torch.tensor([2.0]).view(1, 1, 1)
    assert float(head.loss(torch.zeros(1, 1, 1, 1), y, torch.ones_like(y, dtype=torch.bool))) == expected


DENSITIES = (GaussianHead(2, 3, LEVELS), StudentHead(2, 3, LEVELS))


@pytest.mark.parametrize(
    "head", [PointHead(2, 3), QuantileHead(2, 3, LEVELS), *DENSITIES], ids=lambda h: type(h).__name__
)
def test_masked_targets_cannot_matter(head) -> None:
    params = torch.randn(2, 4, 3, head.parameters_per_step, requires_grad=True)
    y = torch.randn(2, 4, 3)
    mask = torch.rand(2, 4, 3) < 0.5
    spoiled = torch.where(mask, y, torch.tensor(float("nan")))
    assert head.loss(params, spoiled, mask).item() == head.loss(params, y, mask).item()
    head.loss(params, spoiled, mask).backward()
    assert torch.isfinite(params.grad).all()
    assert torch.count_nonzero(params.grad[~mask]) == 0


def test_nothing_to_learn_from_is_zero_with_a_gradient() -> None:
    values = torch.randn(3, requires_grad=True)
    loss = masked_mean(values, torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0


def test_unknown_heads_and_losses() -> None:
    with pytest.raises(UsageError, match="Did you mean 'point'"):
        build_head("pont", 4, 2)
    with pytest.raises(UsageError, match="Did you mean 'huber'"):
        PointHead(4, 2, "hubert")


def test_the_skip_is_a_linear_map_of_values_relative_to_the_anchor() -> None:
    torch.manual_seed(0)
    skip = LinearSkip(5, 3)
    assert torch.count_nonzero(skip(torch.randn(2, 11), torch.randn(2, 7), torch.ones(2, 7))) == 0, "it starts at zero"
    with torch.no_grad():
        skip.weight.normal_()
        skip.bias.normal_()
    level, anchor, scale = 50 + torch.randn(2, 11), 50 + torch.randn(2, 7), 1 + torch.rand(2, 7)
    out = skip(level, anchor, scale)
    for t in range(7):
        window = level[:, t : t + 5] - anchor[:, t, None]
        expected = (window @ skip.weight.T + skip.bias) / scale[:, t, None]
        torch.testing.assert_close(out[:, t], expected, rtol=1e-4, atol=1e-4)


# -- densities ---------------------------------------------------------------------------------
def plain(head, params: torch.Tensor) -> torch.distributions.Distribution:
    """The same density by torch's own class."""
    location, raw, *rest = params.unbind(-1)
    scale = torch.nn.functional.softplus(raw) + FLOOR
    if not rest:
        return torch.distributions.Normal(location, scale)
    return torch.distributions.StudentT(head.domain(params)[2], location, scale)


@pytest.mark.parametrize("head", DENSITIES, ids=lambda h: type(h).__name__)
def test_densities_and_their_gradients_equal_torch_distributions(head) -> None:
    torch.manual_seed(0)
    params = (3 * torch.randn(4, 5, 3, head.parameters_per_step, dtype=torch.float64)).requires_grad_()
    y = 5 * torch.randn(4, 5, 3, dtype=torch.float64)
    mask = torch.rand(4, 5, 3) < 0.7
    expected = masked_mean(-plain(head, params).log_prob(y), mask)
    loss = head.loss(params, y, mask)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    (want,) = torch.autograd.grad(expected, params)
    (got,) = torch.autograd.grad(loss, params)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("head", DENSITIES, ids=lambda h: type(h).__name__)
def test_quantiles_of_a_density_hold_their_share(head) -> None:
    torch.manual_seed(1)
    params = torch.randn(1, 1, 3, head.parameters_per_step)
    out = head.forecast(params)
    assert out.shape == (1, 1, 3, len(LEVELS))
    assert torch.equal(out[..., 2], params[..., 0])
    draws = plain(head, params.double()).sample((200_000,))
    share = (draws[..., None] <= out.double()).double().mean(0)
    torch.testing.assert_close(share, torch.tensor(LEVELS).double().expand_as(share), atol=0.005, rtol=0)


def test_quantiles_of_student_are_those_of_scipy() -> None:
    levels = (0.0005, 0.005, 0.05, 0.25, 0.5, 0.75, 0.95, 0.995, 0.9995)
    head = StudentHead(1, 1, levels)
    df = torch.cat([torch.linspace(2, 12, 201), torch.logspace(1, 2.301, 100)]).clamp(max=200).double()
    exact = stdtrit(df.numpy()[:, None], np.array(levels[:4]))
    np.testing.assert_allclose(head.standard(df).numpy(), exact, rtol=1e-6)
    np.testing.assert_allclose(head.standard(df.float()).numpy(), exact, rtol=3e-6)


@pytest.mark.parametrize("head", DENSITIES, ids=lambda h: type(h).__name__)
def test_densities_stay_finite_where_nothing_moves_or_all_is_wild(head) -> None:
    params = torch.full((1, 1, 3, head.parameters_per_step), -200.0)
    params[..., 0] = 0.0
    params.requires_grad_()
    loss = head.loss(params, torch.zeros(1, 1, 3), torch.ones(1, 1, 3, dtype=torch.bool))
    wild = head.loss(params.neg(), torch.full((1, 1, 3), 1e6), torch.ones(1, 1, 3, dtype=torch.bool))
    (loss + wild).backward()
    assert torch.isfinite(loss) and torch.isfinite(wild) and torch.isfinite(params.grad).all()


@pytest.mark.parametrize(
    ("name", "own"), [("gaussian", GaussianHead), ("student-t", StudentHead), ("categorical", CategoricalHead)]
)
def test_a_fitted_distribution_gives_calibrated_intervals_and_is_stored_bit_for_bit(name: str, own, tmp_path) -> None:
    panel = walks(400, phi=0.5)
    model = fit(panel, small(**{"data.horizon": 2, "model.head": name, "train.epochs": 6}))
    assert isinstance(model.network.head, own)
    rows = np.arange(250, 398)
    found = model.forecast_rows(panel, rows)
    low, high = found.bounds[90]
    y = panel.column("y")
    inside = np.mean([(low[:, h] <= y[rows + h + 1]) & (y[rows + h + 1] <= high[:, h]) for h in range(2)])
    assert 0.8 < inside < 0.99
    again = Model.load(model.save(tmp_path / "run"))
    pd.testing.assert_frame_equal(again.predict(), model.predict(), check_exact=True)


# -- classes -----------------------------------------------------------------------------------
def classes_of(residuals: torch.Tensor, classes: int = 4) -> CategoricalHead:
    head = CategoricalHead(2, residuals.shape[1], LEVELS, classes)
    head.see(residuals)
    return head


def test_classes_are_equally_frequent_and_a_common_value_has_its_own() -> None:
    torch.manual_seed(0)
    smooth = torch.randn(1000, 1)
    head = classes_of(smooth)
    counts = torch.bincount(head.labels(smooth).flatten(), minlength=4)
    assert (counts - 250).abs().max() <= 1
    assert head.edges[0, 0] == smooth.min() and head.edges[0, -1] == smooth.max(), "the outermost edges are finite"
    assert head.labels(torch.tensor([[-99.0], [99.0]])).flatten().tolist() == [0, 3]
    still = torch.cat([torch.zeros(700), torch.randn(300)])[:, None]
    head = classes_of(still, 10)
    at = int(head.labels(torch.zeros(1, 1)))
    assert head.edges[0, at] == head.edges[0, at + 1] == 0
    only = torch.full((1, 1, 1, 10), -50.0)
    only[..., at] = 50.0
    assert torch.equal(head.forecast(only), torch.zeros(1, 1, 1, 5)), "sure of the common value, sure of nothing else"


def test_the_loss_is_the_cross_entropy_of_the_class_and_masked_ones_cannot_matter() -> None:
    torch.manual_seed(0)
    head = classes_of(torch.randn(500, 3))
    params = torch.randn(2, 5, 3, 4, requires_grad=True)
    y, mask = torch.randn(2, 5, 3), torch.rand(2, 5, 3) < 0.6
    spoiled = torch.where(mask, y, torch.tensor(float("nan")))
    plain_loss = -torch.log_softmax(params, -1).gather(-1, head.labels(y)[..., None])[..., 0][mask].mean()
    loss = head.loss(params, spoiled, mask)
    torch.testing.assert_close(loss, plain_loss)
    loss.backward()
    assert torch.isfinite(params.grad).all() and torch.count_nonzero(params.grad[~mask]) == 0


def test_quantiles_of_classes_interpolate_the_distribution_and_never_cross() -> None:
    head = CategoricalHead(1, 1, (0.25, 0.5, 0.75), 4)
    head.edges.copy_(torch.tensor([[0.0, 1.0, 2.0, 4.0, 8.0]]))
    params = torch.log(torch.tensor([0.1, 0.3, 0.2, 0.4])).view(1, 1, 1, 4)
    torch.testing.assert_close(head.forecast(params).flatten(), torch.tensor([1.5, 3.0, 5.5]))
    torch.manual_seed(0)
    wide = classes_of(torch.randn(500, 3), 30)
    out = wide.forecast(20 * torch.randn(50, 4, 3, 30))
    assert torch.isfinite(out).all() and (out.diff(dim=-1) >= 0).all()
    assert out.amin() >= wide.edges.amin() and out.amax() <= wide.edges.amax()


def test_draws_follow_the_softmax_at_their_temperature() -> None:
    logits = torch.log(torch.tensor([0.1, 0.2, 0.7])).expand(60_000, 3)
    chance = {1.0: [0.1, 0.2, 0.7], 0.5: [0.01 / 0.54, 0.04 / 0.54, 0.49 / 0.54]}
    for temperature, expected in chance.items():
        drawn = draw(logits, temperature, torch.Generator().manual_seed(0))
        torch.testing.assert_close(torch.bincount(drawn) / len(drawn), torch.tensor(expected), atol=0.01, rtol=0)
    assert (draw(logits, 1e-6) == 2).all()
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="temperature"):
            draw(logits, wrong)


def test_samples_of_the_head_have_its_quantiles() -> None:
    torch.manual_seed(0)
    head = classes_of(torch.randn(2000, 2), 20)
    params = torch.randn(1, 1, 2, 20)
    drawn = head.sample(params.expand(50_000, 1, 2, 20), generator=torch.Generator().manual_seed(1))
    share = (drawn[..., None] <= head.forecast(params)).double().mean(0)[0]
    torch.testing.assert_close(share, torch.tensor(LEVELS).double().expand(2, 5), atol=0.01, rtol=0)


def test_a_skip_has_nothing_to_add_to_in_classes() -> None:
    with pytest.raises(UsageError, match="no location"):
        small(**{"model.head": "categorical", "model.skip": 12})
