"""Who sees which voice and which run."""

from collections.abc import Mapping
from uuid import UUID

from django.db.models import Case, F, OuterRef, Q, QuerySet, Subquery, When
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


def visible_to(caller: Caller) -> QuerySet[Voice]:
    """Return public voices and those of the caller's agency; for services and staff, all voices."""
    if sees_all(caller, VIEW_VOICES):
        return Voice.objects.all()
    own = AgencyVoice.objects.filter(agency=_agency_id(caller))
    return Voice.objects.filter(Q(ownership=PUBLIC) | Q(pk__in=own.values("voice")))


def listed(caller: Caller) -> Case:
    """Return an expression for whether Ultravox still lists a voice, as far as the caller knows.

    For a public voice, the last successful sync of all decides. For another voice, it is the last
    successful sync with the caller's agency's key or, for services and staff, with any agency's.
    """
    starts = SUCCESSES.values("started_at")
    if sees_all(caller, VIEW_VOICES):
        own = AgencyVoice.objects.all()
        own_starts = starts.filter(agency=OuterRef("agency"))
    else:
        own = AgencyVoice.objects.filter(agency=_agency_id(caller))
        own_starts = starts.filter(agency=_agency_id(caller))
    own = own.filter(last_seen_at__gte=Subquery(own_starts[:1]))
    in_last_sync = Exact(F("last_synced_at"), Subquery(starts[:1]))
    return Case(
        When(ownership=PUBLIC, then=Coalesce(in_last_sync, False)),
        default=Q(pk__in=own.values("voice")),
    )


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
