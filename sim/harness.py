"""Verilog around the core for cocotb: clock, bulk loading, bulk recording.

A Python callback in every clock would limit a simulation to some 10,000 clocks a second, so
the harness does in Verilog what happens every clock: it streams a stimulus file into the
core, starts it and writes one binary trace row a clock.  cocotb says when.
"""

from __future__ import annotations

import random
import re

from refmodel.config import CoreConfig
from refmodel.layout import probe_bits
from refmodel.trace import trace_words

#: Files of a run, in the simulation's folder.
STIMULUS, TRACE, RESULTS = "stimulus.hex", "trace.bin", "results.txt"

_TEMPLATE = """\
`timescale 1ns/1ps
module harness;
  reg clk = 0;
  always #5 clk = ~clk;
  // Set by cocotb while the harness is idle.
  reg rst = 0;
  initial #1 rst = 1;  // an edge: Icarus evaluates no logic whose inputs have not changed since the start
  reg load_go = 0;
  reg run_go = 0;
  reg resume = 0;
  reg [31:0] stimulus_words = 0;
  reg [31:0] classes = 0;
  reg [31:0] limit = 0;
  // Pulsed when a job ends; timed_out says that the core did not finish.
  reg finished = 0;
  reg timed_out = 0;

  reg [{stimulus_high}:0] stimulus [0:{stimulus_last}];
  reg [{payload_high}:0] payload = 0;
  reg valid = 0, start = 0;
  reg [{result_bits}-1:0] result_addr = 0;
  wire ready, busy, done;
  wire signed [{membrane_high}:0] result_data;
  wire [{result_bits}-1:0] argmax;
  wire [31:0] clocks;
  wire [{probe_high}:0] probe;
  wire [{row_high}:0] row = {{ {row_pad}probe }};
  core dut (.clk(clk), .rst(rst), .load__payload(payload), .load__valid(valid), .load__ready(ready),
    .start(start), {resume}.busy(busy), .done(done), .result_addr(result_addr), .result_data(result_data),
    .argmax(argmax), .clocks(clocks), .probe(probe){fault_port});
{fault_watch}
  localparam IDLE = 0, LOAD = 1, RUN = 2, READ = 3;
  integer state = IDLE, index = 0, file = 0, elapsed = 0;
  always @(posedge clk) begin
    finished <= 0;
    case (state)
      IDLE: begin
        elapsed <= 0;
        if (load_go) begin
          $readmemh("{stimulus}", stimulus, 0, stimulus_words - 1);
          index <= 0;
          state <= LOAD;
        end else if (run_go) begin
          file = $fopen("{trace}", "wb");
          start <= 1;
          state <= RUN;
        end
      end
      LOAD: if (valid && !ready) begin
          // the core takes its time
        end else if (index == stimulus_words) begin
          valid <= 0;
          finished <= 1;
          state <= IDLE;
        end else begin
          payload <= stimulus[index][{payload_high}:0];
          valid <= 1;
          index <= index + 1;
        end
      RUN: begin
        start <= 0;
        elapsed <= elapsed + 1;
        if (busy) begin
          {write_row}
        end
        if (done || elapsed == limit) begin
          timed_out <= !done;
          $fclose(file);
          file = $fopen("{results}", "w");
          index <= 0;
          result_addr <= 0;
          state <= READ;
        end
      end
      READ: begin
        // The result of the address set before the last clock edge but one is here now.
        result_addr <= index + 1;
        index <= index + 1;
        if (index == 0) $fwrite(file, "%0d %0d\\n", clocks, argmax);
        else if (index > 1) $fwrite(file, "%0d\\n", result_data);
        if (index == classes + 1) begin
          $fclose(file);
          finished <= 1;
          state <= IDLE;
        end
      end
    endcase
  end
endmodule
"""

#: Ends the simulation when the memory outside the FPGA was not used as it must be.
_WATCH = """  wire fault;
  always @(posedge clk) if (fault && !rst) begin
    $display("the core did not use its memory outside as it must");
    $finish;
  end
"""


def harness(config: CoreConfig, stimulus_depth: int) -> str:
    """Verilog of module ``harness`` around a ``core`` of this configuration."""
    addr = max(config.store_addr_bits, config.spike_addr_bits)
    payload = 1 + addr + max(config.store_width, config.spike_width)
    words = trace_words(config)
    pad = words * 32 - probe_bits(config)
    lanes = [f"row[{32 * i + 31}:{32 * i}]" for i in range(words)]
    return _TEMPLATE.format(
        stimulus_high=-(-payload // 4) * 4 - 1,
        stimulus_last=stimulus_depth - 1,
        payload_high=payload - 1,
        result_bits=max(1, (config.result_depth - 1).bit_length()),
        membrane_high=config.membrane_width - 1,
        probe_high=probe_bits(config) - 1,
        row_high=words * 32 - 1,
        row_pad=f"{pad}'d0, " if pad else "",
        resume=".resume(resume), " if config.state_depth else "",
        stimulus=STIMULUS,
        trace=TRACE,
        results=RESULTS,
        fault_port=", .fault(fault)" if config.streams_store else "",
        fault_watch=_WATCH if config.streams_store else "",
        write_row=" ".join(f'$fwrite(file, "%u", {lane});' for lane in lanes),
    )


def stimulus_line(config: CoreConfig, space: int, addr: int, word: int) -> str:
    """One line of the stimulus file: a host write."""
    addr_bits = max(config.store_addr_bits, config.spike_addr_bits)
    value = space | addr << 1 | word << (1 + addr_bits)
    payload = 1 + addr_bits + max(config.store_width, config.spike_width)
    return f"{value:0{-(-payload // 4)}x}\n"


_REGISTER = re.compile(r"^(  reg (?:\[\d+:0\] )?(?:\\\S+ |\w+) = )(\d+)'h[0-9a-fA-F]+;$", re.MULTILINE)
_MEMORY = re.compile(r"^  initial begin\n((?:    .*\] = \d+'[dh][0-9a-fA-F]+;\n)+)  end\n", re.MULTILINE)
_CELL = re.compile(r"^    (.*)\[\d+\] = (\d+)'", re.MULTILINE)


def randomise_power_up(verilog: str, seed: int) -> dict[str, str]:
    """``core.v`` with a random power-up value in every register and memory word, and the memories' files.

    Only initial values change; what a reset sets is still set by the reset, and a memory that the
    module never writes keeps its contents: it is a table.
    """
    rng = random.Random(seed)
    files: dict[str, str] = {}

    def register(match: re.Match[str]) -> str:
        width = int(match[2])
        return f"{match[1]}{width}'h{rng.getrandbits(width):x};"

    def memory(match: re.Match[str]) -> str:
        cell = _CELL.match(match[1])
        assert cell is not None
        module = match.string[match.end() : match.string.find("endmodule", match.end())]
        if not re.search(rf"^ +{re.escape(cell[1].strip())} ?\[.*\] <= ", module, re.MULTILINE):
            return match[0]
        width, depth = int(cell[2]), match[1].count("\n")
        name = f"memory{len(files)}.hex"
        files[name] = "".join(f"{rng.getrandbits(width):x}\n" for _ in range(depth))
        return f'  initial $readmemh("{name}", {cell[1].strip()} );\n'

    text = _MEMORY.sub(memory, _REGISTER.sub(register, verilog))
    return {"core.v": text, **files}
