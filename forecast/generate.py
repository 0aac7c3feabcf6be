"""Generate: a recurrent net that learns which symbol comes next, and goes on from where a sequence stops.

The character-level generator of Graves 2013 (arXiv 1308.0850) and Karpathy 2015 (The Unreasonable Effectiveness of
Recurrent Neural Networks), from the parts forecasts are made of: the same cores, the categorical head with one
class per symbol, the same streams of truncated BPTT, and the same training step. A token is a row whose value is
the number of the symbol, one step ahead is the next symbol. A series of numbers is made discrete first
(:class:`forecast.symbols.Bins`).

Assumptions, named: symbols are shown to the net as one-hot vectors; weights are the averaged ones after the last pass
(there is no early stopping: ``train.updates`` or ``train.epochs`` says how long); the last tenth is held out and
scored once, beside the frequencies of the symbols alone, so that learning by heart is told from learning.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from forecast import storage
from forecast.config import Config, default_of
from forecast.data import Span, StreamData
from forecast.family import FAMILY
from forecast.folder import versions
from forecast.idle import idle_in_generator, warn_idle
from forecast.module import ForecastModule, WeightAverage
from forecast.nn.classes import CategoricalHead, check_temperature, draw
from forecast.nn.cores import State
from forecast.nn.network import Network, filled
from forecast.spans import threads_for
from forecast.surroundings import seeded
from forecast.symbols import Symbols, Tokens, check_whole, from_json, symbols_of
from forecast.tensors import device_chunks, tensors_of
from forecast.threads import threads
from forecast.train import Progress
from forecast.trainer import run_trainer
from pipelines.batches import gather, rows_before
from pipelines.errors import ArtifactError, TooShortError, TrainingError, UsageError
from pipelines.plans import pieces_of, plan_whole
from pipelines.prepared import Prepared

CHUNK = 256


class SymbolNet(Network):
    """The net of a configuration, reading tokens ``[B, K, 1]`` as one-hot vectors; one class per symbol."""

    def __init__(self, config: Config, symbols: int) -> None:
        super().__init__(config, config.model.classes, 0, 0, torch.ones(1, device="cpu"))
        self.symbols = symbols
        if isinstance(self.head, CategoricalHead):
            self.head.edges.copy_(torch.arange(config.model.classes + 1) - 0.5)  # class i is the token i

    def run(self, x: Tensor, static: Tensor, state: State) -> tuple[Tensor, State]:
        shown = F.one_hot(x[..., 0].long(), self.head.parameters_per_step).to(self.head.linear.weight.dtype)
        return super().run(shown, static, state)

    @torch.no_grad()
    def next(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """``tokens [1, K]`` and a state -> logits ``[symbols]`` of what comes behind them, and the state after."""
        features, state = self.run(tokens[..., None], tokens.new_zeros(1, 0), state)
        logits: Tensor = self.head.project(features[:, -1:])[0, 0, 0, : self.symbols]
        return logits, state


@dataclass(frozen=True)
class Generator:
    """A net that continues sequences; made by :meth:`fit`.

    Args:
        config: settled configuration.
        symbols: what sequences are made of.
        network: trained net, in evaluation mode.
        facts: what training found: ``symbols, train, heldout`` (lengths), ``bits`` (per symbol, of the held-out part;
            of what was learned where nothing was held out), ``frequency_bits`` (the same by frequencies alone),
            ``losses`` (nats per symbol over training), ``updates, seconds``.

    Example:
        >>> generator = Generator.fit("to be or not to be, " * 50, hidden=32)  # doctest: +SKIP
        >>> generator.sample("to be", 20, temperature=0.5)  # doctest: +SKIP
    """

    config: Config
    symbols: Symbols
    network: SymbolNet
    facts: dict[str, Any]

    @classmethod
    def fit(
        cls, sequence: Any, core: str | None = None, *, bins: int | None = None, heldout: float = 0.1,
        config: Config | Mapping[str, Any] | None = None, progress: Callable[[Progress], None] | None = None,
        **settings: Any,
    ) -> Generator:  # fmt: skip
        """Learn a text, a list of tokens (int or str), or a series of numbers made discrete.

        Threads of one process train in turn, as by ``forecast.fit``.

        Args:
            sequence: what to learn, in order.
            core: ``lstm``, ``gru``, ``rnn`` or another net that runs as a stream; ``None``: that of ``config``.
            bins: ranges a series of numbers is cut into; 32 for floats.
            heldout: share at the end that is scored and not learned.
            config: configuration to start from, or its nested values; ``core`` and ``settings`` override it. What is
                named here and does nothing is warned of.
            progress: told now and then how far it is, as by ``forecast.fit``.
            settings: as for ``forecast.fit``: ``hidden=128``, ``layers=2``, ``updates=3000``, ``lr=0.005``, ``seed=1``.

        Raises:
            TooShortError: there is nothing, or too little, to learn from.
            UsageError: a sequence or setting that makes no generator.
        """
        if not isinstance(heldout, Real) or not 0 <= heldout < 0.9:
            raise UsageError(f"heldout is {heldout!r}, expected a share from 0 to 0.9.", hint="0.1 is the default.")
        symbols = symbols_of(sequence, bins)
        length = len(sequence)
        train = length - int(heldout * length)
        if train < 2:
            raise TooShortError(
                f"the {'text' if symbols.kind == 'text' else 'sequence'} has {length} symbols, {train} of them to "
                "learn from: nothing follows anything.",
                hint="Give at least a few sentences.",
            )
        if symbols.kind == "numbers":  # ranges are learned, so from what is learned from alone
            symbols = symbols_of(sequence[:train], 32 if bins is None else bins)
        tokens = symbols.encode(sequence)
        asked = Config.of(config).override(**({} if core is None else {"model.core": core}), **settings)
        warn_idle(asked, config, settings, idle_in_generator)
        config = _settle(asked, train, len(symbols))
        clock = time.perf_counter()
        with seeded(config.train.seed), threads(config.train.threads):
            network = SymbolNet(config, len(symbols))
            losses, updates = _train(network, _prepare(tokens[:train]), config, progress)
            generator = cls(config, symbols, network, {})
            first = train if length > train else 1
            generator.facts.update(
                symbols=len(symbols), train=train, heldout=length - train, bits=generator._bits(tokens, first),
                frequency_bits=_frequency_bits(tokens[:train], tokens[first:], len(symbols)),
                losses=losses, updates=updates, seconds=time.perf_counter() - clock,
            )  # fmt: skip
        return generator

    def __repr__(self) -> str:
        facts, model = self.facts, self.config.model
        what = f"the last {facts['heldout']:,}, held out" if facts["heldout"] else "what it learned"
        return (
            f"Generator: {model.core} ({model.layers} x {model.hidden}), {facts['symbols']} symbols, learned "
            f"{facts['train']:,}; {facts['bits']:.2f} bits a symbol on {what}, {facts['frequency_bits']:.2f} by "
            "frequencies alone"
        )

    def sample(self, prefix: Any, length: int, temperature: float = 1.0, seed: int = 0) -> Any:
        """What follows ``prefix``: ``length`` symbols of the kind that was learned (a text, a list, or numbers).

        The same seed gives the same continuation.

        Args:
            prefix: at least one symbol to go on from.
            temperature: 1 draws what was learned, towards 0 the likeliest symbol, above 1 more at random.

        Raises:
            UsageError: an empty prefix, a symbol never learned, a temperature that is not above 0, or a length or seed
                that is no whole number.
        """
        check_temperature(temperature)
        tokens = self.symbols.encode(prefix)
        if not len(tokens):
            raise UsageError("there is nothing to go on from.", hint="Give at least one symbol as prefix.")
        length = check_whole("length", length, 0, hint="Say how many symbols to add.")
        seed = check_whole("seed", seed, -(2**63), 2**64 - 1, hint="Any whole number of 64 bits; 0 is the default.")
        source = torch.Generator().manual_seed(seed)
        out = np.empty(length, np.int64)
        with threads(self.config.train.threads):
            read = torch.from_numpy(tokens)[None].float()
            logits, state = self.network.next(read, self.network.initial(1))
            for i in range(length):
                at = draw(logits, temperature, source)
                out[i] = int(at)
                if i + 1 < length:
                    logits, state = self.network.next(at.view(1, 1).float(), state)
        return self.symbols.decode(out)

    def bits(self, sequence: Any) -> float:
        """Bits per symbol that ``sequence`` takes, from its second symbol on: the lower, the better it is known."""
        tokens = self.symbols.encode(sequence)
        if len(tokens) < 2:
            raise TooShortError("one symbol, and nothing follows it.", hint="Give at least two symbols.")
        with threads(self.config.train.threads):
            return self._bits(tokens, 1)

    @torch.no_grad()
    def _bits(self, tokens: Tokens, first: int) -> float:
        """Mean bits of the tokens from position ``first``, each told from all before it."""
        prepared = _prepare(tokens)
        source = tensors_of(prepared, ~rows_before(prepared, first), torch.device("cpu"))
        state, total, count = self.network.initial(1), 0.0, 0
        for chunk in device_chunks(list(plan_whole(pieces_of(prepared), CHUNK)), torch.device("cpu")):
            batch = gather(source, chunk)
            params, state = self.network(batch, state)
            allowed = int(batch.mask.sum())
            total += float(self.network.loss(params, batch)) * allowed
            count += allowed
        return total / count / math.log(2)

    def save(self, path: Path | str, *, overwrite: bool = False) -> Path:
        """Write a folder that :meth:`load` reads back bit for bit.

        Raises:
            UsageError: the folder exists.
        """
        from safetensors.torch import save_file

        target = Path(path)
        document = {"config": self.config.to_json(), "symbols": self.symbols.to_json(), "facts": self.facts}

        def write(folder: Path) -> None:
            storage.dump_json(folder / "generator.json", document)
            weights = {name: part.contiguous().clone() for name, part in self.network.state_dict().items()}
            save_file(weights, folder / "weights.safetensors")
            (folder / "weights.safetensors").chmod((folder / "generator.json").stat().st_mode)

        facts = {"kind": "generator", "versions": versions(), "seed": self.config.train.seed}
        storage.write_folder(target, write, facts, overwrite=overwrite)
        return target

    @classmethod
    def load(cls, path: Path | str) -> Generator:
        """Read what :meth:`save` wrote; nothing in it is executed.

        Raises:
            ArtifactError: the folder is damaged, edited, or no generator's.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(path)
        if storage.check_folder(folder).get("kind") != "generator":
            raise ArtifactError(f"{folder} holds no generator.", hint="Give a folder that Generator.save wrote.")
        document = storage.load_json(folder / "generator.json")
        try:
            config, symbols = Config.make(document["config"]), from_json(document["symbols"])
            network = filled(lambda: SymbolNet(config, len(symbols)), load_file(folder / "weights.safetensors"))
        except (KeyError, TypeError, ValueError, RuntimeError, OSError, SafetensorError, UsageError) as error:
            raise ArtifactError(
                f"{folder} does not hold what its manifest promises ({error}).", hint="Fit and save it again."
            ) from error
        network.eval()
        return cls(config, symbols, network, document["facts"])


def _settle(asked: Config, length: int, symbols: int) -> Config:
    """The configuration of a generator for ``length`` tokens; nothing is left on auto.

    Truncated BPTT over 64 steps, at most an eighth of the sequence; as many lanes as leave eight updates a pass, up
    to 32; passes for ``train.updates`` updates.
    """
    core = asked.model.core
    if asked.data.mode == "window" or not FAMILY[core].streams or asked.model.bidirectional:
        raise UsageError(
            f"a generator goes on from a state, symbol by symbol; a {core} that reads windows has none.",
            hint="Use lstm, gru or rnn as a stream.",
        )
    nested = asked.to_json()
    for name, value in _FIXED.items():
        section, field = name.split(".")
        if nested[section][field] not in (value, default_of(name, core)):
            raise UsageError(f"{name} is {nested[section][field]!r}, a generator has {value!r}.", hint="Leave it out.")
    if not FAMILY[core].gradient:
        raise UsageError(
            f"{core} solves for its readout and learns no classes by gradients.", hint="Use lstm, gru or rnn."
        )
    k1 = asked.data.k1 if isinstance(asked.data.k1, int) else min(64, max(1, length // 8))
    k2 = asked.data.k2 if isinstance(asked.data.k2, int) else k1
    k1 = min(k1, k2)  # an update is no longer than what was asked to be back-propagated
    lanes = asked.data.lanes
    if isinstance(lanes, str):
        lanes = int(np.clip(2 ** np.floor(np.log2(max(1, length / (8 * k1)))), 1, 32))
    epochs = asked.train.epochs
    if isinstance(epochs, str):
        epochs = int(np.clip(round(asked.train.updates / max(1, length // (lanes * k1))), 2, 1000))
    return asked.override(**_FIXED, **{
        "data.k1": k1, "data.k2": k2, "data.lanes": lanes, "model.classes": max(2, symbols),
        "train.epochs": epochs, "train.patience": 1,
        "train.threads": threads_for(asked.train.threads, lanes, asked.model.hidden),
    })  # fmt: skip


_FIXED: dict[str, Any] = {
    "data.kind": "sensor", "data.mode": "stream", "data.horizon": 1, "data.season": 1, "data.log": False,
    "data.anchor": "none", "data.scale": "one", "data.unit": "one", "model.head": "categorical", "model.skip": 0,
    "model.decoder": "direct",
}  # fmt: skip
"""What makes the net of a forecast one of symbols."""


def _prepare(tokens: Tokens) -> Prepared:
    """Tokens as the rows of one series whose value is the number of the symbol (exact in float32)."""
    rows = len(tokens) + 1  # a spare one behind the end
    values = np.append(tokens, 0).astype(np.float32)
    return Prepared(
        x=values[:, None], future=np.zeros((rows, 0), np.float32), static=np.zeros((1, 0), np.float32), level=values,
        anchor=np.zeros(rows), scale=np.ones(rows), observed=np.arange(rows) < len(tokens), unit=np.ones(1),
        offsets=np.zeros(1, np.int64), lengths=np.array([len(tokens)], np.int64), context=0, state={},
    )  # fmt: skip


def _train(
    network: SymbolNet, prepared: Prepared, config: Config, progress: Callable[[Progress], None] | None
) -> tuple[list[float], int]:
    """Find the weights; ``(losses in nats, one a look, updates)``."""
    data, train = config.data, config.train
    lanes, k1, k2, epochs = (int(value) for value in (data.lanes, data.k1, data.k2, train.epochs))
    stream = StreamData(
        prepared, Span(pieces_of(prepared), prepared.observed), lanes=lanes, k1=k1, k2=k2, lookback=None,
        total=epochs, seed=train.seed,
    )  # fmt: skip
    updates_a_pass = len(stream.plan())
    stream.passes = min(epochs, max(1, -(-50 // updates_a_pass)))
    average = WeightAverage(network, train.average) if train.average else None
    module = ForecastModule(network, config, average)
    watch = _Watch(stream, updates_a_pass, progress)
    run_trainer(module, stream, train, epochs=-(-epochs // stream.passes), core=config.model.core, callbacks=[watch])
    if average is not None:
        average.swap()
    network.to("cpu").eval()
    if not all(torch.isfinite(weight).all() for weight in network.parameters()):
        raise TrainingError("a weight is not a number.", hint="Use a smaller rate (lr=0.0005).")
    return watch.losses, module.updates


class _Watch(pl.Callback):
    """Remembers the loss of every Lightning epoch and tells of progress."""

    def __init__(
        self, stream: StreamData, updates_a_pass: int, progress: Callable[[Progress], None] | None
    ) -> None:  # fmt: skip
        self.stream, self.updates_a_pass, self.progress = stream, updates_a_pass, progress
        self.losses: list[float] = []
        self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if isinstance(pl_module, ForecastModule) and pl_module.mean_loss is not None:
            self.losses.append(float(pl_module.mean_loss))
            if self.progress is not None:
                epochs = self.stream.total or 0
                self.progress(
                    Progress(
                        epoch=self.stream.done,
                        epochs=epochs,
                        updates=pl_module.updates,
                        total=epochs * self.updates_a_pass,
                        loss=self.losses[-1],
                        stop_loss=math.nan,
                        seconds=time.perf_counter() - self.began,
                    )
                )


def _frequency_bits(train: Tokens, late: Tokens, symbols: int) -> float:
    """Bits per symbol of ``late`` by the frequencies in ``train`` alone (Laplace's rule)."""
    counts = np.bincount(train, minlength=symbols) + 1
    return float(-np.log2(counts / counts.sum())[late].mean())
