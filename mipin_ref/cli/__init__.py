"""The command line `mipin`."""

from mipin_ref.cli.main import main

__all__ = ["main"]
