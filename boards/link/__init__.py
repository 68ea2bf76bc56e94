"""The host link: protocol 2 in gateware (docs/host-link.md)."""

from .hostlink import HostLink
from .loader import Kind, Loader, LoaderPort

__all__ = ["HostLink", "Kind", "Loader", "LoaderPort"]
