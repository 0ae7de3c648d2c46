"""The admin pages of voices and runs."""

from voices.admin import runs, voices

__all__ = ["runs", "voices"]
