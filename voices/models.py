"""The mirror of Ultravox's voices, and the history of its syncs."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models

from agencies.models import Agency

PUBLIC = "public"  # the ownership of voices that everybody may see
# Of a run: Ultravox's answers to its requests, by their status, and requests without one.
ANSWERS = {
    "2xx": "answers_2xx",
    "3xx": "answers_3xx",
    "4xx": "answers_4xx",
    "429": "answers_429",
    "5xx": "answers_5xx",
    "none": "unanswered",
}
PROGRESS = ("pages", "voices", "total", "retries", *ANSWERS.values())


class JSONText(str):
    """JSON that is written already."""


class DefinitionField(models.JSONField):
    """A JSONField that takes JSONText as it is: a sync neither parses nor writes it once more."""

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        if isinstance(value, JSONText):
            return str(value)
        return super().get_db_prep_save(value, connection)


class FoldedField(models.TextField):
    """Text that is ordered by code point, as SQLite does, whatever the database's locale."""

    def db_parameters(self, connection: Any) -> Any:
        collation = "C" if connection.vendor == "postgresql" else None
        return super().db_parameters(connection) | {"collation": collation}


class Voice(models.Model):
    """A voice, as Ultravox lists it; `voices/records.py` says how its fields become columns."""

    id = models.TextField(primary_key=True)
    name = models.TextField()
    description = models.TextField(null=True, blank=True)
    language_label = models.TextField("language", null=True, blank=True)
    primary_language = models.TextField("language code", null=True, blank=True)
    ownership = models.TextField(null=True, blank=True)
    billing_style = models.TextField("billing", null=True, blank=True)
    provider = models.TextField(null=True, blank=True)
    preview_url = models.TextField("preview URL", null=True, blank=True)
    definition = DefinitionField(null=True, blank=True)
    last_synced_at = models.DateTimeField()
    # By voices/folding.py; null in rows that others insert, until somebody reads them.
    sort_name = FoldedField(null=True, editable=False)
    search_text = FoldedField(null=True, editable=False)

    class Meta:
        db_table = "ultravox_voices"
        ordering = ("name", "id")
        indexes: ClassVar = [
            models.Index(fields=["sort_name"], name="voices_by_name"),
            models.Index(
                fields=["id"],
                condition=models.Q(search_text=None),
                name="voices_without_search_text",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.id


class AgencyVoice(models.Model):
    """That an agency's key saw a voice which is not public, and when its last sync did.

    Without constraints: neither a sync nor whoever deletes an agency or a voice fails because of the other.
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
        return f"{self.voice_id}, seen by {self.agency_id}"


class SyncRun(models.Model):
    """One sync. An open run is also the lock on its agency's key: see `voices/runs.py`."""

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
        Agency, on_delete=models.SET_NULL, null=True, help_text="Whose Ultravox key was used."
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    status = models.TextField(choices=Status, default=Status.RUNNING)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField(help_text="When its process last showed that it lives.")
    finished_at = models.DateTimeField(null=True)
    pages = models.PositiveIntegerField(default=0)
    voices = models.PositiveIntegerField(default=0, db_default=0, help_text="So far.")
    total = models.PositiveIntegerField(null=True, help_text="As Ultravox gave it.")
    synced = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    error_code = models.TextField(blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    retries = models.PositiveIntegerField(default=0, db_default=0)
    answers_2xx = models.PositiveIntegerField(default=0, db_default=0)
    answers_3xx = models.PositiveIntegerField(default=0, db_default=0)
    answers_4xx = models.PositiveIntegerField(default=0, db_default=0, help_text="Other than 429.")
    answers_429 = models.PositiveIntegerField(default=0, db_default=0)
    answers_5xx = models.PositiveIntegerField(default=0, db_default=0)
    unanswered = models.PositiveIntegerField(default=0, db_default=0)
    task_id = models.TextField(null=True, help_text="Celery's, of the task that started it.")
    key_refused = models.BooleanField(
        default=False, help_text="It failed for this agency's key; another's may work."
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

    def while_open(self) -> models.QuerySet["SyncRun"]:
        """Return this row while it is open: a run that was given up for dead can change nothing."""
        return SyncRun.objects.filter(pk=self.pk, status=self.Status.RUNNING)

    @property
    def message(self) -> str:
        """Say in one sentence what a succeeded run did."""
        if not self.synced:
            return "No voices found in Ultravox"
        return f"Synced {self.synced} voices from Ultravox"


class Alarm(models.Model):
    """One row: how often scheduled syncs have failed in a row, and whether administrators know."""

    failures = models.PositiveIntegerField(default=0)
    is_raised = models.BooleanField(default=False)

    class Meta:
        db_table = "voice_sync_alarm"

    def __str__(self) -> str:
        return f"{self.failures} failures"
