"""The tests' stand-in for Ultravox: a server that works, or misbehaves as a fault says."""

from sandbox import API_KEY
from tests.ultravox.exchange import Exchange
from tests.ultravox.faults import FAULTS
from tests.ultravox.scripts import Fault
from tests.ultravox.server import Ultravox

__all__ = ["API_KEY", "FAULTS", "Exchange", "Fault", "Ultravox"]
