"""Time from a network to Verilog, loosely: several times what docs/performance.md says."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from boards.registry import get_board
from refmodel.lowering import lower
from refmodel.needs import plan
from skipspike import api
from skipspike.models import open_network, quantised


def _seconds(work: Callable[[], object]) -> float:
    """Processor time of ``work``, Yosys included."""

    def used() -> float:
        who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        return sum(one.ru_utime + one.ru_stime for one in map(resource.getrusage, who))

    start = used()
    work()
    return used() - start


@pytest.mark.slow
def test_49_convolutions(tmp_path: Path) -> None:
    assert _seconds(lambda: api.generate("digits-sew-add-24", board="icebreaker", out=tmp_path / "made")) < 15


@pytest.mark.slow
def test_sew_resnet18(tmp_path: Path) -> None:
    """At full width on 32x32: 11 million weights, more than any board's block RAM holds; they come from outside."""
    name, board = "zoo:sew-resnet18,size=32", get_board("ulx3s_85f")
    net = quantised(open_network(name), None, board.core)
    core = tmp_path / "core.json"
    core.write_text(json.dumps(asdict(plan(lower(net), board.core).config)))
    assert _seconds(lambda: api.generate(name, board=board.name, core=core, out=tmp_path / "made")) < 50
    made = tmp_path / "made"
    assert (made / "program.bin").stat().st_size > 11_000_000 > 10 * (made / "core.v").stat().st_size
