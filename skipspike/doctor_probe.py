"""What ``doctor`` looks at: programs, libraries, packages and serial ports of this machine; tests have others."""

from __future__ import annotations

import ctypes
import getpass
import grp
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

#: Folders of udev's rules.
_RULES = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")


@dataclass(frozen=True)
class Port:
    """A serial port: its path, what it calls itself, whether this user may open it, and the group that may."""

    path: str
    title: str
    usable: bool
    group: str


class Machine:
    """This computer."""

    def python(self) -> tuple[int, int, int]:
        return sys.version_info[:3]

    def system(self) -> str:
        return platform.system()

    def user(self) -> str:
        try:
            return getpass.getuser()
        except (KeyError, OSError):
            return "$USER"

    def root(self) -> bool:
        return hasattr(os, "geteuid") and os.geteuid() == 0

    def which(self, program: str) -> str | None:
        """Path of a program on PATH or beside this interpreter, where wheels put theirs."""
        return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))

    def on_path(self, program: str) -> str | None:
        return shutil.which(program)

    def version(self, program: str, option: str = "--version") -> str:
        """The first number that a program says of itself; empty if it cannot be started or says none."""
        try:
            done = subprocess.run(
                [program, option], capture_output=True, text=True, errors="replace", timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        found = re.search(r"\d+\.\d+(\.\d+)*", done.stdout + done.stderr)
        return found.group() if found else ""

    def package(self, name: str) -> str | None:
        """Version of an installed Python package."""
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    def library(self, *names: str) -> bool:
        """Whether the loader finds one of these shared libraries."""
        for name in names:
            try:
                ctypes.CDLL(name)
            except OSError:
                continue
            return True
        return False

    def requirements(self) -> list[str]:
        """What this project needs, as pip would be told, with ``; extra == "..."`` after what is optional."""
        project = Path(__file__).resolve().parents[1] / "pyproject.toml"
        if project.is_file():
            found = tomllib.loads(project.read_text())["project"]
            extras = found.get("optional-dependencies", {})
            wanted = ((extra, line) for extra, lines in extras.items() for line in lines)
            return found["dependencies"] + [f'{line}; extra == "{extra}"' for extra, line in wanted]
        return importlib.metadata.requires("skipspike") or []

    def ports(self) -> list[Port]:
        """Serial ports on USB."""
        try:
            from serial.tools import list_ports
        except ImportError:
            return []
        found = []
        for port in sorted(list_ports.comports()):
            if port.vid is None and not re.search(r"USB|ACM", port.device):
                continue
            try:
                group = grp.getgrgid(os.stat(port.device).st_gid).gr_name
            except (OSError, KeyError):
                group = "dialout"
            usable = os.access(port.device, os.R_OK | os.W_OK)
            found.append(Port(port.device, port.description or port.device, usable, group))
        return found

    def in_group(self, *names: str) -> bool:
        """Whether this user is in one of these groups."""
        for name in names:
            try:
                if grp.getgrnam(name).gr_gid in (*os.getgroups(), os.getegid()):
                    return True
            except KeyError:
                continue
        return False

    def rules(self) -> str:
        """All of udev's rules that speak of USB devices."""
        text = []
        for folder in _RULES:
            for path in sorted(Path(folder).glob("*.rules")):
                try:
                    content = path.read_text(errors="replace")
                except OSError:
                    continue
                if "idVendor" in content:
                    text.append(content)
        return "\n".join(text)
