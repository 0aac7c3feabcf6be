"""Report: report.html, report.md and PNGs in a run folder, rebuilt from what the folder holds.

The same folder gives the same bytes. The files join the manifest in an order that leaves a folder whose check
passes wherever the process is killed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from forecast import storage
from forecast.report_charts import chart_data
from forecast.report_data import read_page
from forecast.report_markdown import markdown
from forecast.report_page import html_page
from forecast.report_text import sections

HTML, MARKDOWN = "report.html", "report.md"


def report(run: Path | str) -> list[Path]:
    """Write the report of a ``fit`` or a ``backtest`` into its run folder; the files written, the page first.

    Raises:
        ArtifactError: the folder is damaged, or neither a fit's nor a backtest's.
        UsageError: the folder cannot be written to.

    Example:
        >>> report("runs/GSPC-lstm-20260101-120000")  # doctest: +SKIP
    """
    from forecast.report_plots import save_charts

    folder = Path(run)
    facts = storage.check_folder(folder)
    page = read_page(folder, facts)
    charts = storage.plain(chart_data(page))
    parts = sections(page, charts)
    with tempfile.TemporaryDirectory() as aside:
        pictures = save_charts(charts, Path(aside))
        files = {HTML: html_page(page, charts, parts), MARKDOWN: markdown(page, parts, pictures).encode()}
        files |= {name: (Path(aside) / name).read_bytes() for name in pictures}
    gone = {name for name in facts["files"] if name.startswith("report") and "/" not in name} - set(files)
    storage.add_files(folder, files, remove=gone)
    return [folder / name for name in files]


def write_page(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write report.html alone into a folder that is being written and has no manifest yet.

    Args:
        facts: what the manifest will say.
    """
    page = read_page(folder, facts)
    charts = storage.plain(chart_data(page))
    (folder / HTML).write_bytes(html_page(page, charts, sections(page, charts)))
