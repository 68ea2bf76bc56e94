"""A small trained-looking network, its data, and the command line, in this process and in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from refmodel import modelfile
from refmodel.builder import NetworkBuilder
from refmodel.network import InputSpec, Network

ROOT = Path(__file__).resolve().parents[2]


def small_network(channels: int = 6, side: int = 4, kernel: int = 3) -> Network:
    """One SEW block on ``side`` x ``side`` pixels of 3 bits, 3 classes, T = 4."""
    rng = np.random.default_rng(5)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0.1, 0.5, shape)

    builder = NetworkBuilder("small", 4, InputSpec((1, side, side), 3, True, 1 / 7), family="SEW-ADD")
    pad = kernel // 2
    x = builder.conv("input", weights(channels, 1, kernel, kernel), padding=pad)
    y = builder.conv(x, weights(channels, channels, kernel, kernel), padding=pad)
    z = builder.conv(y, weights(channels, channels, kernel, kernel), padding=pad, shortcut=x, combine="add")
    builder.readout(z, weights(3, channels))
    return builder.build()


@pytest.fixture
def small(tmp_path: Path) -> str:
    """Path of the small network."""
    path = tmp_path / "small.skn"
    modelfile.save(small_network(), path)
    return str(path)


@pytest.fixture
def small_data(tmp_path: Path) -> str:
    """Path of 6 inputs of the small network."""
    rng = np.random.default_rng(6)
    path = tmp_path / "small.npz"
    np.savez_compressed(path, x=rng.integers(0, 8, (6, 1, 4, 4), dtype=np.uint8), y=rng.integers(0, 3, 6))
    return str(path)


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs ``skipspike`` as a process of its own, in an empty folder."""

    def run(
        *arguments: str, env: dict[str, str] | None = None, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        return subprocess.run(
            [sys.executable, "-m", "skipspike", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
