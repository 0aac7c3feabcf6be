"""``forecast generate``: learn a text character by character, or take a saved generator, and go on from a few words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from forecast.commands import options as opt
from forecast.family import FAMILY

HELP = """Learn a text character by character and go on from a few words of your own.

The net is the one that forecasts; the classes of its categorical head are the characters. The last tenth of the text
is held out: bits per character there say whether it learned the language or the text by heart.
"""
LEARN = {name: opt.SETTING_FLAGS[name] for name in ("epochs", "seed", "set_", "config", "threads", "accelerator")}
WHAT = "What"
NETS = ", ".join(name for name, member in FAMILY.items() if member.streams and member.gradient)


@opt.takes(settings=LEARN)
def generate(
    settings: dict[str, Any],
    seed_text: Annotated[
        str, typer.Option("--seed-text", help="What to go on from.", rich_help_panel=WHAT, show_default=False)
    ],
    text: Annotated[
        Path | None, typer.Option("--text", help="A text file (UTF-8) to learn.", rich_help_panel=WHAT)
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="A generator saved with --out, instead.", rich_help_panel=WHAT)
    ] = None,
    length: Annotated[int, typer.Option("--length", min=0, help="Characters to add.", rich_help_panel=WHAT)] = 300,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature", help="1 as learned; lower: likelier; higher: more at random.", rich_help_panel=WHAT
        ),
    ] = 0.7,
    model: Annotated[
        str | None, typer.Option("--model", help=f"{NETS}; see `forecast models`.", rich_help_panel=opt.MODEL)
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Keep the generator here.", rich_help_panel=opt.RUN)] = None,
    json: opt.Json = False,
    debug: opt.Debug = False,
) -> None:
    from forecast import storage
    from forecast.commands import screen
    from forecast.idle import idle_in_generator
    from forecast.request import check_free, config_of
    from pipelines.errors import UsageError

    if (text is None) == (run is None):
        raise UsageError("give either a text to learn or a saved generator.", hint="Use --text FILE or --run FOLDER.")
    if not 0 < temperature < float("inf"):  # before anything is learned
        raise UsageError(
            f"--temperature is {temperature}, it must be above 0 and finite.", hint="0.01 is nearly the likeliest."
        )
    if not seed_text:
        raise UsageError("there is nothing to go on from.", hint="Give at least one character as --seed-text.")
    given = [name for name, value in ({"model": model, "out": out} | settings).items() if value and name != "seed"]
    if run is not None and given:
        raise UsageError(
            f"--{given[0].rstrip('_')} goes with --text: a saved generator is as it is.", hint="Leave it out."
        )
    config = config_of({"preset": None, **settings}, core=model)
    screen.show_warnings(idle_in_generator(config))
    check_free(out)
    written = "" if text is None else read_text(text)
    with screen.bar("training") as bar:
        from forecast.generate import Generator

        if run is not None:
            generator = Generator.load(run)
        else:
            if missing := sorted(set(seed_text) - set(written)):
                raise UsageError(
                    f"the text never has {' '.join(map(repr, missing))}.", hint="Choose another --seed-text."
                )
            generator = Generator.fit(written, config=config, progress=bar.training)
    added = generator.sample(seed_text, length, temperature, config.train.seed)
    path = None if out is None else generator.save(out)
    if json:
        facts = {name: value for name, value in generator.facts.items() if name != "losses"}
        screen.emit(storage.plain({
            "schema": 1, "seed_text": seed_text, "added": added, "temperature": temperature, "facts": facts,
            "run": None if path is None else str(path), "config": generator.config.to_json(),
        }))  # fmt: skip
        return
    from rich.markup import escape

    console = screen.out()
    console.print(f"[dim]{escape(repr(generator))}[/]\n")
    console.print(f"[bold]{escape(seed_text)}[/]{escape(str(added))}")
    if path is not None:
        console.print(f"\nKept in     {escape(str(path))}")


def read_text(file: Path) -> str:
    """The text in ``file``.

    Raises:
        UsageError: no such file, or not UTF-8.
    """
    from pipelines.errors import UsageError

    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file}: not UTF-8 ({error.reason}).", hint="Save the text as UTF-8.") from error
    except OSError as error:
        raise UsageError(f"{file}: cannot be read ({error.strerror}).", hint="Check --text.") from error
