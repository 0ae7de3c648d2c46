"""A fake Ultravox API, for trying and developing the project without a key."""

from sandbox.server import API_KEY, Sandbox

__all__ = ["API_KEY", "Sandbox"]
