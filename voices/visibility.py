"""The voices and runs that a caller may see."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.models import Case, F, Q, QuerySet, Subquery, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact

from agencies.authentication import Service
from agencies.models import User
from agencies.permissions import sees_all
from voices import runs
from voices.models import PUBLIC, AgencyVoice, SyncRun, Voice

Caller = User | Service

VIEW_VOICES, VIEW_RUNS = "voices.view_voice", "voices.view_syncrun"  # permissions of staff
SUCCESSES = SyncRun.objects.filter(status=SyncRun.Status.SUCCEEDED).order_by("-finished_at", "-pk")
# The voices that the last successful sync with any agency's key saw. In plain SQL, because Django takes
# longer to compile this expression than a database to run it at 1,000 voices. DISTINCT makes PostgreSQL
# look up each agency's last sync once.
SEEN_BY_ANY = RawSQL(
    """
    SELECT voice_id FROM agency_voices JOIN (
        SELECT DISTINCT id AS agency_id, (
            SELECT started_at FROM voice_sync_runs
            WHERE status = 'succeeded' AND agency_id = agencies.id
            ORDER BY finished_at DESC, id DESC LIMIT 1
        ) AS last_start FROM agencies
    ) AS last_syncs USING (agency_id) WHERE last_seen_at >= last_start
    """,
    (),
)


def visible_to(caller: Caller) -> QuerySet[Voice]:
    """Return public voices and voices listed for the caller's agency; for services and staff, all voices."""
    if sees_all(caller, VIEW_VOICES):
        return Voice.objects.all()
    own = AgencyVoice.objects.filter(agency=_agency_id(caller))
    return Voice.objects.filter(Q(ownership=PUBLIC) | Q(pk__in=own.values("voice")))


def listed(caller: Caller) -> Case:
    """Return an expression for whether Ultravox still lists a voice, as far as the caller knows.

    For a public voice, the last successful sync with any key decides. For other voices, it is the last
    successful sync with the key of the caller's agency or, for services and staff, of each agency.
    """
    seen: RawSQL | QuerySet[AgencyVoice, Any] = SEEN_BY_ANY
    if not sees_all(caller, VIEW_VOICES):
        agency_id = _agency_id(caller)
        start = SUCCESSES.filter(agency=agency_id).values("started_at")[:1]
        own = AgencyVoice.objects.filter(agency=agency_id, last_seen_at__gte=Subquery(start))
        seen = own.values("voice")
    # A subquery, because a sync may end between two queries.
    in_last_sync = Exact(F("last_synced_at"), Subquery(SUCCESSES.values("started_at")[:1]))
    return Case(When(ownership=PUBLIC, then=Coalesce(in_last_sync, False)), default=Q(pk__in=seen))


def runs_visible_to(caller: Caller) -> QuerySet[SyncRun]:
    """Return the runs with the caller's agency's key, newest first, annotated with `dead`."""
    visible = SyncRun.objects.select_related("user").annotate(dead=runs.is_dead())
    if sees_all(caller, VIEW_RUNS):
        return visible
    return visible.filter(agency=_agency_id(caller), agency__isnull=False)


def last_sync() -> Mapping[str, object] | None:
    """Return `finished_at` and `synced` of the newest successful run."""
    return SUCCESSES.values("finished_at", "synced").first()


def starter_of(run: SyncRun, caller: Caller) -> str | None:
    """Return the email of the user who started a run, for colleagues, services and staff."""
    if run.user is None:
        return None
    is_visible = sees_all(caller, VIEW_RUNS) or run.user.agency_id == _agency_id(caller)
    return run.user.email if is_visible else None


def _agency_id(caller: Caller) -> UUID | None:
    return caller.agency_id if isinstance(caller, User) else None
