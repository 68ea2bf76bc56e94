"""The streaming example, on the golden model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "examples" / "streaming" / "moving_digits.py"


def test_moving_digits(capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("moving_digits", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--digits", "2", "--calls", "3"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == [str(number) for number in range(3)]
    assert rows[0][1:] == ["7", "7", "7"]
    assert [row[1] for row in rows[1:]] == ["-"] * 2
