"""The fast GRU equals torch's: values, all gradients, dropout, long sequences, scratch that is never shared."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from forecast.nn import gru as module
from forecast.nn.gru import GRU, gru_layer
from pipelines.errors import UsageError

D, H = 5, 12


def pair(dtype: torch.dtype = torch.float32, **options: object) -> tuple[GRU, nn.GRU]:
    torch.manual_seed(0)
    fast = GRU(D, H, 2, dtype=dtype, **options)  # type: ignore[arg-type]
    plain = nn.GRU(D, H, 2, dtype=dtype, **options)  # type: ignore[call-overload]
    plain.load_state_dict(fast.state_dict())
    return fast, plain


def everything(net: nn.GRU, x: Tensor, h: Tensor | None, seed: int = 1) -> dict[str, Tensor]:
    """Values and all gradients of one run, dropout seeded."""
    x = x.clone().requires_grad_()
    h = None if h is None else h.clone().requires_grad_()
    net.zero_grad()
    torch.manual_seed(seed)
    out, last = net(x, h)
    (out * torch.linspace(-1, 1, out.shape[-1], dtype=out.dtype)).square().sum().add(last.sin().sum()).backward()
    found = {"out": out, "last": last, "x": x.grad, **{name: p.grad for name, p in net.named_parameters()}}
    if h is not None:
        found["h"] = h.grad
    assert all(value is not None for value in found.values())
    return {name: value.detach().clone() for name, value in found.items() if value is not None}


def same(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float) -> None:
    assert got.keys() == want.keys()
    for name in want:
        scale = max(1.0, float(want[name].abs().max()))
        torch.testing.assert_close(
            got[name], want[name], rtol=0, atol=tolerance * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("steps", [1, 2, 37])
def test_equals_torch(
    dtype: torch.dtype, batch_first: bool, bidirectional: bool, dropout: float, steps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("forecast.nn.gru.dropout", nn.functional.dropout)  # the same masks on both sides
    fast, plain = pair(dtype, batch_first=batch_first, bidirectional=bidirectional, dropout=dropout)
    x = torch.randn((7, steps, D) if batch_first else (steps, 7, D), dtype=dtype)
    h = torch.randn(4 if bidirectional else 2, 7, H, dtype=dtype).tanh()
    assert fast.usable(x)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    same(everything(fast, x, h), everything(plain, x, h), tolerance)
    same(everything(fast, x, None), everything(plain, x, None), tolerance)


def test_gradcheck() -> None:
    torch.manual_seed(0)
    shapes = [(4, 2, 3), (2, 5), (15, 3), (15, 5), (15,), (15,)]
    tensors = [torch.randn(shape, dtype=torch.float64).mul_(0.7).requires_grad_() for shape in shapes]
    for reverse in (False, True):
        assert torch.autograd.gradcheck(lambda *t, r=reverse: gru_layer(*t, reverse=r), tensors)


def test_rounding_is_no_worse_than_torchs() -> None:
    """The recurrence runs in (h + 1) / 2: against float64 it must stay at rounding level over a long pass."""
    exact, _ = pair(torch.float64, batch_first=True)
    fast, plain = GRU(D, H, 2, batch_first=True), nn.GRU(D, H, 2, batch_first=True)
    for net in (fast, plain):
        net.load_state_dict(exact.state_dict())
    x = torch.randn(3, 2000, D)
    with torch.no_grad():
        want = exact(x.double())[0]
        error, torchs = ((net(x)[0].double() - want).abs().max() for net in (fast, plain))
    assert error < 2e-6
    assert error < 10 * torchs


def test_long_sequences_are_chained_with_their_gradient() -> None:
    fast, plain = pair(torch.float64, batch_first=True)
    x = torch.randn(2, 2 * module._BLOCK + 3, D, dtype=torch.float64)
    h = torch.randn(2, 2, H, dtype=torch.float64)
    same(everything(fast, x, h), everything(plain, x, h), 1e-10)


def test_interleaved_passes_do_not_share_scratch() -> None:
    """Two forward passes before either backward, of the same shape, and a second backward over one graph."""
    fast, plain = pair(torch.float64, batch_first=True)
    xs = [torch.randn(7, 9, D, dtype=torch.float64) for _ in range(2)]
    gradients = []
    for net in (fast, plain):
        net.zero_grad()
        outs = [net(x)[0].square().sum() for x in xs]
        outs[0].backward(retain_graph=True)
        outs[1].backward()
        outs[0].backward()
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    same(gradients[0], gradients[1], 1e-12)


def test_threads_do_not_share_scratch() -> None:
    fast, _ = pair(torch.float64, batch_first=True)
    xs = [torch.randn(7, 40, D, dtype=torch.float64) for _ in range(4)]
    with torch.no_grad():
        want = [fast(x)[0] for x in xs]
    wrong: list[int] = []

    def work(i: int) -> None:
        with torch.no_grad():
            for _ in range(20):
                if not torch.equal(fast(xs[i])[0], want[i]):
                    wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_results_do_not_depend_on_what_ran_before() -> None:
    """Kept scratch of a longer, NaN-filled pass must not show in a later one."""
    fast, _ = pair(batch_first=True)
    x = torch.randn(7, 9, D)
    module._kept.clear()
    want = everything(fast, x, None)
    everything(fast, torch.full((7, 30, D), float("nan")), None)
    assert module._kept
    got = everything(fast, x, None)
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_a_graph_gives_its_scratch_back_with_the_gradient() -> None:
    fast, _ = pair(batch_first=True)
    x = torch.randn(7, 9, D)
    module._kept.clear()
    loss = fast(x)[0].sum()
    assert not module._kept  # lent to both layers
    loss.backward(retain_graph=True)
    assert len(module._kept) == 1  # the gradient's own
    loss.backward()
    assert len(module._kept) == 3  # though the loss is still there
    spaces = {id(space) for space in module._kept}
    held = [fast(x)[0].sum() for _ in range(2)]
    held[0].backward()
    del held
    assert {id(space) for space in module._kept} >= spaces and len(module._kept) == 5
    with torch.no_grad():
        fast(x)
    assert len(module._kept) == 5


@pytest.mark.parametrize("way", ["hooks", "checkpoint", "reentrant"])
def test_gates_are_computed_again_where_they_were_not_saved(way: str) -> None:
    from torch.autograd.graph import saved_tensors_hooks
    from torch.utils.checkpoint import checkpoint

    fast, plain = pair(torch.float64, batch_first=True)
    x = torch.randn(7, 9, D, dtype=torch.float64, requires_grad=True)
    module._kept.clear()
    if way == "hooks":
        with saved_tensors_hooks(lambda saved: saved.clone(), lambda saved: saved):
            out = fast(x)[0]
    else:
        out = checkpoint(lambda x: fast(x)[0], x, use_reentrant=way == "reentrant")
    assert module._kept  # nothing is lent while the graph waits
    out.square().sum().backward()
    got = {name: p.grad.clone() for name, p in fast.named_parameters() if p.grad is not None} | {"x": x.grad.clone()}
    x.grad = None
    plain(x)[0].square().sum().backward()
    same(got, {name: p.grad for name, p in plain.named_parameters() if p.grad is not None} | {"x": x.grad}, 1e-12)


def test_scratch_kept_is_bounded() -> None:
    fast, _ = pair(batch_first=True)
    module._kept.clear()
    with torch.no_grad():
        for batch in range(1, 2 * module._KEEP_SPACES):
            fast(torch.randn(batch, 3, D))
        assert len(module._kept) <= module._KEEP_SPACES
        for batch in range(700, 700 + module._KEEP_SPACES):
            fast(torch.randn(batch, 64, D))
        assert 0 < sum(space.bytes for space in module._kept) <= module._KEEP_ALL
        module._kept.clear()
        gru_layer(
            torch.randn(64, 600, D), torch.zeros(600, 100), *(torch.randn(s) for s in ((300, D), (300, 100), 300, 300))
        )
        assert not module._kept


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_is_left_as_it_was(threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        fast, plain = pair(batch_first=True)
        x = torch.randn(3, 8, D)
        same(everything(fast, x, None), everything(plain, x, None), 1e-5)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_second_derivatives_are_refused_not_wrong() -> None:
    fast, _ = pair(torch.float64, batch_first=True)
    x = torch.randn(2, 3, D, dtype=torch.float64, requires_grad=True)
    with pytest.raises(UsageError, match=r"first derivatives only.*fast=False"):
        torch.autograd.grad(fast(x)[0].sum(), x, create_graph=True)


def test_frozen_parts_and_inference_mode() -> None:
    fast, plain = pair(torch.float64, batch_first=True)
    for net in (fast, plain):
        net.weight_hh_l0.requires_grad_(False)
    x = torch.randn(3, 8, D, dtype=torch.float64)
    for net in (fast, plain):
        net(x)[0].square().sum().backward()
    assert fast.weight_hh_l0.grad is None
    torch.testing.assert_close(fast.weight_ih_l0.grad, plain.weight_ih_l0.grad, rtol=0, atol=1e-11)
    with torch.inference_mode():
        out = fast(x)[0]
    torch.testing.assert_close(out, plain(x)[0].detach(), rtol=0, atol=1e-12)
    assert not fast(x.float().double())[0].is_inference()
    for parameter in fast.parameters():
        assert parameter.grad is None or not parameter.grad.is_inference()


def test_what_the_kernel_does_not_take_goes_to_torch() -> None:
    fast, plain = pair(batch_first=True)
    x = torch.randn(3, 8, D)
    fast.fast = False
    assert not fast.usable(x)
    assert torch.equal(fast(x)[0], plain(x)[0])
    fast.fast = True
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([8, 5, 2]), batch_first=True)
    assert torch.equal(fast(packed)[0].data, plain(packed)[0].data)
    assert torch.equal(fast(x[0])[0], plain(x[0])[0])
    assert not fast.usable(x.to("meta"))
    with torch.autocast("cpu", torch.bfloat16):
        assert not fast.usable(x)
    assert not GRU(D, H, bias=False, batch_first=True).usable(x)


def test_a_state_of_the_wrong_shape_is_refused_as_torch_does() -> None:
    fast, _ = pair(batch_first=True)
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        fast(torch.randn(3, 8, D), torch.zeros(2, 4, H))
