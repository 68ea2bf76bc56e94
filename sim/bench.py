"""cocotb test: loads programs and inputs, runs the core, compares every clock.

Started by :mod:`sim.cocotb_sim` in the job's folder.
"""

from __future__ import annotations

from pathlib import Path

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge, Timer

from refmodel.trace import trace_words
from sim.harness import RESULTS, STIMULUS, TRACE, stimulus_line
from sim.job import Job, Session, write_outcomes


@cocotb.test()
async def run_jobs(dut) -> None:
    """Every run in order, on one core, without a reset in between."""
    folder = Path(".")
    job = Job.read(folder)
    session = Session(job)
    dut.rst.value = 1
    await Timer(105, "ns")
    dut.rst.value = 0
    await Timer(20, "ns")
    loaded = -1
    outcomes = []
    for number, (net, x) in enumerate(job.runs):
        program = session.programs[net]
        lines = []
        if net != loaded:
            lines += [stimulus_line(job.config, 0, addr, word) for addr, word in enumerate(session.image(net))]
            loaded = net
        addresses, words = program.input_words(x)
        lines += [stimulus_line(job.config, 1, a, w) for a, w in zip(addresses.tolist(), words, strict=True)]
        (folder / STIMULUS).write_text("".join(lines))
        dut.stimulus_words.value = len(lines)
        dut.load_go.value = 1
        await RisingEdge(dut.finished)
        dut.load_go.value = 0
        await Timer(20, "ns")
        dut.classes.value = program.classes
        dut.limit.value = 2 * session.expected_clocks(number) + 1000
        dut.resume.value = int(number in job.resumes)
        dut.run_go.value = 1
        await RisingEdge(dut.finished)
        dut.run_go.value = 0
        await Timer(20, "ns")
        seen = np.fromfile(folder / TRACE, "<u4").reshape(-1, trace_words(job.config))
        head, *results = (folder / RESULTS).read_text().splitlines()
        clocks, argmax = (int(word) for word in head.split())
        outcomes.append(session.judge(number, seen, clocks, argmax, [int(word) for word in results]))
        write_outcomes(folder, outcomes)
    assert outcomes, "no run was compared"
    bad = [outcome for outcome in outcomes if outcome.mismatched]
    assert not bad, bad[0].first
