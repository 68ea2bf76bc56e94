"""Every command of docs/tutorial.md, in its order, in an empty folder.

What SpikingJelly alone can do is run where it is installed; elsewhere the file that the training script made
(digits.nir beside it) stands in for it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
STAND_IN = ROOT / "examples" / "tutorial" / "digits.nir"
INSTALL = "python -m pip install "
#: Begin of commands that need what is no dependency of Skipspike, the modules they need, and what does instead.
OPTIONAL = {
    "python examples/tutorial/train.py": (("spikingjelly", "nirtorch", "sklearn"), f"cp {STAND_IN} digits.nir"),
    "python -m examples.training.train": (("torch", "sklearn"), "cp digits.skn digits-w4.skn"),
}
#: What the output of some commands must say.
SAYS = {
    "skipspike import": "blocks: 4 sew-add (identity)",
    "skipspike info": "digits (float): input 1x8x8 of 5 bits, T = 4",
    "skipspike quantise digits.skn --bits 8": "of predictions agree",
    "skipspike compare": "verdict: ",
    "skipspike simulate": "clocks compared, 0 differ",
    "skipspike build": "digits-build/top.bin",
    "skipspike load": "openfpgaloader",
}


def commands() -> list[str]:
    """The lines of the tutorial's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def test_the_tutorial_goes_all_the_way() -> None:
    verbs = [line.split()[1] for line in commands() if line.startswith("skipspike ")]
    assert [*dict.fromkeys(verbs)] == [
        "import", "info", "evaluate", "quantise", "compare", "estimate", "simulate", "build", "report", "load"
    ]  # fmt: skip
    assert all(any(line.startswith(start) for line in commands()) for start in (INSTALL, *OPTIONAL, *SAYS))


def possible(command: str) -> str:
    """The command, or what stands in for it; what installs is only resolved, so that nothing here changes."""
    if command.startswith(INSTALL):
        return f"{command} --dry-run"
    for start, (modules, instead) in OPTIONAL.items():
        if command.startswith(start) and not all(importlib.util.find_spec(name) for name in modules):
            return instead
    return command


@pytest.mark.slow
def test_every_command_runs(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, module in (("python", ""), ("skipspike", " -m skipspike")):
        script = tools / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{module} "$@"\n')
        script.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "200",
    }  # fmt: skip
    for command in commands():
        done = subprocess.run(
            ["bash", "-c", possible(command)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        for start, said in SAYS.items():
            if command.startswith(start):
                assert said in done.stdout, f"{command}\n{done.stdout}"
    shutil.rmtree(tmp_path / "digits-build")
