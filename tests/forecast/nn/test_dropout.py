"""Dropout from random bits: rate, mean, layout, seed and gradient."""

from __future__ import annotations

import pytest
import torch

from forecast.nn.dropout import Dropout, dropout


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_share_and_mean_are_those_asked_for(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    size = 400_003  # not a multiple of what one word holds
    out = dropout(torch.ones(size, dtype=dtype), rate)
    spread = (rate * (1 - rate) / size) ** 0.5
    assert float((out == 0).double().mean()) == pytest.approx(rate, abs=5 * spread + 1 / 65_536)
    kept = out[out != 0].unique()
    assert len(kept) == 1
    assert float(kept) == pytest.approx(1 / (1 - rate), rel=1e-2 if dtype == torch.bfloat16 else 1e-3)
    assert out.dtype == dtype


def test_masks_are_independent_of_each_other_and_along_every_axis() -> None:
    torch.manual_seed(2)
    first, second = (dropout(torch.ones(64, 64, 64), 0.5) - 1 for _ in range(2))
    for shifted in (second, first.roll(1, 0), first.roll(1, 1), first.roll(1, 2), first.roll(4, 2)):
        assert abs(float((first * shifted).mean())) < 5 / 512


def test_one_seed_gives_one_mask_whatever_the_threads() -> None:
    threads = torch.get_num_threads()
    masks = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(3)
            masks.append(dropout(torch.ones(300_000), 0.3))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*masks)
    assert not torch.equal(masks[0], dropout(torch.ones(300_000), 0.3))


@pytest.mark.parametrize("layout", ["transposed", "slice", "expanded", "scalar", "empty"])
def test_any_layout(layout: str) -> None:
    base = torch.ones(6, 5, 4)
    x = {
        "transposed": base.transpose(0, 1), "slice": base[:, 1:3], "expanded": base[:, :1].expand(-1, 9, -1),
        "scalar": torch.ones(()), "empty": torch.ones(0, 3),
    }[layout]  # fmt: skip
    out = dropout(x, 0.5)
    assert out.shape == x.shape
    assert bool(((out == 0) | (out == 2)).all())


def test_gradient_is_the_mask() -> None:
    x = torch.full((50, 40), 3.0, requires_grad=True)
    out = dropout(x, 0.25)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, out.detach() / 3)


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(torch.ones(3), rate)


def test_nothing_is_dropped_without_training_or_a_rate() -> None:
    x = torch.randn(7)
    state = torch.get_rng_state()
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(Dropout(0.5)(x), x)
