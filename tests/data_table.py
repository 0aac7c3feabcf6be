"""Every file of ../shared/data/sensors and stocks, what a person would type for it, and what must come of it.

``python -m tests.data_table`` prints the table with what comes of each row now.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
DATA = Path(os.environ.get("FORECAST_SHARED_DATA", _BESIDE))


@dataclass(frozen=True)
class Case:
    """One command: ``file`` below ../shared/data, the words after it, and the outcome.

    ``grid`` and ``rows`` (all series together, missing ones included), ``missing`` when it is read; ``refused``,
    words the refusal must hold, when it is not.
    """

    file: str
    words: str = ""
    grid: str = ""
    rows: int = 0
    missing: int = 0
    refused: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.file} {self.words}".strip()

    @property
    def path(self) -> Path:
        return DATA / self.file

    def options(self) -> dict[str, Any]:
        """The words as keyword arguments of ``pipelines.sources.files.read_file``."""
        return parse(self.words)


def parse(words: str) -> dict[str, Any]:
    """``"--target OT --irregular snap"`` -> ``{"target": ["OT"], "irregular": "snap"}``."""
    options: dict[str, Any] = {}
    rest = shlex.split(words)
    while rest:
        name = rest.pop(0).removeprefix("--")
        if name in ("dayfirst", "no-dayfirst"):
            options["dayfirst"] = name == "dayfirst"
        elif name in ("target", "past", "future", "static"):
            options.setdefault(name, []).append(rest.pop(0))
        else:
            options[name] = rest.pop(0)
    return options


def _prices(file: str, rows: int, words: str = "", missing: int = 0, grid: str = "XNYS sessions") -> Case:
    return Case(f"stocks/{file}", words, grid, rows, missing)


_BASES = ("line 2", "'Close'", "560 rows", "--target 'Open'")
SENSORS = (
    Case("sensors/ETTh1.csv", refused=("7 columns could be the target", "--target")),
    Case("sensors/ETTh1.csv", "--target OT", "h", 17420),
    Case("sensors/ETTh1.csv", "--target OT --past '*'", "h", 17420),
    Case("sensors/ETTm1.csv", "--target OT", "15min", 69680),
    Case("sensors/exchange_rate.txt.gz", refused=("no column holds dates", "--time", "--freq")),
    Case("sensors/exchange_rate.txt.gz", "--time 1990-01-01 --freq B --target c8", "B", 7588),
    Case("sensors/nab/machine_temperature_system_failure.csv", refused=("line 10151", "'timestamp'", "--duplicates")),
    Case("sensors/nab/machine_temperature_system_failure.csv", "--duplicates mean", "5min", 22683),
    Case("sensors/nab/nyc_taxi.csv", "", "30min", 10320),
    Case("sensors/nab/ec2_cpu_utilization_24ae8d.csv", "", "5min", 4032),
    Case("sensors/nab/rds_cpu_utilization_cc0c53.csv", "", "5min", 4033, 1),
    Case("sensors/nab/TravelTime_387.csv", refused=("irregular steps: 909 of 2,499", "line 3", "--irregular snap")),
    Case("sensors/nab/TravelTime_387.csv", "--irregular snap --freq 30min", "30min", 3319, 2068),
    Case("sensors/nab/speed_6005.csv", refused=("irregular steps: 677 of 2,499", "--irregular snap")),
    Case("sensors/nab/speed_6005.csv", "--irregular snap", "5min", 4873, 2392),
    Case("sensors/nab/exchange-3_cpm_results.csv", "", "h", 1647, 109),
    Case("sensors/nab/art_daily_small_noise.csv", "", "5min", 4032),
    Case("sensors/nab/art_flatline.csv", "", "5min", 4032),
    Case("sensors/nab/Twitter_volume_GOOG.csv", "", "5min", 15842),
    Case("sensors/nab/combined_windows.json", refused=("is JSON", "CSV")),
    Case("sensors/daily-min-temperatures.csv", "", "D", 3652, 2),
    Case("sensors/monthly-sunspots.csv", "", "MS", 2820),
    Case("sensors/airline-passengers.csv", "", "MS", 144),
    Case("sensors/monthly-shampoo-sales.csv", refused=("line 2", "'Month'", "no year with a century", "--freq MS")),
    Case("sensors/monthly-shampoo-sales.csv", "--time 2001-01-01 --freq MS --target Sales", "MS", 36),
    Case("sensors/DailyDelhiClimateTrain.csv", "--target meantemp", "D", 1462),
    Case("sensors/DailyDelhiClimateTest.csv", "--target meantemp", "D", 114),
    Case("sensors/M4-Hourly-train.csv", refused=("one series per row", "--time")),
    Case("sensors/M4-Hourly-train.csv", "--time 2015-01-01 --freq h", "h", 353500),
    Case("sensors/M4-Hourly-test.csv", "--time 2015-02-10 --freq h", "h", 19872),
    Case(
        "sensors/vic_electricity.csv", "--target Demand --tz Australia/Melbourne", "30min (Australia/Melbourne)", 52608
    ),
    Case("sensors/bdg2_hourly_sample.csv", "--target building_1 --target building_2", "h", 13106),
    Case("sensors/household_power_consumption_days.csv", "--target Global_active_power", "D", 1442),
    Case("sensors/sunspots_yearly.csv", "", "YS-JAN", 309),
)
STOCKS = (
    Case("stocks/google_course/Google_Stock_Price_Train.csv", refused=_BASES),
    _prices("google_course/Google_Stock_Price_Train.csv", 1258, "--target Open"),
    _prices("google_course/Google_Stock_Price_Train.csv", 698, "--impossible mask"),
    _prices("google_course/Google_Stock_Price_Test.csv", 20),
    Case("stocks/google_course/variant_semicolon_bom_Train.csv", refused=_BASES),
    _prices("google_course/variant_semicolon_bom_Train.csv", 1258, "--target Open --past Volume"),
    _prices("mpf_yahoofinance-AAPL-20040819-20180120.csv", 3379),
    _prices("mpf_yahoofinance-SPY-20080101-20180101.csv", 2519, "--target 'Adj Close'"),
    _prices("mpf_SP500_NOV2019_Hist.csv", 20),
    Case("stocks/mpf_SP500_NOV2019_IDay.csv", refused=("line 2", "'Date'", "day/month or month/day", "--dayfirst")),
    _prices("mpf_SP500_NOV2019_IDay.csv", 4710, "--no-dayfirst", 3147, "min"),
    _prices("bokeh_AAPL.csv", 3270, "--target 'Adj Close'"),
    _prices("bokeh_MSFT.csv", 3270),
    Case("stocks/lean/daily/aapl.zip", refused=("5 columns could be the target: c2", "--target")),
    _prices("lean/daily/aapl.zip", 5849, "--target c5"),
    _prices("lean/daily/googl.zip", 1761, "--target c5"),
    _prices("lean/daily/qqq.zip", 5552, "--target c5", 1588),
    _prices("lean/hour/aapl.zip", 203743, "--target c5", 162912, "h"),
    _prices("lean/forex_daily/eurusd.zip", 4383, "--target c5", 645, "D"),
    Case("stocks/lean/factor_files/aapl.csv", "--target c2", refused=("irregular steps", "line 2", "'c1'")),
    Case("stocks/lean/factor_files/googl.csv", "--target c2", refused=("irregular steps", "line 3", "'c1'")),
    Case("stocks/lean/factor_files/qqq.csv", "--target c2", refused=("irregular steps", "line 2", "'c1'")),
    Case("stocks/lean/map_files/aapl.csv", refused=("no column holds numbers", "--target")),
    Case("stocks/lean/map_files/googl.csv", refused=("no column holds numbers", "--target")),
    Case("stocks/lean/map_files/qqq.csv", refused=("no column holds numbers", "--target")),
    _prices("plotly_finance-charts-apple.csv", 506),
    _prices("plotly_tesla-stock-price.csv", 756),
    Case("stocks/plotly_stockdata.csv", refused=("5 columns could be the target", "--target")),
    _prices("plotly_stockdata.csv", 4612, "--target MSFT --target AAPL"),
    Case("stocks/vega_stocks_long.csv", "", "MS", 560),
    _prices("vega_sp500-2000.csv", 5105),
    *(
        _prices(f"sp5yr/{name}_data.csv", rows)
        for name, rows in (
            ("AAPL", 1259), ("AMZN", 1259), ("GOOGL", 1259), ("FB", 1259), ("JPM", 1259), ("XOM", 1259), ("KO", 1259),
            ("GE", 1259), ("NVDA", 1259), ("DIS", 1259), ("BRK.B", 1259), ("APTV", 44), ("DXC", 215),
        )
    ),
    _prices("yf_repair/8TRA-DE-1d-missing-div-adjust.csv", 6, "", 1, "B"),
    _prices("yf_repair/8TRA-DE-1d-missing-div-adjust-fixed.csv", 6, "", 1, "B"),
    _prices("yf_repair/AET-L-1d-100x-error.csv", 23, "", 0, "XLON sessions"),
    _prices("yf_repair/AET-L-1d-100x-error-fixed.csv", 23, "", 0, "XLON sessions"),
    _prices("yf_repair/ALPHA-PA-1d-bad-stock-split.csv", 29, "", 0, "XETR sessions"),
    _prices("yf_repair/ALPHA-PA-1d-bad-stock-split-fixed.csv", 29, "", 0, "XETR sessions"),
    _prices("yf_repair/ASAI-L-1h-bad-unit.csv", 222, "", 202, "h"),
    _prices("yf_repair/ASAI-L-1h-bad-unit-fixed.csv", 222, "", 202, "h"),
    _prices("yf_repair/SSW-JO-1d-100x-error.csv", 29, "", 0, "B"),
    _prices("yf_repair/SSW-JO-1d-100x-error-fixed.csv", 29, "", 0, "B"),
    _prices("yf_repair/KEN-TA-1d-bad-div.csv", 964, "", 314, "D"),
    _prices("yf_repair/KEN-TA-1d-bad-div-fixed.csv", 964, "", 314, "D"),
)  # fmt: skip
CASES = (*SENSORS, *STOCKS)


QUICK = (
    "--horizon 3 --seed 0 --threads 1 --set model.hidden=4 --set model.skip=0 --set train.epochs=1 --set data.lanes=16"
)


def outcome(case: Case, folder: Path) -> tuple[int, str]:
    """``forecast fit --csv FILE WORDS`` with a tiny net, in this process: exit code, and the facts or the refusal.

    What a person types is FILE and WORDS; the rest only makes the net small.
    """
    import contextlib
    import io
    import json
    import signal
    import sys
    import tempfile

    from forecast.cli import main as command

    out = Path(tempfile.mkdtemp(dir=folder)) / "run"
    words = ["forecast", "fit", "--csv", str(case.path), *shlex.split(case.words), *shlex.split(QUICK)]
    before, sys.argv = sys.argv, [*words, "--out", str(out), "--json"]
    handler = signal.getsignal(signal.SIGTERM)
    text, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
            command()
    except SystemExit as stop:
        code = int(stop.code or 0)
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
    document = json.loads(text.getvalue())
    if code:
        return code, f"{document['error']['message']} {document['error']['hint'] or ''}"
    facts = document["series"]
    label = document["validation"]["verdict"]["label"]
    return 0, f"{facts['rows']} rows, {facts['frequency']}, {facts['missing']} missing, {label}"


def main() -> None:
    """Print the table."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            code, text = outcome(case, Path(folder))
            print(f"{'fits   ' if code == 0 else f'exit {code} '}  {case.name:<70}  {text}", flush=True)


if __name__ == "__main__":
    main()
