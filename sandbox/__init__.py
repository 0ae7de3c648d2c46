"""A stand-in for the Ultravox API: to try the project without a key, for tests and benchmarks."""

from sandbox.faults import FAULTS, Fault
from sandbox.server import API_KEY, Sandbox

__all__ = ["API_KEY", "FAULTS", "Fault", "Sandbox"]
