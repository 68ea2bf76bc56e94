"""What is installed: every package of the tree."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {
        str(file.parent.relative_to(ROOT)).replace("/", ".")
        for top in {name.partition(".")[0] for name in listed}
        for file in (ROOT / top).rglob("__init__.py")
    }
    # Folders of data are packages without code.
    assert set(listed) - found <= {"refmodel.data", "refmodel.networks"}
    assert found <= set(listed)
