"""The clocks of the bundled networks are those of the checked-in table."""

from __future__ import annotations

import json

from tests.regression.clocks import TABLE, measure


def test_clocks_are_those_of_the_table() -> None:
    wanted, found = json.loads(TABLE.read_text()), measure()
    assert found == wanted, "clocks changed: if meant so, run python -m tests.regression.clocks and say why"
