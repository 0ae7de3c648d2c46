"""Redirects, which a client follows within Ultravox and nowhere else."""

from collections.abc import Callable
from urllib.parse import urlsplit

from tests.ultravox.exchange import Exchange
from tests.ultravox.faults.scripts import Script, later_pages, table


def _redirect(make: Callable[[Exchange], str]) -> Script:
    return lambda e: e.reply(302, b"", headers={"Location": make(e)})


def _to(url: str) -> Script:
    """Redirect to a URL made of {netloc} and {decoy}."""
    return _redirect(lambda e: url.format(netloc=urlsplit(e.base_url).netloc, decoy=e.decoy.netloc))


def _here(status: int = 302, hops: int = 1, *, relative: bool = False) -> Script:
    """Answer after some redirects to where the request came from."""

    def script(exchange: Exchange) -> None:
        hop = _hops(exchange)
        if hop >= hops:
            exchange.normal()
            return
        base = "" if relative else exchange.base_url
        location = f"{base}{exchange.request.target}&moved={hop + 1}"
        exchange.reply(status, b"", headers={"Location": location})

    return script


def _hops(exchange: Exchange) -> int:
    return sum(name == "moved" for name, _ in exchange.request.parameters)


_DECOY = "http://{decoy}/api/voices"

# fmt: off
FAULTS = [
    *table(
        *(
            (f"redirect_{status}_here", f"answers {status} to a URL of its own", _here(status))
            for status in (301, 302, 303, 307, 308)
        ),
        ("redirect_relative", "answers 302 to only a path", _here(relative=True)),
    ),
    *table(
        ("redirect_302_elsewhere", "answers 302 to another host", _to(_DECOY)),
        ("redirect_https", "answers 302 to HTTPS on its own port", _to("https://{netloc}/")),
        ("redirect_userinfo", "answers 302 to a host behind a name like its own",
         _to("http://{netloc}@{decoy}/api/voices")),
        ("redirect_scheme_relative", "answers 302 to another host, without a scheme",
         _to("//{decoy}/api/voices")),
        ("redirect_backslash", "answers 302 to a URL with a backslash",
         _to("http://{netloc}\\@{decoy}/api/voices")),
        ("redirect_file", "answers 302 to a file", _to("file:///etc/hostname")),
        ("redirect_broken", "answers 302 to half an address", _to("http://[::1")),
        ("redirect_bad_port", "answers 302 to no port", _to("http://127.0.0.1:99999999/")),
        ("redirect_nowhere", "answers 302 without a Location", lambda e: e.reply(302, b"")),
        expect="ultravox_error", requests=1,
    ),
    *table(
        ("redirect_here_then_elsewhere", "answers 302 to a URL of its own, and there 302 to another host",
         lambda e: (_to(_DECOY) if _hops(e) else _here())(e)),
        ("redirect_later_page", "answers 302 to another host for the second page", later_pages(_to(_DECOY))),
        expect="ultravox_error", requests=2,
    ),
    *table(
        ("redirect_loop", "answers 302 to the URL that was asked for",
         _redirect(lambda e: e.base_url + e.request.target)),
        ("redirect_endless", "answers 302 to ever new URLs of its own", _here(hops=1_000_000)),
        expect="ultravox_error", requests=6,
    ),
]
