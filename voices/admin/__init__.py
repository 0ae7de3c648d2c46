"""The admin's pages: each module registers its own."""

from voices.admin import agencies, runs, schedule, voices

__all__ = ["agencies", "runs", "schedule", "voices"]
