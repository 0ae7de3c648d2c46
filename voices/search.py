"""Search, filters, facets and order of the voices that a caller sees.

A list takes two queries over the voices: one GROUP BY over all facets' columns, from whose groups Python
counts, and one for the page. A search takes one more, for ids and for voices that have no search text.
Filters are decided on the groups' values, so both databases agree on them.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Func, OrderBy, Q, QuerySet
from django.db.models.functions import Coalesce, Lower

from voices.folding import SEARCHED_COLUMNS, search_columns, searchable
from voices.labels import label
from voices.models import Voice
from voices.visibility import Caller, listed, visible_to

LANGUAGE = "primary_language"
FACETS = (LANGUAGE, "provider", "ownership", "billing_style", "listed")
ORDERINGS = ("name", LANGUAGE, "provider", "last_synced_at")
NONE = "-"  # a filter's value for voices without one

Value = str | bool | None
Group = tuple[Any, ...]  # the facets' values, their `language_label`, and the number of voices


@dataclass(frozen=True)
class Listing:
    """The voices of a list, in order and with `listed`, their number, and each facet's values."""

    voices: QuerySet[Voice]
    count: int
    facets: dict[str, list[dict[str, Any]]]


def find(
    caller: Caller,
    *,
    text: str,
    ids: Collection[str],
    filters: Mapping[str, Collection[str | bool]],
    ordering: str,
) -> Listing:
    """Return the voices that a caller sees and that match a search and all filters.

    `filters` are the accepted values of facets; a language includes its regions. Empty `ids` match every
    voice. A facet counts the voices that match the search, the ids and all filters but its own.
    """
    voices = search(visible_to(caller), text).annotate(listed=listed(caller))
    if ids:
        voices = voices.filter(pk__in=ids)
    columns = voices.order_by().values_list(*FACETS, "language_label")
    groups = list(columns.annotate(count=Count("*")))
    matching = {}
    for name, accepted in filters.items():
        place = FACETS.index(name)
        values = {group[place] for group in groups if _matches(name, group[place], accepted)}
        is_none = Q(**{f"{name}__isnull": True}) if None in values else Q()
        voices = voices.filter(is_none | Q(**{f"{name}__in": values - {None}}))
        matching[place] = values
    count, facets = _count(groups, matching)
    return Listing(order(voices, ordering), count, facets)


def _matches(name: str, value: Value, accepted: Collection[str | bool]) -> bool:
    if value is None:
        return NONE in accepted
    if name != LANGUAGE:
        return value in accepted
    return any(f"{value}-".lower().startswith(f"{tag}-".lower()) for tag in accepted)


def _count(
    groups: list[Group], matching: Mapping[int, set[Value]]
) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Return the number of voices that match all filters, and each facet's values."""
    total = 0
    counts: list[dict[Value, int]] = [defaultdict(int) for _ in FACETS]
    labels: dict[str, dict[Value, str]] = {name: {} for name in FACETS}
    for group in sorted(groups, key=lambda group: (group[-1], group[-2] or "")):
        *values, language_label, count = group
        failed = [place for place, accepted in matching.items() if group[place] not in accepted]
        if not failed:
            total += count
        for place, value in enumerate(values):
            if not failed or failed == [place]:
                counts[place][value] += count
        if language_label and values[0] is not None:
            labels[LANGUAGE][values[0]] = language_label  # the most frequent one comes last
    facets = {
        name: [
            {
                "value": value,
                "label": labels[name].get(value) or label(name, value),
                "count": count,
            }
            for value, count in sorted(counts[place].items(), key=_frequency)
        ]
        for place, name in enumerate(FACETS)
    }
    return total, facets


def _frequency(item: tuple[Value, int]) -> tuple[int, bool, str]:
    """Return a sort key: the most frequent value first, then by value, null last."""
    value, count = item
    return -count, value is None, str(value)


def search(voices: QuerySet[Voice], text: str) -> QuerySet[Voice]:
    """Return the voices that have a word for each word of the text, or the text as their id.

    A search word is the beginning of a word in one of the voice's texts, or is the voice's id.
    """
    words = text.split()
    if not words:
        return voices
    matches = Q()
    for word in words:
        matches &= Q(search_text__contains=searchable(word))
    return voices.filter(matches | Q(pk__in=_exceptions(voices, text)))


def _exceptions(voices: QuerySet[Voice], text: str) -> list[str]:
    """Return the ids of matching voices whose id is in the text, or that have no search text.

    Other programs insert rows without one; there are few, so Python compares them.
    """
    words, ids = text.split(), {word.lower() for word in (*text.split(), text.strip())}
    candidates = voices.annotate(lower_id=LowerCase("pk")).filter(
        Q(lower_id__in=ids) | Q(search_text=None)
    )
    matching = []
    for row in candidates.order_by().values("pk", *SEARCHED_COLUMNS):
        pk, search_text = row["pk"], search_columns(row)["search_text"]
        is_match = all(
            searchable(word) in search_text or word.lower() == pk.lower() for word in words
        )
        if is_match or pk.lower() == text.strip().lower():
            matching.append(pk)
    return matching


def order(voices: QuerySet[Voice], ordering: str) -> QuerySet[Voice]:
    """Return the voices in one of ORDERINGS, reversed by a leading `-`."""
    name = ordering.removeprefix("-")
    key: F | Func
    if name == "name":
        key = ByCodePoint(Coalesce("sort_name", LowerCase("name")))
    elif name == "last_synced_at":
        key = F(name)
    else:
        key = ByCodePoint(LowerCase(name))
    descending = ordering.startswith("-")
    return voices.order_by(
        OrderBy(key, descending=descending, nulls_last=True), ByCodePoint(F("pk"))
    )


class LowerCase(Lower):
    """Text in lower case in any alphabet; SQLite's own LOWER knows only ASCII."""

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        connection.ensure_connection()
        connection.connection.create_function("lower_unicode", 1, _lower, deterministic=True)
        return super().as_sql(compiler, connection, function="lower_unicode", **context)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


class ByCodePoint(Func):
    """Text that is ordered by code point on both databases, regardless of the locale."""

    template = "%(expressions)s"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> object:
        template = '(%(expressions)s) COLLATE "C"'
        return super().as_sql(compiler, connection, template=template, **context)
