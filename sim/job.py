"""A simulation job: which networks run on which inputs, and the judgement of what came out.

The job lives in a folder as ``job.json``, the networks' model files and ``inputs.npz``, so
that the simulator's own Python process can pick it up; its results go to ``outcome.json``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refmodel import golden, modelfile
from refmodel.compiler import compile_network
from refmodel.config import CoreConfig
from refmodel.cycles import RunTiming, run_timing
from refmodel.program import Program
from refmodel.quantized import QuantizedNetwork

from .compare import compare_run

#: Runs whose golden results and times are made together.
_BATCH = 24


@dataclass(frozen=True)
class Job:
    """networks; runs: (network index, input) in order; faults: bits to flip in the image that the core gets.

    resumes: numbers of the runs whose membranes begin where the run before left them.

    A fault is (network index, store address, mask to xor): the model does not know of it, so
    the comparison must find it.
    """

    config: CoreConfig
    networks: tuple[QuantizedNetwork, ...]
    runs: tuple[tuple[int, NDArray[np.integer]], ...]
    faults: tuple[tuple[int, int, int], ...] = ()
    resumes: tuple[int, ...] = ()

    def write(self, folder: Path) -> None:
        """Write the job's files."""
        folder.mkdir(parents=True, exist_ok=True)
        for index, net in enumerate(self.networks):
            modelfile.save(net, folder / f"network{index}.skn")
        arrays = {f"x{i}": x for i, (_, x) in enumerate(self.runs)}
        np.savez(folder / "inputs.npz", **arrays)  # pyright: ignore[reportArgumentType]
        text = {
            "config": asdict(self.config),
            "networks": len(self.networks),
            "runs": [net for net, _ in self.runs],
            "faults": self.faults,
            "resumes": self.resumes,
        }
        (folder / "job.json").write_text(json.dumps(text))

    @staticmethod
    def read(folder: Path) -> Job:
        """The job that :meth:`write` wrote."""
        text = json.loads((folder / "job.json").read_text())
        nets = []
        for index in range(text["networks"]):
            net = modelfile.load(folder / f"network{index}.skn")
            assert isinstance(net, QuantizedNetwork)
            nets.append(net)
        with np.load(folder / "inputs.npz", allow_pickle=False) as arrays:
            runs = tuple((net, arrays[f"x{i}"]) for i, net in enumerate(text["runs"]))
        faults = tuple((int(a), int(b), int(c)) for a, b, c in text["faults"])
        return Job(CoreConfig(**text["config"]), tuple(nets), runs, faults, tuple(text["resumes"]))


@dataclass
class Outcome:
    """What one run gave, and how it compares."""

    network: int
    compared: int
    mismatched: int
    first: str
    clocks: int
    prediction: int
    golden_prediction: int


@dataclass
class Session:
    """Programs, golden results and times of a job's runs, made batch by batch."""

    job: Job
    programs: list[Program] = field(default_factory=list)
    _batch: dict[int, tuple[golden.GoldenResult, RunTiming, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.programs = [compile_network(net, self.job.config) for net in self.job.networks]

    def image(self, net: int) -> list[int]:
        """The program image that the core gets, faults included."""
        image = list(self.programs[net].image)
        for index, address, mask in self.job.faults:
            if index == net:
                image[address] ^= mask
        return image

    def _model(self, number: int) -> tuple[golden.GoldenResult, RunTiming, int]:
        if number not in self._batch:
            net = self.job.runs[number][0]
            keeps = self.programs[net].keeps_state
            before = self._batch[number - 1][0].state if number in self.job.resumes else None
            numbers = [number]
            while not keeps and len(numbers) < _BATCH and numbers[-1] + 1 < len(self.job.runs):
                if self.job.runs[numbers[-1] + 1][0] != net:
                    break
                numbers.append(numbers[-1] + 1)
            x = np.stack([self.job.runs[i][1] for i in numbers])
            result = golden.run(self.programs[net].network, x, keep=True, state=before, keep_state=keeps)
            timing = run_timing(self.programs[net], result.tensors, keep=True)
            self._batch = {i: (result, timing, place) for place, i in enumerate(numbers)}
        return self._batch[number]

    def expected_clocks(self, number: int) -> int:
        """Clocks of a run by the cycle model."""
        _, timing, place = self._model(number)
        return int(timing.clocks[place])

    def judge(self, number: int, seen: NDArray[np.uint32], clocks: int, argmax: int, results: list[int]) -> Outcome:
        """Compare a run's trace, results, argmax and clocks with the model's."""
        result, timing, place = self._model(number)
        comparison = compare_run(timing, result, place, seen)
        mismatched, first = comparison.mismatched, comparison.first
        wanted = result.results[place].tolist()
        if (results, argmax, clocks) != (wanted, int(result.predictions[place]), int(timing.clocks[place])):
            mismatched = max(mismatched, 1)
            first = first or (
                f"run {number}: results {results}, argmax {argmax}, {clocks} clocks; the model says "
                f"{wanted}, {int(result.predictions[place])}, {int(timing.clocks[place])}"
            )
        return Outcome(
            network=self.job.runs[number][0],
            compared=comparison.compared,
            mismatched=mismatched,
            first=first,
            clocks=clocks,
            prediction=argmax,
            golden_prediction=int(result.predictions[place]),
        )


def write_outcomes(folder: Path, outcomes: list[Outcome]) -> None:
    """Write ``outcome.json``, whole or not at all."""
    partial = folder / "outcome.part"
    partial.write_text(json.dumps([asdict(outcome) for outcome in outcomes]))
    partial.replace(folder / "outcome.json")


def read_outcomes(folder: Path) -> list[Outcome]:
    """What :func:`write_outcomes` wrote; empty if nothing was."""
    path = folder / "outcome.json"
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return [Outcome(**row) for row in rows]
