"""Faults with an effect that a user of the project can see."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.api import Response, as_json, dump

Change = Callable[[Response, int], Response]


@dataclass(frozen=True)
class Fault:
    """One way to misbehave.

    `change` receives the good response, and the number of responses so far. `delay` is in seconds.
    """

    does: str
    change: Change = lambda good, before: good
    to: Literal["pages", "previews", "all"] = "pages"
    delay: float = 0


def _always(status: int, detail: Any, **headers: str) -> Change:
    return lambda good, before: as_json(status, detail, **headers)


def _once(status: int, **headers: str) -> Change:
    failure = as_json(status, {"detail": "Try again."}, **headers)
    return lambda good, before: good if before else failure


def _paged(change: Callable[[dict[str, Any]], object]) -> Change:
    """Change the content of each page in place."""

    def change_body(good: Response, before: int) -> Response:
        if good.status != 200:
            return good
        page = json.loads(good.body)
        change(page)
        return Response(200, dump(page), good.headers)

    return change_body


def _break(good: Response, before: int) -> Response:
    return Response(good.status, good.body[: len(good.body) // 2], good.headers)


def _link_away(page: dict[str, Any]) -> None:
    page["next"] = "http://elsewhere.invalid/api/voices?cursor=x"


def _add_bad_records(page: dict[str, Any]) -> None:
    page["results"] += [None, {"name": "a voice without an id"}]


_QUOTA = {"error": "quota_exceeded", "detail": "The provider's quota of characters is used up."}
_PAGE = Response(200, b"<h1>Just a moment...</h1>", {"Content-Type": "text/html"})

FAULTS = {
    "key_revoked": Fault(
        "401 to every request", _always(401, {"detail": "Invalid API key."}), "all"
    ),
    "rate_limited_once": Fault(
        "429 to the first page, retry after two seconds", _once(429, **{"Retry-After": "2"})
    ),
    "rate_limited": Fault(
        "429 to every page, retry after an hour", _always(429, {}, **{"Retry-After": "3600"})
    ),
    "error_once": Fault("500 to the first page", _once(500)),
    "error": Fault("500 to every page", _always(500, {"detail": "Server error."})),
    "slow": Fault("each page takes two seconds", delay=2),
    "hang": Fault("pages never arrive", delay=86_400),
    "html": Fault("HTML instead of pages", lambda good, before: _PAGE),
    "broken_json": Fault("half of every page", _break),
    "next_elsewhere": Fault("pages link to another host", _paged(_link_away)),
    "bad_records": Fault("two unusable records on every page", _paged(_add_bad_records)),
    "preview_refused": Fault("400 to previews: quota used up", _always(400, _QUOTA), "previews"),
    "preview_not_audio": Fault("HTML instead of previews", lambda good, before: _PAGE, "previews"),
    "preview_slow": Fault("previews take three seconds", to="previews", delay=3),
    "preview_hang": Fault("previews never arrive", to="previews", delay=86_400),
}
