"""Ultravox as the tests see it: a server that answers well, or misbehaves as a fault says."""

from sandbox import API_KEY, FAULTS, Fault
from sandbox import Sandbox as Ultravox

__all__ = ["API_KEY", "FAULTS", "Fault", "Ultravox"]
