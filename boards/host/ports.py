"""Serial ports of boards, found by their USB chips."""

from __future__ import annotations

from dataclasses import dataclass

from refmodel.errors import BoardError


@dataclass(frozen=True)
class UsbPort:
    """USB vendor and product of a board's serial chip; ``interface``: its number where the chip has several."""

    vendor: int
    product: int
    interface: int | None = None


#: By the start of a board's name.
_CHIPS = {
    # FT2232H: the first interface is the flash's, the second one the UART.
    "icebreaker": UsbPort(0x0403, 0x6010, 1),
    "hx8k": UsbPort(0x0403, 0x6010, 1),
    "ecpix5": UsbPort(0x0403, 0x6010, 1),
    "ulx3s": UsbPort(0x0403, 0x6015),  # FT231X
    "icesugar": UsbPort(0x1D50, 0x602B),  # iCELink
}


def chip_of(board: str) -> UsbPort | None:
    """The serial chip of a board; None if it has none of its own, or it is not known."""
    return next((chip for name, chip in _CHIPS.items() if board.replace("-", "").startswith(name)), None)


def find_port(board: str) -> str:
    """The serial port that ``board`` is connected to; BoardError if there is none, or more than one."""
    chip = chip_of(board)
    if chip is None:
        raise BoardError(f"board {board!r} is not found by its USB chip; name its serial port, as /dev/ttyUSB0")
    try:
        from serial.tools import list_ports
    except ImportError:
        raise BoardError("looking for a board needs pyserial: pip install pyserial") from None
    found = []
    for port in list_ports.comports():
        if (port.vid, port.pid) != (chip.vendor, chip.product):
            continue
        place = port.location or ""
        if chip.interface is None or "." not in place or place.rsplit(".", 1)[-1] == str(chip.interface):
            found.append(port.device)
    if not found:
        raise BoardError(
            f"no serial port of board {board!r} (USB {chip.vendor:04x}:{chip.product:04x}) was found; "
            "connect it, check permissions with `skipspike doctor`, or name its port"
        )
    if len(found) > 1:
        raise BoardError(f"{', '.join(sorted(found))} may all be board {board!r}; name the port")
    return found[0]
