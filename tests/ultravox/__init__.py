"""Ultravox as the tests see it: a server that answers well, or misbehaves as a fault says."""

from sandbox import API_KEY
from tests.ultravox.exchange import Exchange
from tests.ultravox.faults import FAULTS, Fault
from tests.ultravox.server import Ultravox

__all__ = ["API_KEY", "FAULTS", "Exchange", "Fault", "Ultravox"]
