// Vendor cells that a board's top level names itself, as their manuals describe them, for simulation.
// A PLL here passes its input on: simulated time is counted in clocks of the core.

module SB_PLL40_PAD #(
  parameter FEEDBACK_PATH = "SIMPLE", parameter [3:0] DIVR = 0, parameter [6:0] DIVF = 0, parameter [2:0] DIVQ = 0,
  parameter [2:0] FILTER_RANGE = 0, parameter DELAY_ADJUSTMENT_MODE_FEEDBACK = "", parameter SHIFTREG_DIV_MODE = 0,
  parameter DELAY_ADJUSTMENT_MODE_RELATIVE = "", parameter PLLOUT_SELECT = "", parameter FDA_FEEDBACK = 0,
  parameter FDA_RELATIVE = 0, parameter ENABLE_ICEGATE = 0, parameter TEST_MODE = 0
) (
  input PACKAGEPIN, RESETB, BYPASS, EXTFEEDBACK, input [7:0] DYNAMICDELAY, input LATCHINPUTVALUE, SDI, SCLK,
  output PLLOUTGLOBAL, PLLOUTCORE, LOCK, SDO
);
  assign PLLOUTGLOBAL = PACKAGEPIN;
  assign PLLOUTCORE = PACKAGEPIN;
  assign LOCK = RESETB;
endmodule

module SB_PLL40_CORE #(
  parameter FEEDBACK_PATH = "SIMPLE", parameter [3:0] DIVR = 0, parameter [6:0] DIVF = 0, parameter [2:0] DIVQ = 0,
  parameter [2:0] FILTER_RANGE = 0, parameter DELAY_ADJUSTMENT_MODE_FEEDBACK = "", parameter SHIFTREG_DIV_MODE = 0,
  parameter DELAY_ADJUSTMENT_MODE_RELATIVE = "", parameter PLLOUT_SELECT = "", parameter FDA_FEEDBACK = 0,
  parameter FDA_RELATIVE = 0, parameter ENABLE_ICEGATE = 0, parameter TEST_MODE = 0
) (
  input REFERENCECLK, RESETB, BYPASS, EXTFEEDBACK, input [7:0] DYNAMICDELAY, input LATCHINPUTVALUE, SDI, SCLK,
  output PLLOUTGLOBAL, PLLOUTCORE, LOCK, SDO
);
  assign PLLOUTGLOBAL = REFERENCECLK;
  assign PLLOUTCORE = REFERENCECLK;
  assign LOCK = RESETB;
endmodule

// An I/O cell of iCE40 without the double data rate: PIN_TYPE[1:0] selects the input, PIN_TYPE[5:2] the output.
module SB_IO #(
  parameter [5:0] PIN_TYPE = 6'b000000, parameter PULLUP = 0, parameter NEG_TRIGGER = 0, parameter IO_STANDARD = ""
) (
  inout PACKAGE_PIN, input LATCH_INPUT_VALUE, CLOCK_ENABLE, INPUT_CLK, OUTPUT_CLK, OUTPUT_ENABLE, D_OUT_0, D_OUT_1,
  output D_IN_0, D_IN_1
);
  reg input_register = 0, output_register = 0, enable_register = 0;
  always @(posedge INPUT_CLK) if (CLOCK_ENABLE) input_register <= PACKAGE_PIN;
  always @(posedge OUTPUT_CLK) if (CLOCK_ENABLE) begin
    output_register <= D_OUT_0;
    enable_register <= OUTPUT_ENABLE;
  end
  assign D_IN_0 = PIN_TYPE[0] ? PACKAGE_PIN : input_register;
  assign D_IN_1 = 1'b0;
  wire level = PIN_TYPE[3] ? D_OUT_0 : output_register;
  wire enable = PIN_TYPE[5:4] == 2'b01 | (PIN_TYPE[5:4] == 2'b10 & OUTPUT_ENABLE)
              | (PIN_TYPE[5:4] == 2'b11 & enable_register);
  assign PACKAGE_PIN = enable ? level : 1'bz;
  initial if (PIN_TYPE[1] | (PIN_TYPE[5:4] != 0 & ~PIN_TYPE[2] & ~PIN_TYPE[3]))
    $fatal(1, "SB_IO: PIN_TYPE %b is not simulated", PIN_TYPE);
endmodule

// A table of four inputs as a sum modulo 2 of products (Reed-Muller): adders have few, and they simulate fast.
module LUT4 #(parameter [15:0] INIT = 0) (input A, B, C, D, output Z);
  function automatic [15:0] coefficients(input [15:0] table_);
    coefficients = table_;
    for (int variable = 1; variable < 16; variable = variable << 1)
      for (int term = 0; term < 16; term = term + 1)
        if ((term & variable) != 0) coefficients[term] = coefficients[term] ^ coefficients[term ^ variable];
  endfunction
  localparam [15:0] F = coefficients(INIT);
  assign Z = F[0] ^ (F[1] & A) ^ (F[2] & B) ^ (F[3] & A & B) ^ (F[4] & C) ^ (F[5] & A & C) ^ (F[6] & B & C)
           ^ (F[7] & A & B & C) ^ (F[8] & D) ^ (F[9] & A & D) ^ (F[10] & B & D) ^ (F[11] & A & B & D)
           ^ (F[12] & C & D) ^ (F[13] & A & C & D) ^ (F[14] & B & C & D) ^ (F[15] & A & B & C & D);
endmodule

module SB_LUT4 #(parameter [15:0] LUT_INIT = 0) (input I0, I1, I2, I3, output O);
  LUT4 #(.INIT(LUT_INIT)) lut (.A(I0), .B(I1), .C(I2), .D(I3), .Z(O));
endmodule

module SB_CARRY (input I0, I1, CI, output CO);
  assign CO = (I0 & I1) | ((I0 | I1) & CI);
endmodule

module SB_SPRAM256KA (
  input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN, input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP,
  POWEROFF, output reg [15:0] DATAOUT
);
  reg [15:0] words [0:16383];
  always @(posedge CLOCK) if (CHIPSELECT & ~STANDBY & ~SLEEP & POWEROFF) begin
    if (WREN) begin
      if (MASKWREN[0]) words[ADDRESS][3:0] <= DATAIN[3:0];
      if (MASKWREN[1]) words[ADDRESS][7:4] <= DATAIN[7:4];
      if (MASKWREN[2]) words[ADDRESS][11:8] <= DATAIN[11:8];
      if (MASKWREN[3]) words[ADDRESS][15:12] <= DATAIN[15:12];
    end else DATAOUT <= words[ADDRESS];
  end
endmodule

// A block RAM of iCE40: MODE 0, 256 words of 16 bits, to MODE 3, 2,048 of 2.
module SB_RAM40_4K #(
  parameter [1:0] READ_MODE = 0, parameter [1:0] WRITE_MODE = 0,
  parameter [255:0] INIT_0 = 0, INIT_1 = 0, INIT_2 = 0, INIT_3 = 0, INIT_4 = 0, INIT_5 = 0, INIT_6 = 0, INIT_7 = 0,
  parameter [255:0] INIT_8 = 0, INIT_9 = 0, INIT_A = 0, INIT_B = 0, INIT_C = 0, INIT_D = 0, INIT_E = 0, INIT_F = 0
) (
  output reg [15:0] RDATA, input [10:0] RADDR, input RCLK, RCLKE, RE,
  input WCLK, WCLKE, WE, input [10:0] WADDR, input [15:0] MASK, WDATA
);
  // Narrow words lie in columns of the wide ones: address bits 8 and up choose the column.
  reg [15:0] words [0:255];
  reg [4095:0] init;
  initial begin
    RDATA = 0;
    init = {INIT_F, INIT_E, INIT_D, INIT_C, INIT_B, INIT_A, INIT_9, INIT_8,
            INIT_7, INIT_6, INIT_5, INIT_4, INIT_3, INIT_2, INIT_1, INIT_0};
    for (int i = 0; i < 256; i = i + 1) words[i] = init[16 * i +: 16];
  end
  // For each bit of a word: the bit of the narrow data it is written from or read to, and whether it is of the column.
  function automatic [3:0] data_bit(input [1:0] mode, input [3:0] bit_);
    case (mode)
      0: data_bit = bit_;
      1: data_bit = {bit_[3:1], 1'b0};
      2: data_bit = {bit_[3:2], 2'b01};
      default: data_bit = {bit_[3], 3'b011};
    endcase
  endfunction
  function automatic in_column(input [1:0] mode, input [3:0] bit_, input [2:0] column);
    case (mode)
      0: in_column = 1;
      1: in_column = bit_[0] == column[0];
      2: in_column = bit_[1:0] == column[1:0];
      default: in_column = bit_[2:0] == column;
    endcase
  endfunction
  always @(posedge WCLK) if (WCLKE & WE)
    for (int i = 0; i < 16; i = i + 1)
      if (in_column(WRITE_MODE, i[3:0], WADDR[10:8]) & (WRITE_MODE != 0 | ~MASK[i]))
        words[WADDR[7:0]][i] <= WDATA[data_bit(WRITE_MODE, i[3:0])];
  always @(posedge RCLK) if (RCLKE & RE) begin
    RDATA <= 0;
    for (int i = 0; i < 16; i = i + 1)
      if (in_column(READ_MODE, i[3:0], RADDR[10:8]))
        RDATA[data_bit(READ_MODE, i[3:0])] <= words[RADDR[7:0]][i];
  end
endmodule

module EHXPLLL #(
  parameter PLLRST_ENA = "", parameter INTFB_WAKE = "", parameter STDBY_ENABLE = "", parameter DPHASE_SOURCE = "",
  parameter OUTDIVIDER_MUXA = "", parameter FEEDBK_PATH = "", parameter CLKI_DIV = 1, parameter CLKFB_DIV = 1,
  parameter CLKOP_ENABLE = "", parameter CLKOP_DIV = 1, parameter CLKOP_CPHASE = 0, parameter CLKOP_FPHASE = 0
) (
  input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP,
  output CLKOP, LOCK
);
  assign CLKOP = CLKI;
  assign LOCK = ~RST;
endmodule

module IB (input I, output O);
  assign O = I;
endmodule

module OB (input I, output O);
  assign O = I;
endmodule

module OBZ (input I, T, output O);
  assign O = T ? 1'bz : I;
endmodule

module BB (input I, T, output O, inout B);
  assign B = T ? 1'bz : I;
  assign O = B;
endmodule

module IFS1P3DX (input D, SP, SCLK, CD, output reg Q);
  initial Q = 0;
  always @(posedge SCLK) if (SP) Q <= D;
endmodule

module OFS1P3DX (input D, SP, SCLK, CD, output reg Q);
  initial Q = 0;
  always @(posedge SCLK) if (SP) Q <= D;
endmodule

module PFUMX (input ALUT, BLUT, C0, output Z);
  assign Z = C0 ? ALUT : BLUT;
endmodule

module L6MUX21 (input D0, D1, SD, output Z);
  assign Z = SD ? D1 : D0;
endmodule

module CCU2C #(
  parameter [15:0] INIT0 = 0, parameter [15:0] INIT1 = 0, parameter INJECT1_0 = "YES", parameter INJECT1_1 = "YES"
) (input A0, B0, C0, D0, A1, B1, C1, D1, CIN, output S0, S1, COUT);
  wire lut4_0, lut4_1, lut2_0, lut2_1;
  LUT4 #(.INIT(INIT0)) first (.A(A0), .B(B0), .C(C0), .D(D0), .Z(lut4_0));
  LUT4 #(.INIT(INIT1)) second (.A(A1), .B(B1), .C(C1), .D(D1), .Z(lut4_1));
  LUT4 #(.INIT({4{INIT0[3:0]}})) first_low (.A(A0), .B(B0), .C(1'b0), .D(1'b0), .Z(lut2_0));
  LUT4 #(.INIT({4{INIT1[3:0]}})) second_low (.A(A1), .B(B1), .C(1'b0), .D(1'b0), .Z(lut2_1));
  wire middle = lut4_0 ? CIN : lut2_0;
  assign S0 = lut4_0 ^ CIN;
  assign S1 = lut4_1 ^ middle;
  assign COUT = lut4_1 ? middle : lut2_1;
  initial if (INJECT1_0 != "NO" || INJECT1_1 != "NO") $fatal(1, "CCU2C: only INJECT1 = NO is simulated");
endmodule
