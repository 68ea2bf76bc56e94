"""``python -m skipspike``."""

from .cli import main

main()
