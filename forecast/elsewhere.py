"""Whether the newest values of a series lie where training saw any: another unit or column shows in its level.

Assumptions, named: of every series the fit remembers the range of its values up to the end of the stop span, from the
5th to the 95th of a hundred. Its newest values (the median of the last ``NEWEST``) are elsewhere where they are

- of the same sign and ``TIMES`` times larger than the range's far end, or all of them as much smaller than its near
  end; or
- of a target that is not log-transformed, typically ``TIMES`` spreads away from the middle of the range, where a spread
  is the width of the range, at least the size of its middle.

So thousands for units or cents for dollars are said; a price that grew ten-fold, a trend over ten times the training
rows, an outage at zero or degrees Fahrenheit are not. Not told either: values about zero that became smaller, which may
just rest, and any of a series that was 0 throughout, which may just have begun.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.panel import Panel
from pipelines.where import some

Array = NDArray[np.float64]
TIMES = 20.0
NEWEST = 20  # values
EDGE = 0.05  # share of the values below the range, and above it


def ranges_of(panel: Panel, ends: NDArray[np.int64]) -> dict[str, list[float]]:
    """``{series: [low, high]}`` of the first ``ends [S]`` rows of every series that has a value there; JSON."""
    y, found = panel.column("y"), {}
    for name, low, count in zip(panel.ids, panel.offsets[:-1], ends, strict=True):
        values = y[low : low + count]
        values = values[~np.isnan(values)]
        if len(values):
            first = int(EDGE * len(values))
            edges = first, len(values) - 1 - first
            found[name] = np.partition(values, edges)[list(edges)].tolist()
    return found


def notes_on_level(
    panel: Panel, seen: Mapping[str, Sequence[float]], *, log: bool, times: Array | None = None
) -> list[str]:
    """A sentence on the series of ``panel`` whose newest values lie far outside what training saw, if there are any.

    Args:
        seen: of :func:`ranges_of`; series that are not in it are passed over.
        log: the target is log-transformed, so only how many times larger or smaller it is counts.
        times: ``[S]`` what values are multiplied by to be on the share count of the fit.
    """
    y, far = panel.column("y"), {}
    for i, name in enumerate(panel.ids):
        values = y[panel.offsets[i] : panel.offsets[i + 1]]
        values = values[~np.isnan(values)][-NEWEST:] * (1.0 if times is None else times[i])
        if name in seen and len(values) and _far(values, seen[name], log):
            far[name] = float(np.median(values))
    if not far:
        return []
    first, newest = next(iter(far.items()))
    low, high = seen[first]
    its, it = ("its", "it") if len(far) == 1 else ("their", "them")
    return [
        f"{some(list(far))}: {its} newest values lie far from those that training saw of {it} ({first}: about "
        f"{newest:,.6g}, training saw {low:,.6g} to {high:,.6g}), where forecasts and intervals do not hold. Is it the "
        "same unit and column?"
    ]


def _far(values: Array, seen: Sequence[float], log: bool) -> bool:
    low, high = seen
    near, end, sizes = (-high, -low, -values) if high < 0 else (low, high, values)
    if near > 0 and (np.median(sizes) > TIMES * end or 0 < sizes.min() <= sizes.max() < near / TIMES):
        return True
    middle = (low + high) / 2
    spread = max(high - low, abs(middle))
    return not log and float(np.median(np.abs(values - middle))) > TIMES * spread > 0
