"""The host's side of the link: frames, transports, recordings and the driver of protocol 2 (docs/host-link.md)."""

from .channel import FrameChannel, Recorder, Replay
from .driver import Inference, LinkDriver, LinkError
from .frames import Identity
from .ports import find_port
from .transport import SerialTransport, Transport

__all__ = [
    "FrameChannel",
    "Identity",
    "Inference",
    "LinkDriver",
    "LinkError",
    "Recorder",
    "Replay",
    "SerialTransport",
    "Transport",
    "find_port",
]
