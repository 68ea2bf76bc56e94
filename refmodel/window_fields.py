"""Descriptor fields of a slab's windows, as the window walker reads them, and what they can hold.

Positions along an image row count words: pixel x of a row is word x * G, G words a pixel.
"""

from __future__ import annotations

from .buffers import Buffer
from .config import CoreConfig
from .errors import CompileError
from .program import Op


def window_fields(op: Op, source: Buffer, group: int, engine: int = 0) -> dict[str, int]:
    """Fields of the windows of ``op``'s slab ``group`` over the tensor at ``source``, for an engine's output rows.

    An op that scans nothing gets an image without size and windows that stay where they are: all of them lie outside.
    """
    (kh, kw), (sh, sw), (ph, pw) = op.layer.kernel, op.layer.stride, op.layer.padding
    _, in_h, in_w = op.source.shape
    words = source.groups
    if not op.scans:
        in_h = in_w = sh = sw = 0
    line, kernel = in_w * words, kw * words
    skipped = 0 if op.shared_taps else ph * kernel
    top = op.share(engine)[0] * sh - ph  # image row that the first window begins at
    above = max(-top, 0)
    first = (group if op.pool else 0) + (top + above) * line
    return {
        "src": source.base + (op.source.planes - 1) * source.plane_step + first,
        "line_words": line,
        "kernel_last": kernel - (words if op.shared_taps else 1),
        "origin_x": -pw * words,
        "line_last": line - (words if op.shared_taps else 1),
        "stride_x": sw * words,
        "tap_words": words if op.shared_taps else 0,
        "kernel_y_last": kh - 1,
        "origin_y": -above,
        "slack_y": in_h - (kh + top),
        "stride_y": sh,
        "first_row": -ph % sh * line if sh else 0,
        "row_step": sh * line,
        "tag_y": 0 if op.shared_taps else above * kernel,
        "tag_y_step": min(sh * kernel, skipped),  # beyond the first row of windows nothing is left to skip, then
        "plane_step": -source.plane_step,
        "chunk_step": source.chunk_step + (op.source.planes - 1) * source.plane_step,
    }


def address_span(config: CoreConfig, op: Op) -> int:
    """The largest number that the address-wide window fields of ``op`` must hold."""
    if not op.scans:
        return 0
    words = -(-op.source.shape[0] // config.output_lanes)
    return words * max(op.source.shape[2], op.layer.kernel[1], op.layer.stride[1])


def depth_for_span(span: int) -> int:
    """Words of spike memory whose addresses can hold ``span``, at least."""
    return 1 + (1 << span.bit_length() >> 1)


def check_window(config: CoreConfig, op: Op) -> None:
    """Refuse windows that the descriptor's fields cannot hold."""
    where, limit = f"layer '{op.layer.name}'", 1 << config.spike_addr_bits
    span = address_span(config, op)
    if span >= limit:
        raise CompileError(
            f"{where}: a row of its image or of its kernel, or its stride takes {span} words, this core's "
            f"addresses count to {limit - 1}; use a narrower image or fewer channels, or raise spike_depth to "
            f"{depth_for_span(span)}"
        )
