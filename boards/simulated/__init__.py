"""A board that is simulated pin by pin behind a pseudo-terminal: host software cannot tell it from a slow board."""

from .bitstream import design_of_bitstream
from .board import SimulatedBoard, State
from .design import Design, design

__all__ = ["Design", "SimulatedBoard", "State", "design", "design_of_bitstream"]
