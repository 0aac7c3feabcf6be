"""``forecast predict``: forecast again from a saved run, on its own rows or on newer data."""

from __future__ import annotations

from typing import Any

from forecast.commands import options as opt

HELP = """Forecast again from a saved run: on the rows saved in it, or on newer data of the same series."""


def predict(
    run: opt.RunFolder,
    ticker: opt.Ticker = None,
    csv: opt.Csv = None,
    time: opt.Time = None,
    target: opt.Target = None,
    id: opt.Id = None,
    past: opt.Past = None,
    future: opt.Future = None,
    static: opt.Static = None,
    source: opt.Source = "yahoo",
    offline: opt.Offline = False,
    start: opt.Start = None,
    end: opt.End = None,
    interval: opt.Interval = "1d",
    freq: opt.Freq = None,
    gaps: opt.Gaps = None,
    irregular: opt.Irregular = None,
    duplicates: opt.Duplicates = None,
    tz: opt.Tz = None,
    dayfirst: opt.Dayfirst = None,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from forecast import storage
    from forecast.commands import screen
    from forecast.commands.fit import forecast_table, show_data
    from forecast.model import Model
    from forecast.run import DataRequest, horizon_note, records

    model = Model.load(run)
    panel = None
    if ticker or csv is not None:
        panel = DataRequest(
            ticker=tuple(ticker or ()), csv=csv, source=source, offline=offline, start=start, end=end,
            interval=interval, time=time, target=tuple(target or ()), id=id, past=tuple(past or ()),
            future=tuple(future or ()), static=tuple(static or ()),
            options={"freq": freq, "gaps": gaps, "irregular": irregular, "duplicates": duplicates, "tz": tz, "dayfirst": dayfirst},
        ).load()  # fmt: skip
    forecast = model.predict(panel)
    history: Any = model.panel
    if json:
        screen.emit(
            storage.plain({
                "schema": 1,
                "run": str(run),
                "series": history.describe(),
                "forecast": records(forecast),
                "config": model.config.to_json(),
            })
        )  # fmt: skip
        return
    console = screen.out()
    show_data(console, history)
    console.print(f"\n[bold]Forecast[/] ({horizon_note(model)})")
    console.print(forecast_table(forecast, model.name, model.levels))
