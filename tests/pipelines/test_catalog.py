"""Cards: complete, distinct, and refused with a reason where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import catalog
from pipelines.errors import DataError, TickerNotFoundError


def test_cards_are_found_by_ticker_name_and_alias_in_any_case() -> None:
    assert {catalog.card(name).name for name in ("^GSPC", "sp500", "SPX", "^gspc", " gspc ")} == {"sp500"}


def test_no_two_cards_answer_to_one_name() -> None:
    names = [name.casefold() for card in catalog.cards() for name in card.names]
    assert len(names) == len(set(names))


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(TickerNotFoundError) as caught:
        catalog.card("sunspot")
    assert "Did you mean 'sunspots'?" in caught.value.message
    assert "^GSPC" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x', "is not TOML"),
        ('name = "x"\nlicense = "MIT"', "unknown key 'license'. Did you mean 'licence'?"),
        ('name = "x"', "is incomplete"),
    ],
)
def test_a_broken_card_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message.replace("?", r"\?").replace(".", r"\.")):
        catalog.read_card(path)


def test_a_card_is_plain_json() -> None:
    assert catalog.card("co2").to_json()["missing"] == 59
