"""``python -m skipspike.part FOLDER SIMULATOR SEED``: one process's share of a split simulation.

Runs the job that was written to FOLDER; its outcomes are in ``outcome.json`` there.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from refmodel.errors import SkipspikeError
from sim.cocotb_sim import simulate
from sim.job import Job


def main() -> None:
    """Run the share; exit code 1 and one line on stderr if a tool is missing or fails."""
    # Ended from outside, it must still end its simulator: SystemExit gets through to sim.cocotb_sim's clean-up.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    folder, simulator, seed = sys.argv[1:]
    if simulator not in ("verilator", "icarus"):
        sys.exit(f"no such simulator: {simulator}")
    try:
        simulate(Job.read(Path(folder)), Path(folder), simulator=simulator, seed=int(seed))
    except SkipspikeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
