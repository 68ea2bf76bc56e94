"""Other spiking processors' figures, to compare cores with: as published, or their code built with the same tools."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Anchor:
    """One system.

    device: what its figures are of.  lut: logic cells (iCE40) or LUTs.  gsops: 10^9 synaptic operations a second,
    None where the source has none that compares.  remark: how the figure comes about.  source: whose it is.
    """

    name: str
    device: str
    lut: int | None
    gsops: float | None
    remark: str
    source: str


_BUILT = "its public code, built with Yosys and nextpnr"

ANCHORS = (
    Anchor("uCaspian", "iCE40 UP5K", 3_889, 0.03, "1 synaptic operation a clock at 32 MHz", _BUILT),
    Anchor("tinyODIN", "ECP5-25F", 2_981, 0.02, "520 clocks for an event of 256 synapses at 41 MHz", _BUILT),
    Anchor("Spiker+ 40-128-10, sustained", "ECP5-85F", 13_921, 2.4, "dense-equivalent at 65 MHz", _BUILT),
    Anchor("Spiker+ 40-128-10, peak", "ECP5-85F", 13_921, 8.8, "dense-equivalent at 65 MHz", _BUILT),
    Anchor("SC-NeuroCore 16x16, folded", "ECP5-25F", 1_540, 0.33, "1.3 M steps/s of 256 synapses; 16 DSP", _BUILT),
    Anchor(
        "FireFly v2",
        "UltraScale+",
        None,
        2_048.0,
        "8,192 operations a clock at 250 MHz in DSP48 blocks, dense",
        "published (Li et al. 2023, arXiv:2309.16158)",
    ),
    Anchor(
        "residual SNN processor",
        "its FPGA, 3,008 DSP",
        134_859,
        None,
        "CIFAR-10, 0.69 M parameters, T = 1: 3.98 ms an image",
        "published (Hou et al. 2025)",
    ),
)
