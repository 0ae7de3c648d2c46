"""The admin pages of voices, runs and the schedule."""

from voices.admin import runs, schedule, voices

__all__ = ["runs", "schedule", "voices"]
