"""Behavioural memories at the pins of a simulated board."""

from __future__ import annotations

from collections.abc import Collection

from refmodel.errors import BoardError
from rtl_gen.conversion import convert
from sim.flash_model import FlashModel
from sim.sdram_model import SdramModel

#: 16-bit words of the simulated SDRAM: 2 MB, of 32.
SDRAM_WORDS = 1 << 20

_SDRAM = """\
  wire sdram_drives, sdram_fault;
  wire [15:0] sdram_data;
  assign sdram_0__dq__io = sdram_drives ? sdram_data : 16'bz;
  sdram_model sdram(.clk(sdram_0__clk__io), .rst(1'b0), .pins__cke(sdram_0__clk_en__io), .pins__cs(~sdram_0__cs__io),
    .pins__ras(~sdram_0__ras__io), .pins__cas(~sdram_0__cas__io), .pins__we(~sdram_0__we__io),
    .pins__ba(sdram_0__ba__io), .pins__a(sdram_0__a__io), .pins__dqm(sdram_0__dqm__io),
    .pins__dq_o(sdram_0__dq__io), .pins__dq_oe(~sdram_0__we__io & ~sdram_0__cas__io), .pins__dq_i(sdram_data),
    .drives(sdram_drives), .write__en(1'b0), .write__addr({address}'d0), .write__data(16'd0), .fault(sdram_fault));
  always @(posedge sdram_fault) begin
    $display("the board broke a rule of its SDRAM");
    $fatal;
  end
"""

_FLASH = """\
  wire flash_fault;
  flash_model flash(.clk(clk), .rst(1'b0), .spi__cs(~spi_flash_1x_0__cs__io), .spi__sck(spi_flash_1x_0__clk__io),
    .spi__copi(spi_flash_1x_0__copi__io), .spi__cipo(spi_flash_1x_0__cipo__io), .write__en(1'b0),
    .write__addr({address}'d0), .write__data(8'd0), .fault(flash_fault));
  always @(posedge flash_fault) begin
    $display("the board broke a rule of its flash");
    $fatal;
  end
"""


def memory_models(
    ports: Collection[str], *, clock_hz: float, flash: bytes, flash_offset: int | None
) -> tuple[str, dict[str, str]]:
    """Lines for the module around the top level, and the models' sources, for the memories that have ports there.

    flash: what the flash holds from ``flash_offset`` on.
    """
    lines, sources = "", {}
    if "sdram_0__clk__io" in ports:
        model = SdramModel(clock_hz=clock_hz, words=SDRAM_WORDS)
        sources["sdram_model.v"] = convert(model, name="sdram_model")
        lines += _SDRAM.format(address=(SDRAM_WORDS - 1).bit_length())
    if "spi_flash_1x_0__clk__io" in ports:
        if flash_offset is None:
            raise BoardError("the board says of its flash no place for a program")
        model = FlashModel(flash, base=flash_offset)
        sources["flash_model.v"] = convert(model, name="flash_model")
        lines += _FLASH.format(address=(model.size - 1).bit_length())
    return lines, sources
