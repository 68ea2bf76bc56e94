"""Skipspike: trained deep residual spiking networks as FPGA cores, checked clock by clock.

The verbs of the command line are functions of :mod:`skipspike.api`.
"""

__version__ = "0.1.0"
