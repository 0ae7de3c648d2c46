"""A handful of faults, as data: those that look different to whoever uses the project."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.api import Answer, as_json, dump


@dataclass(frozen=True)
class Fault:
    """What happens to answers of a kind: `change` gets the good one, and how many came before it.

    `delay` is in seconds, before the answer.
    """

    does: str
    change: Callable[[Answer, int], Answer] = lambda good, before: good
    to: Literal["pages", "previews", "all"] = "pages"
    delay: float = 0


def _always(status: int, detail: Any, **headers: str) -> Callable[[Answer, int], Answer]:
    return lambda good, before: as_json(status, detail, **headers)


def _once(status: int, **headers: str) -> Callable[[Answer, int], Answer]:
    failure = as_json(status, {"detail": "Try again."}, **headers)
    return lambda good, before: good if before else failure


def _paged(change: Callable[[dict[str, Any]], object]) -> Callable[[Answer, int], Answer]:
    """Make a change of each page's content."""

    def change_body(good: Answer, before: int) -> Answer:
        if good.status != 200:
            return good
        page = json.loads(good.body)
        change(page)
        return Answer(200, dump(page), good.headers)

    return change_body


def _break(good: Answer, before: int) -> Answer:
    return Answer(good.status, good.body[: len(good.body) // 2], good.headers)


def _lead_away(page: dict[str, Any]) -> None:
    page["next"] = "http://elsewhere.invalid/api/voices?cursor=x"


def _add_bad_records(page: dict[str, Any]) -> None:
    page["results"] += [None, {"name": "a voice without an id"}]


_QUOTA = {"error": "quota_exceeded", "detail": "The provider's quota of characters is used up."}
_PAGE = Answer(200, b"<h1>Just a moment...</h1>", {"Content-Type": "text/html"})

FAULTS = {
    "key_revoked": Fault("401 to all", _always(401, {"detail": "Invalid API key."}), "all"),
    "rate_limited_once": Fault(
        "429, try again in two seconds, once", _once(429, **{"Retry-After": "2"})
    ),
    "rate_limited": Fault(
        "429, try again in an hour, always", _always(429, {}, **{"Retry-After": "3600"})
    ),
    "error_once": Fault("500 to the first page asked for", _once(500)),
    "error": Fault("500 to every page", _always(500, {"detail": "Server error."})),
    "slow": Fault("each page takes two seconds", delay=2),
    "hang": Fault("pages never come", delay=86_400),
    "html": Fault("HTML in place of every page", lambda good, before: _PAGE),
    "broken_json": Fault("half of each page", _break),
    "next_elsewhere": Fault("pages lead to another host", _paged(_lead_away)),
    "bad_records": Fault("two records a page cannot be stored", _paged(_add_bad_records)),
    "preview_refused": Fault(
        "400 to previews, for the provider's quota", _always(400, _QUOTA), "previews"
    ),
    "preview_not_audio": Fault("HTML in place of previews", lambda good, before: _PAGE, "previews"),
    "preview_slow": Fault("previews take three seconds", to="previews", delay=3),
    "preview_hang": Fault("previews never come", to="previews", delay=86_400),
}
