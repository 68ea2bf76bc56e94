"""The host link: protocol 2 in gateware (docs/host-link.md)."""

from .hostlink import HostLink
from .loader import Kind, Loader, LoaderPort
from .protocol import config_digest, image_bytes, image_crc

__all__ = ["HostLink", "Kind", "Loader", "LoaderPort", "config_digest", "image_bytes", "image_crc"]
