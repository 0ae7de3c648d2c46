"""The mirror of Ultravox's voices, and the history of its syncs."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from agencies.models import Agency

PUBLIC = "public"  # the ownership of voices that every caller sees


class Voice(models.Model):
    """A voice as Ultravox lists it; `records.py` maps its fields to columns."""

    id = models.TextField(primary_key=True)
    name = models.TextField()
    description = models.TextField(null=True, blank=True)
    language_label = models.TextField("language", null=True, blank=True)
    primary_language = models.TextField("language code", null=True, blank=True)
    ownership = models.TextField(null=True, blank=True)
    billing_style = models.TextField("billing", null=True, blank=True)
    provider = models.TextField(null=True, blank=True)
    preview_url = models.TextField("preview URL", null=True, blank=True)
    definition = models.JSONField(null=True, blank=True)
    last_synced_at = models.DateTimeField()
    # By `folding.py`. Null in rows that other programs insert, until the next sync.
    sort_name = models.TextField(null=True, editable=False)
    search_text = models.TextField(null=True, editable=False)

    class Meta:
        db_table = "ultravox_voices"
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name or self.id


class AgencyVoice(models.Model):
    """A voice that is not public, listed for an agency's key, and when the last such sync listed it.

    There are no foreign key constraints, so that syncs, and deletes of agencies and voices, never make each
    other fail.
    """

    pk = models.CompositePrimaryKey("agency_id", "voice_id")
    agency = models.ForeignKey(
        Agency, on_delete=models.CASCADE, db_constraint=False, db_index=False
    )
    voice = models.ForeignKey(Voice, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    last_seen_at = models.DateTimeField()

    class Meta:
        db_table = "agency_voices"
        indexes: ClassVar = [models.Index(fields=["voice"], name="agencies_of_a_voice")]

    def __str__(self) -> str:
        return f"{self.voice_id}, listed for {self.agency_id}"


class SyncRun(models.Model):
    """One sync with one key. An open run is also the lock on its agency's key: see `runs.py`."""

    class Trigger(models.TextChoices):
        USER = "user"
        SERVICE = "service"
        COMMAND = "command"
        SCHEDULE = "schedule"
        ADMIN = "admin"

    class Status(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        ABANDONED = "abandoned"

    trigger = models.TextField(choices=Trigger)
    agency = models.ForeignKey(
        Agency,
        on_delete=models.SET_NULL,
        null=True,
        help_text="The agency whose Ultravox key was used.",
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    status = models.TextField(choices=Status, default=Status.RUNNING)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField(help_text="When its process last reported.")
    finished_at = models.DateTimeField(null=True)
    pages = models.PositiveIntegerField(default=0)
    voices = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Distinct voices received."
    )
    total = models.PositiveIntegerField(
        null=True, help_text="The number of voices that Ultravox reported."
    )
    synced = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    error_code = models.TextField(blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    retries = models.PositiveIntegerField(default=0, db_default=0)
    task_id = models.TextField(null=True, help_text="The id of the Celery task that started it.")
    key_refused = models.BooleanField(
        default=False, help_text="It failed because of this agency's key; another key may work."
    )

    class Meta:
        db_table = "voice_sync_runs"
        ordering = ("-started_at", "-id")
        indexes: ClassVar = [
            models.Index(fields=["-started_at", "-id"], name="newest_runs_first"),
            models.Index(
                fields=["-finished_at"],
                condition=models.Q(status="succeeded"),
                name="newest_successes_first",
            ),
            models.Index(
                fields=["agency", "-finished_at"],
                condition=models.Q(status="succeeded"),
                name="newest_success_of_agency",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["agency"],
                condition=models.Q(status="running"),
                name="one_open_run_per_agency",
            )
        ]

    def __str__(self) -> str:
        return f"{self.trigger} at {self.started_at:%Y-%m-%d %H:%M:%S}: {self.status}"

    @property
    def is_open(self) -> bool:
        return self.status == self.Status.RUNNING

    @property
    def message(self) -> str:
        """The outcome of a run that succeeded, in one sentence."""
        if not self.synced:
            return "No voices found in Ultravox"
        return f"Synced {self.synced} voices from Ultravox"


class Alarm(models.Model):
    """A single row: how many scheduled syncs in a row failed, and whether administrators were notified."""

    failures = models.PositiveIntegerField(default=0)
    is_raised = models.BooleanField(default=False)

    class Meta:
        db_table = "voice_sync_alarm"

    def __str__(self) -> str:
        return f"{self.failures} failures"
