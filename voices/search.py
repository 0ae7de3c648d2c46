"""Search, filters, facets and order of the voices that a caller sees.

A list takes two queries over the voices: one GROUP BY over all facets' columns, from whose groups Python
counts, and one for the page. Filters are decided on the groups' values, so both databases agree on them.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, F, Func, OrderBy, Q, QuerySet
from django.db.models.functions import Coalesce, Lower

from voices.folding import search_columns, searchable
from voices.labels import label
from voices.models import Voice
from voices.visibility import Caller, listed, visible_to

LANGUAGE = "primary_language"
FACETS = (LANGUAGE, "provider", "ownership", "billing_style", "listed")
SEARCHED = ("name", "description", "language_label", LANGUAGE, "provider")
ORDERINGS = ("name", LANGUAGE, "provider", "last_synced_at")
NONE = "-"  # a filter's value for voices without one

Value = str | bool | None
Group = dict[str, Any]  # the facets' values, `language_label`, and the `count` of voices with these


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

    `filters` are the accepted values of facets; a language includes its regions. No `ids` mean any id.
    A facet counts the voices that match the search, the ids and all filters but its own.
    """
    voices = search(visible_to(caller), text).annotate(listed=listed(caller))
    if ids:
        voices = voices.filter(pk__in=ids)
    columns = voices.order_by().values(*FACETS, "language_label")
    groups = list(columns.annotate(count=Count("*")))
    matching = {
        name: {group[name] for group in groups if _matches(name, group[name], accepted)}
        for name, accepted in filters.items()
    }
    for name, values in matching.items():
        is_none = Q(**{f"{name}__isnull": True}) if None in values else Q()
        voices = voices.filter(is_none | Q(**{f"{name}__in": values - {None}}))
    count, facets = _count(groups, matching)
    return Listing(order(voices, ordering), count, facets)


def _matches(name: str, value: Value, accepted: Collection[str | bool]) -> bool:
    if value is None:
        return NONE in accepted
    if name != LANGUAGE:
        return value in accepted
    return any(f"{value}-".lower().startswith(f"{tag}-".lower()) for tag in accepted)


def _count(
    groups: list[Group], matching: Mapping[str, set[Value]]
) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Return the number of voices that match all filters, and each facet's values."""
    count = 0
    counts: dict[str, Counter[Value]] = {name: Counter() for name in FACETS}
    labels: dict[Value, str] = {}
    for group in sorted(groups, key=lambda group: (group["count"], group["language_label"] or "")):
        failed = {name for name, values in matching.items() if group[name] not in values}
        if not failed:
            count += group["count"]
        for name in FACETS:
            if failed <= {name}:
                counts[name][group[name]] += group["count"]
        if group["language_label"]:
            labels[group[LANGUAGE]] = group["language_label"]  # the most frequent one is the last
    facets = {name: _facet(name, counts[name]) for name in FACETS}
    for item in facets[LANGUAGE]:
        if item["value"] is not None:
            item["label"] = labels.get(item["value"], item["label"])
    return count, facets


def _facet(name: str, counts: Counter[Value]) -> list[dict[str, Any]]:
    """Return a facet's values, the most frequent first, with their labels and counts."""
    values = sorted(counts, key=lambda value: (-counts[value], value is None, str(value)))
    return [
        {"value": value, "label": label(name, value), "count": counts[value]} for value in values
    ]


def search(voices: QuerySet[Voice], text: str) -> QuerySet[Voice]:
    """Return the voices that have a word for each word of the text, or the text as their id.

    A search word is the beginning of a word in one of the voice's texts, or is the voice's id.
    """
    words = text.split()
    if not words:
        return voices
    inserted = _inserted_search_texts(voices)
    matches = Q()
    for word in words:
        beginning = searchable(word)
        ids = [pk for pk, search_text in inserted.items() if beginning in search_text]
        matches &= Q(search_text__contains=beginning) | Q(pk__in=ids) | Q(pk__iexact=word)
    return voices.filter(matches | Q(pk__iexact=text))


def _inserted_search_texts(voices: QuerySet[Voice]) -> dict[str, str]:
    """Return the search texts of rows that other programs inserted without one."""
    rows = voices.filter(search_text=None).values("pk", *SEARCHED)
    return {row.pop("pk"): search_columns(**row)["search_text"] for row in rows}


def order(voices: QuerySet[Voice], ordering: str) -> QuerySet[Voice]:
    """Return the voices by one of ORDERINGS, in reverse with `-` in front."""
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
    """Text that is ordered by code point on both databases, whatever the locale."""

    template = "%(expressions)s"

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = '(%(expressions)s) COLLATE "C"'
        return super().as_sql(compiler, connection, template=template, **context)
