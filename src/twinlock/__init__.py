"""Twinlock: an exchange that never holds a coin. See ARCHITECTURE.md for the map of the packages."""

__version__ = "0.1.0"
