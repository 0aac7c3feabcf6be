"""Several nets of one shape at once (seeds, trials): stacked weights against one after another, and against processes.

Stacked: the weights of all nets in one tensor ``[N, ...]``, one batched matrix product per step for all of them. It
shares the calls, but torch has no fused LSTM for stacked weights, so every step is a product and a few pointwise
calls. One after another: torch's fused LSTM, net by net. `torch.func.vmap` cannot map the fused kernel.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

import torch
from common import Row, asked_for_all, finish, interleave, ratio
from torch import Tensor, nn

NETS, STEPS, FEATURES, HORIZON = 8, 64, 9, 24


class Stacked(nn.Module):
    """``N`` LSTM nets with a linear head, ``x [B, K, F]`` shared -> ``[N, B, K, H]``."""

    def __init__(self, nets: list[nn.ModuleDict]) -> None:
        super().__init__()

        def gather(part: str, name: str) -> nn.Parameter:
            return nn.Parameter(torch.stack([getattr(net[part], name).detach() for net in nets]))

        self.w_ih, self.w_hh = gather("rnn", "weight_ih_l0"), gather("rnn", "weight_hh_l0")
        self.bias = nn.Parameter(gather("rnn", "bias_ih_l0").detach() + gather("rnn", "bias_hh_l0").detach())
        self.w, self.b = gather("head", "weight"), gather("head", "bias")

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        count, (batch, steps, width) = len(self.w), x.shape
        flat = x.transpose(0, 1).reshape(1, steps * batch, width).expand(count, -1, -1)
        gates = torch.baddbmm(self.bias[:, None], flat, self.w_ih.transpose(1, 2)).unflatten(1, (steps, batch))
        recurrent = self.w_hh.transpose(1, 2)
        out = []
        for part in gates.unbind(1):
            i, f, g, o = torch.baddbmm(part, h, recurrent).chunk(4, -1)
            c = torch.addcmul(f.sigmoid() * c, i.sigmoid(), g.tanh())
            h = o.sigmoid() * c.tanh()
            out.append(h)
        features = torch.stack(out, 1).flatten(1, 2)
        return (
            torch.baddbmm(self.b[:, None], features, self.w.transpose(1, 2))
            .unflatten(1, (steps, batch))
            .transpose(1, 2)
        )


def build(hidden: int, seed: int) -> nn.ModuleDict:
    torch.manual_seed(seed)
    return nn.ModuleDict({"rnn": nn.LSTM(FEATURES, hidden, batch_first=True), "head": nn.Linear(hidden, HORIZON)})


def single(net: nn.ModuleDict, optimizer: torch.optim.Optimizer | None, x: Tensor, y: Tensor) -> Tensor:
    loss = nn.functional.smooth_l1_loss(net["head"](net["rnn"](x)[0]), y)
    loss.backward()
    if optimizer is not None:
        optimizer.step()
        optimizer.zero_grad()
    return loss


def compare(hidden: int, lanes: int, repeats: int) -> tuple[tuple[float, float, float], float, float, float]:
    """(stacked / in turn, ms in turn, ms stacked, largest relative gap between their gradients)."""
    nets = [build(hidden, seed) for seed in range(NETS)]
    x, y = torch.randn(lanes, STEPS, FEATURES), torch.randn(lanes, STEPS, HORIZON)
    zero = torch.zeros(NETS, lanes, hidden)

    def together(optimizer: torch.optim.Optimizer | None) -> None:
        errors = nn.functional.smooth_l1_loss(stacked(x, zero, zero), y.expand(NETS, -1, -1, -1), reduction="none")
        errors.mean((1, 2, 3)).sum().backward()
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()

    stacked = Stacked(nets)
    together(None)
    for net in nets:
        single(net, None, x, y)
    theirs = torch.stack([net["rnn"].weight_hh_l0.grad for net in nets])
    assert stacked.w_hh.grad is not None
    gap = float((stacked.w_hh.grad - theirs).abs().max() / theirs.abs().max())
    many = [torch.optim.AdamW(net.parameters(), fused=True) for net in nets]
    one = torch.optim.AdamW(stacked.parameters(), fused=True)
    took = interleave(
        {
            "turn": lambda: [single(net, opt, x, y) for net, opt in zip(nets, many, strict=True)],
            "stacked": lambda: together(one),
        },
        repeats,
        warm=3,
    )
    return ratio(took["stacked"], took["turn"]), 1e3 * took["turn"].median, 1e3 * took["stacked"].median, gap


def processes(hidden: int, lanes: int, repeats: int) -> tuple[float, float, float]:
    """8 nets in one process per core / 8 in turn with all cores, start-up left out."""
    cores = min(os.cpu_count() or 1, NETS)
    ratios = []
    for i in range(repeats):
        both = {}
        for parts, threads in ((cores, 1), (1, cores))[:: 1 if i % 2 else -1]:
            command = [sys.executable, __file__, "--worker", str(NETS // parts), str(hidden), str(lanes)]
            env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            with_all = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(parts)]
            both[parts] = max(float(process.communicate()[0]) for process in with_all)
        ratios.append(both[cores] / both[1])
    ratios.sort()
    return ratios[len(ratios) // 2], ratios[0], ratios[-1]


def worker(nets: int, hidden: int, lanes: int) -> None:
    x, y = torch.randn(lanes, STEPS, FEATURES), torch.randn(lanes, STEPS, HORIZON)
    pairs = [(net, torch.optim.AdamW(net.parameters(), fused=True)) for net in (build(hidden, s) for s in range(nets))]
    for round_ in range(52):
        if round_ == 2:
            began = time.perf_counter()
        for net, optimizer in pairs:
            single(net, optimizer, x, y)
    print(time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--worker", nargs=3, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    torch.set_num_threads(options.threads)
    rows = []
    for hidden, lanes in ((16, 8), (32, 16), (64, 16), (64, 64)):
        (middle, low, high), turn, stacked, gap = compare(hidden, lanes, options.repeats)
        if gap > 1e-4:
            raise SystemExit(f"the stacked nets' gradients are off by {gap:g}")
        rows.append(
            Row(
                f"8 seeds stacked / 8 in turn, a step (hidden {hidden}, lanes {lanes})",
                "<= 0.5",
                middle,
                low,
                high,
                middle <= 0.5,
                "x",
                f"{stacked:.1f} ms against {turn:.1f} ms",
            )
        )
    middle, low, high = processes(64, 16, max(5, options.repeats - 4))
    rows.append(
        Row(
            f"8 seeds in {min(os.cpu_count() or 1, NETS)} processes / 8 in turn (hidden 64, lanes 16)",
            "<= 0.5",
            middle,
            low,
            high,
            middle <= 0.5,
            "x",
        )
    )
    finish("seeds", rows, {"threads": options.threads}, keep=asked_for_all(parser, options))


if __name__ == "__main__":
    main()
