"""The echo state core equals a ten-line numpy reference, streams exactly and learns nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forecast.nn.cores import build_core
from forecast.nn.esn import EchoStateCore
from pipelines.errors import UsageError


def reference(core: EchoStateCore, x: np.ndarray, h: np.ndarray, leak: float) -> tuple[np.ndarray, np.ndarray]:
    w_in = np.column_stack([core.bias.numpy(), core.w_in.numpy()])
    w = core.w.numpy()
    rows = []
    for now in x:
        h = (1 - leak) * h + leak * np.tanh(w_in @ np.concatenate([[1.0], now]) + w @ h)
        rows.append(np.concatenate([now, h]))
    return np.array(rows), h


def make(leak: float = 0.3, seed: int = 0, **options: float) -> EchoStateCore:
    torch.manual_seed(seed)
    core = build_core("esn", 2, 80, leak=leak, **options)  # type: ignore[arg-type]
    assert isinstance(core, EchoStateCore)
    return core


def test_equals_the_numpy_reference_and_streams_exactly() -> None:
    core = make().double()
    x = torch.randn(3, 40, 2, dtype=torch.float64)
    start = (torch.rand(3, 1, 80, dtype=torch.float64) - 0.5,)
    features, (end,) = core(x, start)
    assert features.shape == (3, 40, core.out_features)
    for lane in range(3):
        want, last = reference(core, x[lane].numpy(), start[0][lane, 0].numpy(), 0.3)
        np.testing.assert_allclose(features[lane].numpy(), want, rtol=0, atol=1e-12)
        np.testing.assert_allclose(end[lane, 0].numpy(), last, rtol=0, atol=1e-12)
    state, parts = start, []
    for part in torch.split(x, [1, 17, 22], dim=1):
        chunk, state = core(part, state)
        parts.append(chunk)
    torch.testing.assert_close(torch.cat(parts, 1), features, rtol=0, atol=1e-14)


@pytest.mark.parametrize("radius", [0.5, 0.9, 1.25])
def test_the_reservoir_has_its_radius_and_its_sparsity(radius: float) -> None:
    core = make(spectral_radius=radius, connections=8.0)
    assert np.abs(np.linalg.eigvals(core.w.numpy())).max() == pytest.approx(radius, rel=1e-4)
    assert (core.w != 0).sum().item() / 80 == pytest.approx(8, rel=0.15)
    assert core.w_in.abs().max() <= 0.5


def test_it_forgets_its_start() -> None:
    """The echo state property: below radius 1 two different starts end in the same state."""
    core = make(leak=1.0, spectral_radius=0.8)
    x = torch.randn(1, 300, 2)
    ends = [core(x, (start,))[1][0] for start in (torch.zeros(1, 1, 80), torch.ones(1, 1, 80))]
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-6)


def test_nothing_to_train_everything_to_save() -> None:
    core = make()
    assert list(core.parameters()) == []
    assert set(core.state_dict()) == {"w", "w_in", "bias"}
    other = make(seed=1)
    x = torch.randn(1, 5, 2)
    assert not torch.equal(core(x, core.initial(1))[0], other(x, other.initial(1))[0])
    other.load_state_dict(core.state_dict())
    assert torch.equal(core(x, core.initial(1))[0], other(x, other.initial(1))[0])
    assert not core(x, core.initial(1))[0].requires_grad


def test_the_newest_observation_reaches_every_unit() -> None:
    core = make()
    x = torch.randn(1, 9, 2, requires_grad=True)
    for unit in (2, 40, 81):
        gradient = torch.autograd.grad(core(x, core.initial(1))[0][0, -1, unit], x)[0]
        assert bool((gradient[0, -1] != 0).all())


def test_a_ridge_readout_follows_a_delayed_signal() -> None:
    """Memory: the input of five steps ago is read from the state by least squares, out of sample."""
    torch.manual_seed(0)
    core = build_core("esn", 1, 120, input_scale=0.1)
    x = torch.rand(1, 1500, 1) - 0.5
    features = core(x, core.initial(1))[0][0].double().numpy()
    target = x[0, :, 0].double().numpy()
    a, b = features[105:1000], target[100:995]
    weights = np.linalg.solve(a.T @ a + 1e-8 * np.eye(a.shape[1]), a.T @ b)
    error = features[1005:] @ weights - target[1000:-5]
    assert error.std() < 0.05 * target.std()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layers": 2}, "layers is 2, but esn has none"),
        ({"dropout": 0.1}, r"dropout is 0\.1, but esn has none"),
        ({"bidirectional": True}, "bidirectional is True, but esn has none"),
        ({"variational": True}, "variational is True, but esn has none"),
        ({"leak": 0.0}, "leak is 0.0, expected above 0 and at most 1"),
        ({"spectral_radius": -1.0}, "spectral_radius is -1.0, expected above 0"),
        ({"connections": 1e-9}, "came out without a cycle"),
        ({"leek": 0.5}, r"no option 'leek'\. Did you mean 'leak'\?"),
    ],
)
def test_what_a_reservoir_cannot_have_is_refused(options: dict[str, float], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        build_core("esn", 2, 20, **options)  # type: ignore[arg-type]
