"""Who sees which voice and run, and what they look for: querysets and plain values, no HTTP.

A list takes one GROUP BY over all facets' columns of the voices that a search finds, from whose groups
Python counts, and one query for the page. Filters are decided on the groups' values, so both queries, and
both databases, agree on what a filter means. On PostgreSQL the groups, which take longest, are remembered
until anybody commits anything.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import (
    BooleanField,
    Case,
    Count,
    F,
    Func,
    OrderBy,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, StrIndex, Substr
from django.db.models.lookups import Exact

from agencies.authentication import Service
from agencies.models import User
from agencies.permissions import sees_all
from voices import runs
from voices.folding import SORTED, fold
from voices.models import PUBLIC, AgencyVoice, SyncRun, Voice

Caller = User | Service
Scope = Any  # whose rows a caller sees: ALL, or those of an agency, by its id; None of nobody's
ALL = "all"

FACETS = ("primary_language", "provider", "ownership", "billing_style", "listed")
PLACES = range(len(FACETS))
LANGUAGE = FACETS.index("primary_language")
ORDERINGS = ("name", *SORTED, "last_synced_at")
NONE = "-"  # what a filter calls the lack of a value
VIEW_VOICES, VIEW_RUNS = "voices.view_voice", "voices.view_syncrun"

SUCCESSES = SyncRun.objects.filter(status=SyncRun.Status.SUCCEEDED).order_by("-finished_at", "-pk")

# Voices that are the same to all facets: their values, their language's label, and how many they are.
Group = tuple[Any, ...]


@dataclass(frozen=True)
class Facet:
    """How many voices have a value; `label` is Ultravox's for a language, else None."""

    value: str | bool | None
    count: int
    label: str | None


@dataclass(frozen=True)
class Found:
    """The voices found, with `listed`, in order, how many they are, and each facet's values, most first."""

    voices: QuerySet[Voice]
    count: int
    facets: dict[str, list[Facet]]
    last_sync: dict[str, Any] | None


@dataclass(frozen=True)
class Overview:
    """All voices that a search finds, in groups, and the newest successful sync."""

    groups: list[Group]
    last_sync: dict[str, Any] | None


# Who sees what


def visible_to(caller: Caller) -> QuerySet[Voice]:
    """Return the voices that exist for a caller: public ones, and those that their agency's key saw."""
    return _visible(_scope(caller, VIEW_VOICES))


def _visible(scope: Scope) -> QuerySet[Voice]:
    if scope is ALL:
        return Voice.objects.all()
    seen = AgencyVoice.objects.filter(agency=scope)
    return Voice.objects.filter(Q(ownership=PUBLIC) | Q(pk__in=seen.values("voice")))


def _scope(caller: Caller, permission: str) -> Scope:
    if sees_all(caller, permission):
        return ALL
    return caller.agency_id  # type: ignore[union-attr]  # a service sees all


def runs_visible_to(caller: Caller) -> QuerySet[SyncRun]:
    """Return the runs with a caller's agency's key, newest first, with `dead`: see `voices/runs.py`."""
    found = SyncRun.objects.select_related("user").annotate(dead=runs.is_dead())
    scope = _scope(caller, VIEW_RUNS)
    return found if scope is ALL else found.filter(agency=scope, agency__isnull=False)


def starter_of(run: SyncRun, caller: Caller) -> str | None:
    """Return the e-mail address of the user who started a run, for colleagues, services and staff."""
    user, scope = run.user, _scope(caller, VIEW_RUNS)
    return user.email if user and (scope is ALL or scope == user.agency_id) else None


def listed(caller: Caller) -> Case:
    """Return an expression: whether the last successful sync that would have seen a voice did.

    Of a public voice that is any sync; of another one with the caller's agency's key, or, for services
    and staff, with that of any agency that sees it.
    """
    return _listed(_scope(caller, VIEW_VOICES))


def _listed(scope: Scope) -> Case:
    starts = SUCCESSES.values("started_at")
    by_all = scope is ALL
    seen = AgencyVoice.objects.all() if by_all else AgencyVoice.objects.filter(agency=scope)
    own_starts = starts.filter(agency=OuterRef("agency") if by_all else scope)
    seen = seen.filter(last_seen_at__gte=Subquery(own_starts[:1]))
    is_of_it = Exact(F("last_synced_at"), Subquery(starts[:1]))
    return Case(
        When(ownership=PUBLIC, then=Coalesce(is_of_it, False)),
        default=Q(pk__in=seen.values("voice")),
    )


# What they look for


def find(
    caller: Caller, *, text: str, filters: Mapping[str, Collection[Any]], ordering: str
) -> Found:
    """Return the voices that a caller sees, and looks for.

    `filters` are the values wanted of a facet, any of which will do; NONE is for voices that have none, and
    a language for its regions, too. A facet counts what the search and all other filters let through.
    """
    scope = _scope(caller, VIEW_VOICES)
    state = _committed_state()
    overview = (_overview if state else _overview.__wrapped__)(state, scope, text)
    voices = _search(scope, text)
    wanted = {}
    for name, values in filters.items():
        place = FACETS.index(name)
        wanted[place] = {
            group[place] for group in overview.groups if _is_wanted(place, group, values)
        }
        is_none = Q(**{f"{name}__isnull": True}) if None in wanted[place] else Q()
        voices = voices.filter(is_none | Q(**{f"{name}__in": wanted[place] - {None}}))
    count, facets = _count(overview.groups, wanted)
    return Found(order(voices, ordering), count, facets, overview.last_sync)


def _committed_state() -> str | None:
    """Return a name for all that is committed on PostgreSQL, which is another once anybody commits anything.

    None in a transaction, which sees more than that, and on SQLite. Source: PostgreSQL's manual, "Transaction
    ID and Snapshot Information Functions": equal snapshots see the same transactions.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT concat(pg_postmaster_start_time(), ' ', pg_current_snapshot())")
        return str(cursor.fetchone()[0])


@lru_cache(maxsize=16)
def _overview(state: str | None, scope: Scope, text: str) -> Overview:
    """Return what does not depend on filters and pages: it is remembered while the database is the same."""
    columns = _search(scope, text).order_by().values_list(*FACETS, "language_label")
    groups = list(columns.annotate(count=Count("*")))
    last_sync: Any = SUCCESSES.values("finished_at", "synced").first()
    return Overview(groups, last_sync)


def _search(scope: Scope, text: str) -> QuerySet[Voice]:
    return search(_visible(scope), text).annotate(listed=_listed(scope))


def _is_wanted(place: int, group: Group, values: Collection[Any]) -> bool:
    value = group[place]
    if value is None or place != LANGUAGE:
        return (NONE if value is None else value) in values
    tag = value.lower()
    return any(tag == other or tag.startswith(f"{other}-") for other in map(str.lower, values))


def _count(groups: list[Group], wanted: dict[int, set[Any]]) -> tuple[int, dict[str, list[Facet]]]:
    """Return how many voices all filters let through, and each facet's values: without its own filter."""
    total = 0
    counts: list[dict[Any, int]] = [defaultdict(int) for _ in FACETS]
    for group in groups:
        count = group[-1]
        failed = [place for place, values in wanted.items() if group[place] not in values]
        if not failed:
            total += count
        if len(failed) <= 1:
            for place in failed or PLACES:
                counts[place][group[place]] += count
    labelled = sorted(
        (group[-1], group[-2], group[LANGUAGE]) for group in groups if group[-2] and group[LANGUAGE]
    )
    labels = {language: label for _, label, language in labelled}  # the last, of the most voices
    facets = {
        name: [
            Facet(value, count, labels.get(value) if place == LANGUAGE else None)
            for value, count in sorted(counts[place].items(), key=_most_first)
        ]
        for place, name in enumerate(FACETS)
    }
    return total, facets


def _most_first(item: tuple[Any, int]) -> tuple[int, bool, Any]:
    value, count = item
    return -count, value is None, "" if value is None else value


class Like(Func):
    """SQL's LIKE, with wildcards of our own."""

    template = r"%(expressions)s ESCAPE '\'"
    arg_joiner = " LIKE "
    output_field = BooleanField()


def search(voices: QuerySet[Voice], text: str) -> QuerySet[Voice]:
    """Return those of the voices in whose texts each word occurs, or whose id it is."""
    words = Q()
    for word in dict.fromkeys(fold(text).split()):
        literal = word.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
        words &= Q(_like(f"%{literal}%\n%")) | Q(_like(f"%\n{literal}"))  # the last line is the id
    return voices.filter(words | Q(pk=text)) if words else voices


def _like(pattern: str) -> Like:
    return Like(F("search_text"), Value(pattern))


def order(voices: QuerySet[Voice], ordering: str) -> QuerySet[Voice]:
    """Return the voices by one of ORDERINGS, the other way round with `-` in front."""
    name = ordering.removeprefix("-")
    keys: list[Any] = [F(name)]
    if name == "name":
        keys = [F("sort_name"), _line(0)]  # the first is indexed, and may be cut off
    elif name in SORTED:
        keys = [Case(When(**{f"{name}__isnull": False}, then=_line(SORTED.index(name) + 1)))]
    descending = ordering.startswith("-")
    return voices.order_by(
        *(OrderBy(key, descending=descending, nulls_last=True) for key in keys), _ByCodePoint("pk")
    )


class _ByCodePoint(Func):
    """A text that is ordered by code point, as SQLite does, whatever PostgreSQL's locale."""

    template = "%(expressions)s"

    def as_postgresql(self, *args: Any, **options: Any) -> Any:
        return super().as_sql(*args, **options | {"template": '(%(expressions)s) COLLATE "C"'})


def _line(number: int) -> Substr:
    """Return a line of the search text, from 0."""
    rest: Any = F("search_text")
    for _ in range(number):
        rest = Substr(rest, StrIndex(rest, Value("\n")) + 1)
    return Substr(rest, 1, StrIndex(rest, Value("\n")) - 1)
