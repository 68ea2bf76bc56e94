"""A board that is simulated pin by pin behind a pseudo-terminal: host software cannot tell it from a slow board."""

from .board import SimulatedBoard, State
from .design import Design, design

__all__ = ["Design", "SimulatedBoard", "State", "design"]
