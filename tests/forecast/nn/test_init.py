"""Initial weights: orthogonal, Xavier, zero, one and identity, each where it belongs."""

from __future__ import annotations

import math

import pytest
import torch

from forecast.nn.cores import build_core

D, H = 5, 16


@pytest.mark.parametrize(("kind", "gates"), [("rnn", 1), ("rnn-relu", 1), ("lstm", 4), ("gru", 3)])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_every_block_of_every_layer(kind: str, gates: int, bidirectional: bool) -> None:
    torch.manual_seed(0)
    core = build_core(kind, D, H, 3, bidirectional=bidirectional)
    names = dict(core.named_parameters())
    assert len(names) == 4 * 3 * (2 if bidirectional else 1)
    for name, value in names.items():
        if "weight_hh" in name:
            for block in value.chunk(gates):
                torch.testing.assert_close(block @ block.T, torch.eye(H), rtol=0, atol=1e-5)
        elif "weight_ih" in name:
            bound = math.sqrt(6 / (H + value.shape[1]))
            for block in value.chunk(gates):
                assert 0.8 * bound < block.abs().max() <= bound
                assert block.detach().std().item() == pytest.approx(bound / math.sqrt(3), rel=0.3)
        elif "bias_ih" in name:
            total = value + names[name.replace("bias_ih", "bias_hh")]
            want = torch.zeros(gates * H)
            if kind == "lstm":
                want[H : 2 * H] = 1
            assert torch.equal(total, want)


def test_identity_is_the_irnn() -> None:
    core = build_core("rnn-relu", D, H, 2, init="identity")
    for name, value in core.named_parameters():
        if "weight_hh" in name:
            assert torch.equal(value, torch.eye(H))
    x = torch.zeros(1, 500, D)
    start = torch.rand(1, 2, H)
    start[:, 1] = 0
    _, (end,) = core(x, (start,))
    torch.testing.assert_close(end[:, 0], start[:, 0])  # without input it remembers for ever
