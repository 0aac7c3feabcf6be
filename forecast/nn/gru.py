"""A GRU with torch's parameters."""

from __future__ import annotations

from torch import nn


class GRU(nn.GRU):
    """torch's GRU."""
