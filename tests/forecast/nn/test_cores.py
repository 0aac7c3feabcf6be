"""Cores against the numpy oracle; chunks, states, masks and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from forecast.nn.cores import CORES, Core, State, build_core, detach_state, reset_state
from forecast.nn.dropout import dropout
from pipelines.errors import UsageError
from tests.forecast.nn.oracle import Oracle

KINDS = ["rnn", "rnn-relu", "lstm", "gru"]
B, K, D, H, L = 3, 11, 4, 6, 2


def make(kind: str, *, dtype: torch.dtype = torch.float64, seed: int = 0, **options: object) -> Core:
    torch.manual_seed(seed)
    core = build_core(kind, D, H, L, **options).to(dtype)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in core.named_parameters():
            if "bias" in name:
                parameter.uniform_(-0.5, 0.5)
    return core


def random_state(core: Core, batch: int = B) -> State:
    return tuple((0.4 * torch.randn_like(tensor)).requires_grad_() for tensor in core.initial(batch))


def loss_of(features: Tensor, state: State, weight: Tensor) -> Tensor:
    return (features * weight).sum() + sum((tensor.sin().sum() for tensor in state), torch.zeros(()))


def close(got: Tensor, want: np.ndarray, tolerance: float) -> None:
    scale = max(float(np.abs(want).max()), 1e-3)
    np.testing.assert_allclose(got.detach().numpy(), want, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_equal_the_numpy_oracle(kind: str, bidirectional: bool, dtype: torch.dtype) -> None:
    core = make(kind, dtype=dtype, bidirectional=bidirectional)
    x = torch.randn(B, K, D, dtype=dtype, requires_grad=True)
    state = random_state(core)
    features, after = core(x, state)
    weight = torch.randn_like(features)
    loss_of(features, after, weight).backward()

    params = {name.removeprefix("rnn."): value.detach().numpy() for name, value in core.named_parameters()}
    oracle = Oracle(kind, params, L, bidirectional)
    want, want_after = oracle.forward(x.detach().double().numpy(), tuple(s.detach().double().numpy() for s in state))
    d_x, d_state = oracle.backward(weight.double().numpy(), tuple(np.cos(part) for part in want_after))

    rounding = 5e-6 if kind == "rnn-relu" else 1e-6  # states without a bound: the rounding of float32 itself grows
    tolerance = rounding if dtype == torch.float32 else 1e-10
    close(features, want, tolerance)
    assert x.grad is not None
    close(x.grad, d_x, tolerance)
    for got, value, gradient in zip(after, want_after, range(len(after)), strict=True):
        close(got, value, tolerance)
        start = state[gradient].grad
        assert start is not None
        close(start, d_state[gradient], tolerance)
    assert oracle.grads.keys() == params.keys()
    for name, parameter in core.named_parameters():
        assert parameter.grad is not None
        close(parameter.grad, oracle.grads[name.removeprefix("rnn.")], tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_one_chunk_of_all_steps_is_full_bptt_and_shorter_chunks_truncate(kind: str) -> None:
    """With k1 = k2 = T the gradient is full BPTT's; with shorter chunks it is the sum over cut chunks."""
    x = torch.randn(B, 12, D, dtype=torch.float64)

    def gradient(chunk: int, cut: bool) -> dict[str, np.ndarray]:
        core = make(kind)
        state = core.initial(B)
        for part in x.split(chunk, dim=1):
            if cut:
                state = detach_state(state)
            features, state = core(part, state)
            features.square().sum().backward(retain_graph=not cut)
        return {n.removeprefix("rnn."): p.grad.numpy() for n, p in core.named_parameters() if p.grad is not None}

    core = make(kind)
    params = {name.removeprefix("rnn."): value.detach().numpy() for name, value in core.named_parameters()}
    zeros = tuple(s.numpy() for s in core.initial(B))

    def oracle_gradient(chunk: int) -> dict[str, np.ndarray]:
        oracle, state = Oracle(kind, params, L), zeros
        for part in x.split(chunk, dim=1):
            features, state = oracle.forward(part.numpy(), state)
            oracle.backward(2 * features, tuple(np.zeros_like(s) for s in state))
        return oracle.grads

    full = oracle_gradient(12)
    for name, want in full.items():
        np.testing.assert_allclose(gradient(12, cut=True)[name], want, rtol=0, atol=1e-10 * np.abs(want).max())
        np.testing.assert_allclose(gradient(4, cut=False)[name], want, rtol=0, atol=1e-10 * np.abs(want).max())
    truncated, got = oracle_gradient(4), gradient(4, cut=True)
    for name, want in truncated.items():
        np.testing.assert_allclose(got[name], want, rtol=0, atol=1e-10 * np.abs(want).max())
    assert max(np.abs(truncated[name] - full[name]).max() / np.abs(full[name]).max() for name in full) > 1e-4


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6), seed=st.integers(0, 1000))
def test_chunks_of_any_lengths_equal_the_whole(kind: str, lengths: list[int], seed: int) -> None:
    core = make(kind, dtype=torch.float32, seed=seed, dropout=0.3).eval()
    x = torch.randn(B, sum(lengths), D)
    whole, end = core(x, core.initial(B))
    state, parts = core.initial(B), []
    for part in x.split(lengths, dim=1):
        features, state = core(part, state)
        parts.append(features)
    tolerance = 1e-6 * max(1.0, *(tensor.abs().max().item() for tensor in (whole, *end)))
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=tolerance)
    for got, want in zip(state, end, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_single_steps_equal_one_pass(kind: str) -> None:
    core = make(kind, dtype=torch.float32).eval()
    x = torch.randn(1, 200, D)
    with torch.no_grad():
        whole, _ = core(x, core.initial(1))
        tolerance = 1e-6 * max(1.0, whole.abs().max().item())
        state = core.initial(1)
        for t in range(200):
            features, state = core(x[:, t : t + 1], state)
            torch.testing.assert_close(features[:, 0], whole[:, t], rtol=0, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_reset_zeroes_marked_lanes_exactly_and_carries_the_others(kind: str) -> None:
    core = make(kind)
    state = random_state(core, 4)
    with torch.no_grad():
        for tensor in state:
            tensor[1], tensor[2] = float("nan"), float("inf")
    reset = torch.tensor([False, True, True, False])
    after = reset_state(state, reset)
    for got, was in zip(after, state, strict=True):
        assert torch.equal(got[1:3], torch.zeros_like(got[1:3]))
        assert torch.equal(got[::3], was[::3])
        gradient = torch.autograd.grad(got.sum(), was, retain_graph=True)[0]
        assert torch.equal(gradient[1:3], torch.zeros_like(gradient[1:3]))  # never NaN * 0
    x = torch.randn(4, 3, D, dtype=torch.float64)
    features, _ = core(x, after)
    fresh, _ = core(x, core.initial(4))
    torch.testing.assert_close(features[1:3], fresh[1:3], rtol=0, atol=0)
    assert (features[0] - fresh[0]).abs().max() > 1e-3


def test_detach_keeps_values_and_cuts_the_graph() -> None:
    core = make("lstm")
    _, state = core(torch.randn(B, K, D, dtype=torch.float64), core.initial(B))
    cut = detach_state(state)
    assert all(tensor.requires_grad for tensor in state)
    assert not any(tensor.requires_grad for tensor in cut)
    assert all(torch.equal(a, b) for a, b in zip(cut, state, strict=True))


class StepHead(nn.Module):
    """All horizons from the newest features: what forecasts should be made of."""

    def __init__(self, width: int, horizon: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, horizon, dtype=torch.float64)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features[:, -1])


class SlicingHead(nn.Module):
    """The mutant found in two known toolkits: horizon i from the features of step K - h + i."""

    def __init__(self, width: int, horizon: int) -> None:
        super().__init__()
        self.linear, self.horizon = nn.Linear(width, 1, dtype=torch.float64), horizon

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(features)[:, -self.horizon :, 0]


def stale_steps(core: Core, head: nn.Module, horizon: int) -> list[int]:
    """The horizon steps whose forecast has no gradient to the newest observation."""
    x = torch.randn(B, K, D, dtype=torch.float64, requires_grad=True)
    forecast = head(core(x, core.initial(B))[0])
    assert forecast.shape == (B, horizon)
    newest = [torch.autograd.grad(forecast[:, i].sum(), x, retain_graph=True)[0][:, -1] for i in range(horizon)]
    return [i for i, gradient in enumerate(newest) if bool((gradient.abs().amax(1) == 0).any())]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_every_horizon_step_has_seen_the_newest_observation(kind: str, bidirectional: bool) -> None:
    core = make(kind, bidirectional=bidirectional)
    assert stale_steps(core, StepHead(core.out_features, 5), 5) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_slicing_head_is_caught(kind: str) -> None:
    core = make(kind)
    assert stale_steps(core, SlicingHead(core.out_features, 5), 5) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_causal_cores_do_not_look_ahead_and_bidirectional_ones_say_so(kind: str) -> None:
    x = torch.randn(B, K, D, dtype=torch.float64)
    altered = x.clone()
    altered[:, 6:] = 1e6
    core, both = make(kind), make(kind, bidirectional=True)
    assert core.streams
    assert not both.streams
    assert torch.equal(core(x, core.initial(B))[0][:, :6], core(altered, core.initial(B))[0][:, :6])
    assert not torch.equal(both(x, both.initial(B))[0][:, :6], both(altered, both.initial(B))[0][:, :6])
    assert (core.out_features, both.out_features) == (H, 2 * H)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_between_layers_in_training_only(kind: str) -> None:
    core = make(kind, dropout=0.5)
    x = torch.randn(B, K, D, dtype=torch.float64)
    first, second = core(x, core.initial(B))[0], core(x, core.initial(B))[0]
    assert not torch.equal(first, second)
    core.eval()
    assert torch.equal(core(x, core.initial(B))[0], core(x, core.initial(B))[0])


def oracle_gradients(
    kind: str, bidirectional: bool, params: dict[str, np.ndarray], between: np.ndarray, x: Tensor, state: State,
    features: Tensor, after: State,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Holds two layers with the mask ``between`` them to the oracle; the lower one's gradients of a sum of squares."""
    sides = 2 if bidirectional else 1
    bottom, top = (
        Oracle(kind, {n.replace(f"_l{i}", "_l0"): p for n, p in params.items() if f"_l{i}" in n}, 1, bidirectional)
        for i in range(L)
    )
    zeros = [tuple(part[:, i * sides : (i + 1) * sides].numpy() for part in state) for i in range(L)]
    below, end_below = bottom.forward(x.numpy(), zeros[0])
    want, end_top = top.forward(below * between, zeros[1])
    close(features, want, 1e-10)
    for got, low, high in zip(after, end_below, end_top, strict=True):
        close(got, np.concatenate([low, high], axis=1), 1e-10)
    d_below, _ = top.backward(2 * want, tuple(np.zeros_like(part) for part in end_top))
    bottom.backward(d_below * between, tuple(np.zeros_like(part) for part in end_below))
    return bottom.grads


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("kind", KINDS)
def test_variational_dropout_equals_the_oracle_with_the_same_masks(kind: str, bidirectional: bool) -> None:
    """One mask over all steps: the oracle on masked weights and, between the layers, on masked features."""
    core = make(kind, dropout=0.4, variational=True, bidirectional=bidirectional)
    sides = 2 if bidirectional else 1
    x, state = torch.randn(B, K, D, dtype=torch.float64), core.initial(B)
    torch.manual_seed(5)
    features, after = core(x, state)
    features.square().sum().backward()

    torch.manual_seed(5)
    params = {name.removeprefix("rnn."): value.detach().numpy().copy() for name, value in core.named_parameters()}
    columns: list[np.ndarray] = []
    between = np.ones((B, 1, sides * H))
    for layer in range(L):
        if layer:
            between = dropout(torch.ones(B, 1, sides * H, dtype=torch.float64), 0.4).numpy()
        for side in range(sides):
            columns.append(dropout(torch.ones(H, dtype=torch.float64), 0.4).numpy())
            params[f"weight_hh_l{layer}{'_reverse' if side else ''}"] *= columns[-1]
    assert any((mask == 0).any() for mask in [*columns, between])
    grads = oracle_gradients(kind, bidirectional, params, between, x, state, features, after)
    for name, mask in (("weight_hh_l0", columns[0]), ("weight_ih_l0", np.ones(D))):
        gradient = core.get_parameter(f"rnn.{name}").grad
        assert gradient is not None
        close(gradient, grads[name] * mask, 1e-10)

    core.eval()
    plain = make(kind, bidirectional=bidirectional).eval()
    assert torch.equal(core(x, state)[0], plain(x, state)[0])


def test_initial_state_follows_the_weights() -> None:
    for kind, tensors in (("lstm", 2), ("gru", 1)):
        core = make(kind, bidirectional=True)
        state = core.initial(5)
        assert [(tuple(s.shape), s.dtype) for s in state] == [((5, 2 * L, H), torch.float64)] * tensors
        assert all(not s.any() for s in state)
        assert core.float().initial(5)[0].dtype == torch.float32
        assert core.to("meta").initial(5)[0].device.type == "meta"


def test_same_seed_same_weights() -> None:
    for kind in KINDS:
        one, two, other = make(kind, seed=3), make(kind, seed=3), make(kind, seed=4)
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
        assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_unknown_names_options_and_sizes_are_refused_with_a_way_out() -> None:
    with pytest.raises(UsageError, match=r"Unknown core 'lstn'\. Did you mean 'lstm'\?.*Known cores: "):
        build_core("lstn", D, H)
    with pytest.raises(UsageError, match=r"no option 'unit'\. Did you mean 'init'\?"):
        build_core("rnn", D, H, unit="identity")
    with pytest.raises(UsageError, match=r"Unknown init 'identiti'\. Did you mean 'identity'\?"):
        build_core("rnn", D, H, init="identiti")
    with pytest.raises(UsageError, match="hidden is 0, expected at least 1"):
        build_core("gru", D, 0)
    with pytest.raises(UsageError, match="dropout is 1"):
        build_core("gru", D, H, dropout=1.0)
    assert set(KINDS) <= set(CORES)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")
@pytest.mark.parametrize(
    ("options", "dtype", "fused"),
    [
        ({}, torch.float32, True),
        ({"dropout": 0.3}, torch.float32, True),
        ({"dropout": 0.3, "variational": True}, torch.float32, True),
        ({"bidirectional": True}, torch.float32, True),
        ({}, torch.float64, False),
    ],
)
def test_the_lstm_trains_in_onednns_fused_kernel(options: dict[str, object], dtype: torch.dtype, fused: bool) -> None:
    core = make("lstm", dtype=dtype, **options).train()
    x = torch.randn(B, K, D, dtype=dtype)
    core(x, core.initial(B))[0].sum().backward()  # the first call may set things up
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        core(x, core.initial(B))[0].sum().backward()
    ran = {event.key for event in profile.key_averages()}
    for kernel in ("aten::mkldnn_rnn_layer", "aten::mkldnn_rnn_layer_backward"):
        assert (kernel in ran) == fused


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_between_layers_equals_the_oracle_with_the_same_mask(
    kind: str, bidirectional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    core = make(kind, dropout=0.4, bidirectional=bidirectional)
    sides = 2 if bidirectional else 1
    x, state = torch.randn(B, K, D, dtype=torch.float64), core.initial(B)
    params = {name.removeprefix("rnn."): value.detach().numpy() for name, value in core.named_parameters()}
    mask = dropout(torch.ones(B, K, sides * H, dtype=torch.float64), 0.4).numpy()
    monkeypatch.setattr("forecast.nn.dropout._mask", lambda features, dropped: torch.from_numpy(mask))
    features, after = core(x, state)
    features.square().sum().backward()
    grads = oracle_gradients(kind, bidirectional, params, mask, x, state, features, after)
    gradient = core.get_parameter("rnn.weight_hh_l0").grad
    assert gradient is not None
    close(gradient, grads["weight_hh_l0"], 1e-10)
