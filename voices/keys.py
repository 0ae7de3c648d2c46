"""Whether agencies' Ultravox keys work: what the history of syncs knows, and what Ultravox says."""

from django.conf import settings
from django.db.models import OuterRef, Q, QuerySet, Subquery

from agencies.credentials import get_agency_credentials
from agencies.models import Agency
from ultravox import UltravoxClient
from voiceproject.errors import UltravoxError
from voices.models import SyncRun


def with_trial(agencies: QuerySet[Agency]) -> QuerySet[Agency]:
    """Annotate agencies with `tried_at`, when a sync last told whether their key works, and `key_refused`.

    Both are None where none has since the agency was changed, perhaps its key. A sync that failed for another
    reason tells nothing, nor does one to which the key was unreadable.
    """
    refused = Q(key_refused=True, error_code=UltravoxError.code)
    told = SyncRun.objects.filter(
        Q(status=SyncRun.Status.SUCCEEDED) | refused,
        agency=OuterRef("pk"),
        started_at__gt=OuterRef("updated_at"),
    ).order_by("-finished_at")
    return agencies.annotate(
        tried_at=Subquery(told.values("finished_at")[:1]),
        key_refused=Subquery(told.values("key_refused")[:1]),
    )


def try_key(agency: Agency, *, deadline: float) -> None:
    """Ask Ultravox for one voice with the agency's key, by `deadline` on the monotonic clock; write no run.

    Raises NoApiKey, CredentialsUnavailable, KeyRejected, and UltravoxError if Ultravox did not answer with a
    page of voices in time.
    """
    client = UltravoxClient(
        api_url=settings.ULTRAVOX_API_URL,
        api_key=get_agency_credentials(agency),
        timeout=settings.ULTRAVOX_TIMEOUT,
        deadline=deadline,
        page_size=1,
    )
    list(client.pages(most=1))
