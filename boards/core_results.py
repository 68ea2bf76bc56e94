"""Results of core measurements: kept by content, piece by piece; the last ones by name, for looking up."""

from __future__ import annotations

import ast
import functools
import gzip
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .core_flow import Netlist, Placement
from .core_shapes import Shape
from .files import write_text
from .sizes import Size, cache_folder

#: Packages and files whose code decides what a core is and how it is measured.
_ROOT = Path(__file__).resolve().parents[1]
_CODE = (
    "rtl_gen/*.py",
    "refmodel/*config.py",
    "refmodel/*layout.py",
    "boards/core_[fhd]*.py",
    "boards/build.py",
    "boards/carries.py",
    "boards/netlists.py",
)


def results_folder() -> Path:
    """Where results are kept unless told otherwise: ``skipspike/cores`` in the user's cache."""
    return cache_folder().with_name("cores")


@dataclass(frozen=True)
class Results:
    """Small files in one folder.

    By content (``source``: digest of a design, ``tools``: versions): a size; a netlist until all its seeds are placed;
    a placement for each seed.  By name: the last row of each shape.  A file that is missing or damaged is no result;
    OSError if the folder cannot be written.
    """

    folder: Path

    def _path(self, source: str, tools: Mapping[str, str], what: str) -> Path:
        key = json.dumps([source, sorted(tools.items())])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.{what}"

    def size(self, source: str, tools: Mapping[str, str]) -> Size | None:
        try:
            return Size(**json.loads(self._path(source, tools, "size.json").read_text())["size"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def netlist(self, source: str, tools: Mapping[str, str]) -> Netlist | None:
        size = self.size(source, tools)
        try:
            text = gzip.decompress(self._path(source, tools, "netlist.gz").read_bytes()).decode()
        except (OSError, EOFError, ValueError):
            return None
        return None if size is None else Netlist(size, text)

    def placement(self, source: str, tools: Mapping[str, str], seed: int) -> Placement | None:
        try:
            found = json.loads(self._path(source, tools, f"seed{seed}.json").read_text())["placement"]
            return Placement(int(found["seed"]), float(found["fmax_hz"]), (found["path"][0], found["path"][1]))
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    def keep_netlist(self, source: str, tools: Mapping[str, str], netlist: Netlist) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(source, tools, "netlist.gz")
        partial = path.with_name(path.name + ".part")
        partial.write_bytes(gzip.compress(netlist.text.encode(), compresslevel=4))
        partial.replace(path)
        self._write(source, tools, "size.json", {"size": asdict(netlist.size)})

    def keep_placement(self, source: str, tools: Mapping[str, str], placed: Placement) -> None:
        self._write(source, tools, f"seed{placed.seed}.json", {"placement": asdict(placed)})

    def forget_netlist(self, source: str, tools: Mapping[str, str]) -> None:
        """A netlist is large and no longer needed."""
        self._path(source, tools, "netlist.gz").unlink(missing_ok=True)

    def last(self, shape: str) -> dict[str, Any] | None:
        """The row that was made of a shape last."""
        try:
            row = json.loads((self.folder / f"last-{shape}.json").read_text())
        except (OSError, ValueError):
            return None
        return row if isinstance(row, dict) and row.get("shape") == shape else None

    def keep_last(self, row: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / f"last-{row['shape']}.json", json.dumps(row, indent=1, sort_keys=True) + "\n")

    def _write(self, source: str, tools: Mapping[str, str], what: str, content: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        record = {"source": source, "tools": dict(tools), **content}
        write_text(self._path(source, tools, what), json.dumps(record, indent=1, sort_keys=True) + "\n")


def code_digest(shape: Shape) -> str:
    """Digest of a shape's settings and of the code that makes and measures it, comments and docstrings aside.

    Quick where elaborating the gateware is not: it says whether a kept row is of what there is now.
    """
    config = json.dumps(asdict(shape.config), sort_keys=True)
    parts = (config, repr(shape.device.place_options), shape.device.synth, own_code())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@functools.cache
def own_code(patterns: tuple[str, ...] = _CODE) -> str:
    """:func:`bare_code` of this source tree."""
    return bare_code(_ROOT, patterns)


def bare_code(root: Path, patterns: tuple[str, ...] = _CODE) -> str:
    """Modules of a source tree, those that decide about cores, without comments, docstrings and layout."""
    parts = []
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                if documented and ast.get_docstring(node, False) is not None:
                    node.body = node.body[1:] or [ast.Pass()]
            parts += [os.path.relpath(path, root), ast.unparse(tree)]
    return "\0".join(parts)
