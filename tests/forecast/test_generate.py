"""Generator: learns what comes next, goes on from a prefix, the same way for text, tokens and series."""

from __future__ import annotations

import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from forecast.cli import app
from forecast.generate import Generator
from forecast.symbols import Bins, Vocabulary, symbols_of
from pipelines.errors import ArtifactError, TooShortError, UsageError

LINE = "to be, or not to be: that is the question. "

# Abraham Lincoln, the Gettysburg Address, 19 November 1863, first two paragraphs (public domain)
ADDRESS = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in Liberty, "
    "and dedicated to the proposition that all men are created equal. Now we are engaged in a great civil war, testing "
    "whether that nation, or any nation so conceived and so dedicated, can long endure. We are met on a great "
    "battle-field of that war. We have come to dedicate a portion of that field, as a final resting place for those "
    "who here gave their lives that that nation might live. It is altogether fitting and proper that we should do this."
)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator.fit(LINE * 20, hidden=24, updates=350, lr=0.01, dropout=0.0)


def test_a_repetitive_text_is_learned_and_continued_exactly(generator: Generator) -> None:
    facts = generator.facts
    assert facts["heldout"] == 86 and facts["train"] == 774
    assert facts["bits"] < 0.05 < 3 < facts["frequency_bits"]
    assert facts["losses"][-1] < 0.05
    assert generator.sample("to be, or", 100, temperature=0.01) == (LINE * 4)[9:109]
    assert "bits a symbol" in repr(generator)


def test_the_seed_decides_and_a_high_temperature_wanders(generator: Generator) -> None:
    one, same, other = (generator.sample("to", 80, temperature=3.0, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    before = torch.random.get_rng_state()
    generator.sample("to", 5)
    assert torch.equal(torch.random.get_rng_state(), before), "nobody else's random numbers are used"
    assert generator.sample("to", 0) == ""


def test_the_same_seed_learns_the_same_weights() -> None:
    small = {"hidden": 8, "updates": 10, "heldout": 0.0}
    one, two = (Generator.fit(LINE * 5, "gru", **small) for _ in range(2))
    for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore")  # other libraries' warnings: catching them is not for threads
def test_threads_learn_in_turn() -> None:
    def learn(seed: int) -> str:
        small = {"hidden": 8, "dropout": 0.3, "updates": 70, "heldout": 0.0}
        generator = Generator.fit(LINE * 5, "gru", seed=seed, progress=lambda told: time.sleep(0.02), **small)
        return generator.sample(LINE[:2], 40)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(learn, range(3))) == [learn(seed) for seed in range(3)]


def test_loading_takes_no_random_number(generator: Generator, tmp_path) -> None:
    path = generator.save(tmp_path / "run")
    before = torch.get_rng_state()
    again = Generator.load(path)
    assert torch.equal(before, torch.get_rng_state())
    assert again.sample("a", 10) == generator.sample("a", 10)
    assert {part.device.type for part in (*again.network.parameters(), *again.network.buffers())} == {"cpu"}


def test_bits_are_the_cross_entropy_of_one_pass(generator: Generator) -> None:
    text = LINE * 9  # longer than a chunk
    tokens = torch.from_numpy(generator.symbols.encode(text))
    with torch.no_grad():
        features, _ = generator.network.run(
            tokens[None, :, None].float(), torch.zeros(1, 0), generator.network.initial(1)
        )
        logits = generator.network.head.project(features)[0, :-1, 0]
    assert generator.bits(text) == pytest.approx(F.cross_entropy(logits, tokens[1:]).item() / math.log(2), rel=1e-4)


def test_it_is_stored_bit_for_bit(generator: Generator, tmp_path) -> None:
    folder = generator.save(tmp_path / "g")
    again = Generator.load(folder)
    assert again.sample("that", 60, 1.5, seed=4) == generator.sample("that", 60, 1.5, seed=4)
    assert again.facts == generator.facts and again.config == generator.config
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".json", ".safetensors"]
    (folder / "generator.json").write_text("{}", "utf-8")
    with pytest.raises(ArtifactError, match="not as it was written"):
        Generator.load(folder)
    with pytest.raises(UsageError, match="exists"):
        generator.save(folder)


def test_what_cannot_be_continued_is_refused(generator: Generator) -> None:
    with pytest.raises(UsageError, match="'X' 'é'"):
        generator.sample("Xto bé", 5)
    with pytest.raises(UsageError, match="nothing to go on from"):
        generator.sample("", 5)
    for length in (2.5, "3", True, None):
        with pytest.raises(UsageError, match=r"length is .*, expected a whole number of at least 0"):
            generator.sample("to", length)
    for seed in (2**70, -(2**70), 0.5, "x"):
        with pytest.raises(UsageError, match=r"seed is .*, expected a whole number from"):
            generator.sample("to", 2, seed=seed)
    assert len(generator.sample("to", np.int64(3), seed=np.int64(-1))) == 3
    for wrong in (0.0, -0.5, float("nan"), "a", None):
        with pytest.raises(UsageError, match="temperature"):
            generator.sample("to", 0, temperature=wrong)
    with pytest.raises(UsageError, match="expected a text"):
        generator.sample([1, 2], 5)
    with pytest.raises(UsageError, match="length is -1"):
        generator.sample("to", -1)


@pytest.mark.parametrize("text", ["", "x", []])
def test_too_little_to_learn_from(text) -> None:
    with pytest.raises(TooShortError, match="nothing follows"):
        Generator.fit(text)


def test_what_makes_no_generator_is_refused() -> None:
    with pytest.raises(UsageError, match="Did you mean 'lstm'"):
        Generator.fit(LINE, "lstn")
    with pytest.raises(UsageError, match="stream"):
        Generator.fit(LINE, "mlp")
    with pytest.raises(UsageError, match="reads windows"):
        Generator.fit(LINE, bidirectional=True)
    with pytest.raises(UsageError, match=r"model\.decoder is 'recurrent', a generator has 'direct'"):
        Generator.fit(LINE, decoder="recurrent")
    with pytest.raises(UsageError, match="Did you mean"):
        Generator.fit(LINE, hiden=4)
    with pytest.raises(UsageError, match="heldout"):
        Generator.fit(LINE, heldout=1.0)
    with pytest.raises(UsageError, match="heldout is 'a'"):
        Generator.fit(LINE, heldout="a")
    for bins in (2.5, 1, "8"):
        with pytest.raises(UsageError, match=r"bins is .*, expected a whole number of at least 2"):
            Generator.fit([0.5, 1.5, 2.5] * 9, bins=bins)
    with pytest.raises(UsageError, match=r"train\.seed"):
        Generator.fit(LINE, seed=2**70)
    with pytest.raises(UsageError, match="a text has characters"):
        Generator.fit(LINE, bins=4)
    with pytest.raises(UsageError, match="tokens are whole numbers or strings"):
        Generator.fit([1, None, 2])
    with pytest.raises(UsageError, match="no numbers"):
        Generator.fit([1.0, float("nan"), 2.0])


def test_one_symbol_over_and_over() -> None:
    assert Generator.fit("aaaaaaaaaaaa", hidden=2, updates=3).sample("a", 6, 5.0) == "aaaaaa"


def test_tokens_of_a_list_come_back_as_they_went_in() -> None:
    words = ["the", "cat", 3, "dogs", "."] * 30
    generator = Generator.fit(words, "gru", hidden=12, updates=250, lr=0.02, dropout=0.0)
    assert generator.sample(["the"], 6, 0.01) == ["cat", 3, "dogs", ".", "the", "cat"]


def test_the_same_code_continues_a_series() -> None:
    values = np.sin(np.arange(600) * 2 * np.pi / 24) * 5 + 20
    generator = Generator.fit(values, bins=16, hidden=24, updates=300, lr=0.01, dropout=0.0)
    ahead = generator.sample(values[:480], 48, temperature=0.01)
    assert isinstance(generator.symbols, Bins) and len(generator.symbols) == 16
    assert np.abs(ahead - values[480:528]).max() < 1.0  # bins are up to 0.9 wide at the turning points
    assert set(ahead) <= set(generator.symbols.means)


def test_bins_know_the_learned_part_only_and_survive_ties() -> None:
    values = np.concatenate([np.zeros(50), np.arange(50.0), np.full(11, 1e9)])
    generator = Generator.fit(values, bins=8, hidden=2, updates=2)
    assert generator.symbols.means.max() < 100
    assert np.isin(generator.symbols.encode(values), np.arange(len(generator.symbols))).all()
    assert np.bincount(generator.symbols.encode(values[:100])).min() > 0, "no bin is empty"
    assert len(Bins.of(np.ones(5), 4)) == 1


def test_kinds_are_told_apart() -> None:
    assert isinstance(symbols_of([3, 1, 2], None), Vocabulary)
    assert isinstance(symbols_of([3, 1, 2], 2), Bins)
    assert isinstance(symbols_of(np.array([1.5, 2.5]), None), Bins)
    assert symbols_of("banana", None).known == ("a", "b", "n")


@pytest.mark.slow
def test_a_paragraph_is_learned_by_heart_and_known_to_be_by_heart() -> None:
    settings = {"hidden": 128, "updates": 1500, "lr": 0.005, "dropout": 0.0}
    by_heart = Generator.fit(ADDRESS, heldout=0.0, **settings)
    assert by_heart.facts["bits"] < 0.1
    assert by_heart.sample(ADDRESS[:20], 300, temperature=0.01) == ADDRESS[20:320]
    honest = Generator.fit(ADDRESS, heldout=0.1, **settings)
    assert honest.facts["bits"] > 10 * by_heart.facts["bits"], "what was not learned is not known by heart"


# -- the command -------------------------------------------------------------------------------
def command(*words: str) -> Any:
    return CliRunner().invoke(app, ["generate", *words])


def test_the_command_learns_keeps_and_goes_on(tmp_path) -> None:
    file = tmp_path / "line.txt"
    file.write_text(LINE * 20, "utf-8")
    how = ["--seed-text", "to be", "--length", "40", "--temperature", "0.01", "--json"]
    learned = [
        "--text",
        str(file),
        "--set",
        "model.hidden=16",
        "--set",
        "train.updates=60",
        "--out",
        str(tmp_path / "g"),
    ]
    first = json.loads(command(*learned, *how).stdout)
    assert len(first["added"]) == 40 and first["facts"]["heldout"] == 86
    again = json.loads(command("--run", str(tmp_path / "g"), *how).stdout)
    assert again["added"] == first["added"]
    shown = command("--run", str(tmp_path / "g"), "--seed-text", "to be", "--length", "5").stdout
    assert "bits a symbol" in shown and "to be" in shown


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seed-text", "a"], "either a text"),
        (["--seed-text", "a", "--text", "no.txt"], "cannot be read"),
        (["--seed-text", "a", "--run", "x", "--model", "gru"], "--model goes with --text"),
        (["--seed-text", "Q", "--text", "HERE"], "never has 'Q'"),
    ],
)
def test_the_command_refuses_with_a_reason(words: list[str], says: str, tmp_path) -> None:
    (tmp_path / "t.txt").write_text(LINE, "utf-8")
    done = command(*[str(tmp_path / "t.txt") if word == "HERE" else word for word in words])
    assert isinstance(done.exception, UsageError) and says in done.exception.message
