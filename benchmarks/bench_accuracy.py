"""Fast paths give no accuracy away: the same fits with every fast path and with the plain torch formulas, three seeds.

Plain: torch's own GRU, the skip as a product with every window, the losses as they are written in the books, torch's
own masks of dropout, batches cut by one index per row. The holdout error is the mean absolute error over that of the
naive forecast. The paths differ by those masks and by rounding, which act as another seed does: their means are to lie
within the spread of the seeds, or within 0.001 where seeds differ less.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import statistics
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from common import Row, asked_for_all, etth1, finish, hourly, panel
from torch import Tensor, nn

import forecast.data
import forecast.nn.dropout
from forecast.config import Config
from forecast.nn.gru import GRU
from forecast.nn.head import masked_mean
from forecast.nn.heads import PointHead, QuantileHead
from forecast.nn.network import LinearSkip
from forecast.train import fit
from pipelines.batches import gather


def plain_pinball(self: QuantileHead, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
    """Mean over allowed targets and levels of ``max(q e, (q - 1) e)``."""
    error = torch.where(mask, y, y.new_zeros(()))[..., None] - self.forecast(params)
    loss = torch.maximum(self.levels * error, (self.levels - 1) * error)
    total: Tensor = (loss * mask[..., None]).sum() / (mask.sum().clamp(min=1) * len(self.quantiles))
    return total


def plain_huber(self: PointHead, params: Tensor, y: Tensor, mask: Tensor, now: Tensor | None = None) -> Tensor:
    """Mean over allowed targets of torch's own."""
    target = torch.where(mask, y, y.new_zeros(()))
    return masked_mean(nn.functional.smooth_l1_loss(params[..., 0], target, reduction="none"), mask)


def torch_mask(x: Tensor, dropped: int) -> Tensor:
    """A mask by torch's own dropout."""
    return nn.functional.dropout(torch.ones_like(x), dropped / (1 << 16))


@contextlib.contextmanager
def plain_paths() -> Iterator[None]:
    """Everything by the plain formula."""

    def row_by_row(source: Any, chunk: Any) -> Any:
        return gather(source, dataclasses.replace(chunk, last=len(source.x)))  # as if it reached over the end

    with (
        mock.patch.object(GRU, "usable", return_value=False),
        mock.patch.object(LinearSkip, "_worth_sliding", return_value=False),
        mock.patch.object(QuantileHead, "loss", plain_pinball),
        mock.patch.object(PointHead, "loss", plain_huber),
        mock.patch.object(forecast.nn.dropout, "_mask", torch_mask),
        mock.patch.object(forecast.data, "gather", row_by_row),
    ):
        yield


def error(data: Any, seed: int, settings: dict[str, Any]) -> float:
    """Mean absolute error on the holdout span over that of the last value."""
    model = fit(data, Config.make(), seed=seed, **settings)
    horizon = model.horizon
    before = model.facts["rows"]["train"] + model.facts["rows"]["stop"]  # all series are of one length here
    first = data.offsets[:-1] + before // len(data.ids)
    rows = np.concatenate([np.arange(a, b - horizon) for a, b in zip(first, data.offsets[1:], strict=True)])
    y = data.column("y")
    truth = y[rows[:, None] + 1 + np.arange(horizon)]
    owner = np.searchsorted(data.offsets, rows, side="right") - 1
    ours = np.abs(model.forecast_rows(data, rows).point - truth).mean(1)
    naive = np.abs(y[rows, None] - truth).mean(1)
    each = [float(ours[owner == i].mean() / naive[owner == i].mean()) for i in range(len(data.ids))]
    return statistics.mean(each)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--updates", type=int, default=300)
    options = parser.parse_args()
    import pipelines

    torch.set_num_threads(options.threads)
    common: dict[str, Any] = {"updates": options.updates, "threads": options.threads}
    jobs: dict[str, tuple[Any, dict[str, Any]]] = {
        "S&P 500, horizon 5, lstm": (pipelines.load("^GSPC", source="sample"), {"horizon": 5}),
        "100 hourly series, horizon 24, gru": (panel(hourly(100, 1000), "h"), {"horizon": 24, "core": "gru"}),
    }
    values = etth1()
    if values is not None:
        jobs["ETTh1, horizon 96, lstm"] = (panel(values, "h"), {"horizon": 96})
        jobs["ETTh1, horizon 96, gru"] = (panel(values, "h"), {"horizon": 96, "core": "gru"})
        jobs["ETTh1, horizon 96, lstm, point head"] = (panel(values, "h"), {"horizon": 96, "head": "point"})
    rows, details = [], {}
    for name, (data, settings) in jobs.items():
        fast, plain = [], []
        for seed in options.seeds:
            fast.append(error(data, seed, {**common, **settings}))
            with plain_paths():
                plain.append(error(data, seed, {**common, **settings}))
        gap, spread = abs(statistics.mean(fast) - statistics.mean(plain)), max(plain) - min(plain)
        rows.append(
            Row(
                f"error over naive: {name}; fast paths (spread over seeds)", "plain, within its spread",
                statistics.mean(fast), min(fast), max(fast), gap <= max(spread, 1e-3), "x",
                f"plain {statistics.mean(plain):.4f} ({min(plain):.4f} to {max(plain):.4f})",
            )
        )  # fmt: skip
        details[name] = {"fast": fast, "plain": plain}
    finish(
        "accuracy", rows, {"threads": options.threads, "updates": options.updates, "errors": details},
        keep=asked_for_all(parser, options),
    )  # fmt: skip


if __name__ == "__main__":
    main()
