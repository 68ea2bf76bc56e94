"""The areas of two small cores are those of the checked-in table."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest

from refmodel.config import CoreConfig
from tests.regression.areas import CORES, TABLE, changes, measure

TOOLS = {"yosys": "0.70"}
TABLED = {"small": {"lut": 1000, "ff": 500, "bram": 4, "dsp": 0, "spram": 1, "tools": TOOLS}}


@pytest.mark.parametrize(
    ("figure", "now", "said"),
    [
        ("lut", 1020, []),
        ("lut", 1021, ["small: 1021 lut, were 1000"]),
        ("lut", 979, ["small: 979 lut, were 1000"]),
        ("ff", 511, ["small: 511 ff, were 500"]),
        ("bram", 5, ["small: 5 bram, were 4"]),
        ("tools", {"yosys": "0.71"}, []),  # other tools alone are no change
    ],
)
def test_a_change_over_two_percent_is_said(figure, now, said) -> None:
    found = deepcopy(TABLED)
    found["small"][figure] = now
    assert changes(TABLED, found) == said


def test_other_tools_are_named_where_something_changed() -> None:
    found = deepcopy(TABLED)
    found["small"] |= {"lut": 1100, "tools": {"yosys": "0.71"}}
    assert "0.71" in changes(TABLED, found)[1] and "0.70" in changes(TABLED, found)[1]
    assert changes(TABLED, {"other": found["small"]}) == ["the table has the cores small, there are other"]


def test_the_table_has_every_core() -> None:
    assert json.loads(TABLE.read_text()).keys() == CORES.keys()
    for _, settings in CORES.values():
        assert CoreConfig(**settings).lanes == 32


@pytest.mark.slow
def test_areas_are_those_of_the_table() -> None:
    said = changes(json.loads(TABLE.read_text()), measure())
    assert not said, f"{'; '.join(said)}: if meant so, run python -m tests.regression.areas and say why"
