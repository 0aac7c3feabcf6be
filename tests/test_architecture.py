"""The shape of the code base: which module may import which, what loads when, what the facades export."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Lowest layer first. A module imports only from layers below its own, never from its own.
PIPELINES: tuple[tuple[str, ...], ...] = (
    ("pipelines.errors", "pipelines.lock"),
    ("pipelines.sessions",),
    ("pipelines.grid",),
    ("pipelines.panel", "pipelines.asked"),
    ("pipelines.where",),
    ("pipelines.values", "pipelines.dateforms", "pipelines.prices"),
    ("pipelines.dates", "pipelines.regular"),
    ("pipelines.columns", "pipelines.rows"),
    ("pipelines.layout", "pipelines.plausible"),
    ("pipelines.clean", "pipelines.findings", "pipelines.features", "pipelines.scale", "pipelines.adjust"),
    ("pipelines.spec", "pipelines.shares"),
    ("pipelines.prepared",),
    ("pipelines.onward",),
    ("pipelines.pipeline",),
    ("pipelines.catalog",),
    ("pipelines.sources.base", "pipelines.sources.exchanges"),
    ("pipelines.sources.text", "pipelines.sources.yahoo_bars"),
    ("pipelines.sources.memory", "pipelines.sources.samples", "pipelines.sources.files", "pipelines.sources.yahoo"),
    ("pipelines.sources",),
    ("pipelines.check",),
    ("pipelines.revise",),
    ("pipelines.cache",),
    ("pipelines.tickers",),
    ("pipelines.plans",),
    ("pipelines.batches",),
    ("pipelines.folds",),
    ("pipelines",),
)
FORECAST: tuple[tuple[str, ...], ...] = (
    (
        "forecast.ranges",
        "forecast.allowed",
        "forecast.backends",
        "forecast.imports",
        "forecast.heap",
        "forecast.ties",
        "forecast.nn.dropout",
    ),
    ("forecast.family",),
    ("forecast.sections",),
    (
        "forecast.config",
        "forecast.metrics",
        "forecast.storage",
        "forecast.symbols",
        "forecast.presets",
        "forecast.callable_module",
        "forecast.nn.gru",
        "forecast.nn.init",
        "forecast.nn.head",
        "forecast.nn.core",
    ),
    (
        "forecast.nn.densities",
        "forecast.nn.classes",
        "forecast.nn.mlp",
        "forecast.nn.cnn",
        "forecast.nn.esn",
        "forecast.nn.segrnn",
    ),
    ("forecast.idle", "forecast.settings"),
    ("forecast.nn.cores", "forecast.nn.heads"),
    ("forecast.nn.decoder",),
    ("forecast.inference", "forecast.baselines", "forecast.conformal", "forecast.trade"),
    ("forecast.nn.network",),
    (
        "forecast.verdict",
        "forecast.nn",
        "forecast.tensors",
        "forecast.surroundings",
        "forecast.threads",
        "forecast.frames",
    ),
    ("forecast.direction",),
    ("forecast.request", "forecast.reader", "forecast.plot"),
    ("forecast.recursion",),
    ("forecast.folder", "forecast.forecasts", "forecast.onward", "forecast.elsewhere", "forecast.revised"),
    ("forecast.model",),
    ("forecast.module", "forecast.data", "forecast.spans", "forecast.readout"),
    ("forecast.stop", "forecast.trainer"),
    ("forecast.train", "forecast.sklearn"),
    ("forecast.diagnose_flow", "forecast.diagnose_units", "forecast.diagnose_probe", "forecast.long_memory"),
    ("forecast.diagnose_plot",),
    ("forecast.diagnose",),
    ("forecast.diagnose_remedies",),
    ("forecast.pieces", "forecast.generate"),
    ("forecast.identity",),
    ("forecast.contenders", "forecast.cuts", "forecast.disturb", "forecast.evidence", "forecast.results"),
    ("forecast.folds_run", "forecast.audit_subjects"),
    ("forecast.intervals", "forecast.backtest_notes"),
    ("forecast.backtest",),
    ("forecast.audit",),
    ("forecast.report_data", "forecast.report_cells"),
    ("forecast.report_charts", "forecast.report_plots"),
    ("forecast.report_text",),
    ("forecast.report_markdown", "forecast.report_page"),
    ("forecast.report",),
    ("forecast.run",),
    ("forecast.space", "forecast.cards"),
    ("forecast.study",),
    ("forecast.objective",),
    ("forecast.session", "forecast.study_report"),
    ("forecast.study_page",),
    ("forecast.tune",),
    ("forecast.commands.options", "forecast.commands.screen", "forecast.commands.checks"),
    ("forecast.commands.fit", "forecast.commands.models", "forecast.commands.data", "forecast.commands.settings"),
    ("forecast.commands.predict", "forecast.commands.backtest", "forecast.commands.audit", "forecast.commands.report"),
    ("forecast.commands.tune", "forecast.commands.diagnose", "forecast.commands.generate"),
    ("forecast.commands",),
    ("forecast.cli",),
    ("forecast.__main__",),
    ("forecast",),
)
LAYER = {name: level for level, names in enumerate((*PIPELINES, *FORECAST)) for name in names}


def modules() -> dict[str, Path]:
    """Dotted name of every module of ours that exists, with its file."""
    found = {}
    for package in ("pipelines", "forecast"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, known: set[str]) -> set[str]:
    """Modules of ours that ``source`` imports, anywhere in it; ``from package import module`` names the module."""
    wanted: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            wanted.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                wanted.add(inner if inner in known else node.module)
    return {name for name in wanted if name.split(".")[0] in ("pipelines", "forecast")}


def edges() -> dict[str, set[str]]:
    found = modules()
    known = set(found) | set(LAYER)
    return {name: imports(path.read_text(), known) for name, path in found.items()}


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports that do not go strictly down the table. A lazy facade may name anything below it."""
    return [
        f"{name} -> {target}"
        for name, targets in sorted(graph.items())
        for target in sorted(targets)
        if LAYER.get(target, -1) >= LAYER[name]
    ]


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(code: str, *names: str) -> list[str]:
    """Which of ``names`` are in sys.modules of a fresh process after ``code``."""
    tail = f"\nimport json, sys; print('\\n' + json.dumps([n for n in {names!r} if n in sys.modules]))"
    loaded: list[str] = json.loads(run_python(code + tail).splitlines()[-1])
    return loaded


def test_every_module_has_a_layer() -> None:
    missing = sorted(set(modules()) - set(LAYER))
    assert not missing, f"give these a line in the layer table of tests/test_architecture.py: {missing}"


def test_imports_go_down() -> None:
    assert upward({name: targets for name, targets in edges().items() if name in LAYER}) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("pipelines.panel", "from forecast.config import Config"),
        ("pipelines.grid", "from pipelines.panel import Panel"),
        ("pipelines.scale", "def f():\n    from pipelines import clean"),
        ("forecast.model", "from forecast.train import fit"),
        ("forecast.nn.heads", "import forecast.nn.network"),
    ],
)
def test_an_upward_import_is_seen(module: str, line: str) -> None:
    assert len(upward({module: imports(line, set(LAYER))})) == 1


def test_no_relative_imports() -> None:
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{name} imports relatively"


def test_model_needs_no_lightning() -> None:
    """Whatever model.py reaches, directly or not, leaves out module.py, train.py and Lightning."""
    graph, reached, todo = edges(), set(), ["forecast.model"]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo.extend(graph.get(name, ()))
    assert not reached & {"forecast.module", "forecast.train", "forecast.data"}
    for name in reached & set(modules()):
        text = modules()[name].read_text()
        assert "pytorch_lightning" not in text, f"{name} names pytorch_lightning"


def test_no_torch_in_pipelines() -> None:
    for name, path in modules().items():
        if name.startswith("pipelines"):
            for node in ast.walk(ast.parse(path.read_text())):
                roots = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                roots += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not [root for root in roots if root.split(".")[0] == "torch"], f"{name} imports torch"


def test_datasets_holds_no_python() -> None:
    assert (ROOT / "datasets").is_dir()
    assert [path for path in (ROOT / "datasets").rglob("*") if path.suffix.startswith(".py")] == []


def test_the_cards_are_toml() -> None:
    for path in (ROOT / "datasets").rglob("*.toml"):
        assert tomllib.loads(path.read_text()), path


def test_import_pipelines_loads_no_torch() -> None:
    everything = "import pipelines; [getattr(pipelines, n) for n in pipelines.__all__]"
    assert loaded_after(everything, "torch", "forecast") == []


def test_import_forecast_loads_no_torch() -> None:
    assert loaded_after("import forecast", "torch", "pytorch_lightning", "pandas") == []


def test_help_loads_neither_torch_nor_pandas() -> None:
    code = "import sys\nsys.argv = ['forecast', '--help']\ntry:\n    import forecast.cli; forecast.cli.main()\n"
    code += "except SystemExit as stop:\n    assert not stop.code, stop.code"
    assert loaded_after(code, "torch", "pytorch_lightning", "pandas", "numpy", "forecast.cli") == ["forecast.cli"]


@pytest.mark.parametrize("name", ["pipelines", "forecast"])
def test_the_facade_exports_what_it_says(name: str) -> None:
    facade = importlib.import_module(name)
    names = facade.__all__
    assert len(set(names)) == len(names)
    for export in names:
        assert getattr(facade, export) is not None
    missing = [export for export in names if export not in dir(facade)]
    assert not missing, f"dir({name}) hides {missing}"
    ours = {
        export
        for export, value in vars(facade).items()
        if not export.startswith("_")
        and export != "TYPE_CHECKING"
        and not isinstance(value, ModuleType)
        and str(getattr(value, "__module__", name)).split(".")[0] in ("pipelines", "forecast")
    }
    assert ours <= set(names), f"public but not in __all__: {sorted(ours - set(names))}"
    with pytest.raises(AttributeError):
        getattr(facade, "no_such_name")  # noqa: B009
