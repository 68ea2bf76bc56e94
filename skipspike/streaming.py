"""Where a device is in a stream: whether its membranes go on, and how far that is proven exact."""

from __future__ import annotations

from dataclasses import dataclass

from refmodel.errors import BoardError
from refmodel.program import Program


@dataclass
class StreamPlace:
    """The stream on a device.

    steps: since its membranes began; 0: the next step begins anew.  drifted: the core says that they have gone as far
    as is proven (:mod:`refmodel.state_bounds`).  lost: why nobody knows the membranes, or empty.
    """

    steps: int = 0
    drifted: bool = False
    lost: str = ""

    def interrupted(self, why: str) -> None:
        """The membranes, if there are any, are no longer the stream's."""
        if self.steps:
            self.lost = why

    def check(self, program: Program) -> None:
        """Raise BoardError unless the program may take the next step."""
        if not program.keeps_state:
            raise BoardError(
                f"the program of network '{program.network.name}' keeps no membranes; compile it for a core with "
                "state_depth, such as --board BOARD+state"
            )
        if self.lost:
            raise BoardError(f"the stream's membranes are lost: {self.lost}; call reset_state() to begin anew")
        most = program.state_steps
        if most is not None and self.steps + program.network.steps > most:
            raise BoardError(
                f"membranes of {program.config.membrane_width} bits are proven for {most} steps, and {self.steps} were "
                "made; call reset_state(), or use a core with a larger membrane_width"
            )
        if self.drifted:
            raise BoardError(
                f"after {self.steps} steps a membrane has left the inner half of its {program.config.membrane_width} "
                "bits: another step might not be exact; call reset_state(), or use a core with a larger membrane_width"
            )
