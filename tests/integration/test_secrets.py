"""No secret leaves the project but by the way that it is meant for.

Marker values stand for secrets everywhere. A real server, the commands and a worker are driven through
success and failure, and then everything that came out is searched for them.
"""

import base64
import dataclasses
import html
import json
import re
import secrets
import socket
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urljoin, urlsplit

import jwt
import pytest
import requests
from cryptography.fernet import Fernet
from django.apps import apps

from sandbox.catalogue import make_voices
from sandbox.exchange import Exchange
from tests.support.project import Project, wait_for
from tests.ultravox import Ultravox

SYNC, TOKEN, REFRESH = "/functions/v1/voices-sync", "/api/token/", "/api/token/refresh/"
VOICE = "00000000-0000-4000-8000-000000000000"
CORE = 24  # characters of a marker that are looked for, each half of them on its own
# What only operators see who ask for it, and may hold: definitions, as Ultravox sent them.
DEFINITIONS = ("definition url", "definition header", "definition body", "definition nested")


class Markers:
    """Secrets by name. In each, quotes, spaces and signs surround letters that no quoting changes."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.cores: dict[str, str] = {}

    def make(self, name: str, form: str = "{}") -> str:
        """Return a new secret; its letters replace the braces of the form."""
        core = "Mk" + secrets.token_hex(CORE // 2 - 1)
        return self.add(name, form.format(core), core)

    def add(self, name: str, value: str, core: str | None = None) -> str:
        self.values[name], self.cores[name] = value, core or value[-CORE - 3 : -3]
        return value

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def needles(self) -> Iterator[tuple[str, bytes]]:
        """Yield names and what is looked for: half a core, as it is, in base64 and in hex."""
        for name, core in self.cores.items():
            assert len(core) == CORE, name
            for half in (core[: CORE // 2].encode(), core[CORE // 2 :].encode()):
                yield name, half
                yield name, half.hex().encode()
                for shift in range(3):
                    # Of the text around it only the place in a group of three bytes matters.
                    coded = base64.urlsafe_b64encode(b"\0" * shift + half)
                    first, last = -(-shift * 4 // 3), (shift + len(half)) * 4 // 3
                    yield name, coded[first:last]

    def found_in(self, output: bytes) -> set[str]:
        return {name for name, needle in self.needles() if needle in output}


COMMANDS = """
import sys, traceback
from django.core.management import execute_from_command_line
for line in sys.argv[1:]:
    code = 0
    try:
        execute_from_command_line(["manage.py", *line.split()])
    except SystemExit as error:
        code = error.code
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    print("\\nEXIT", code, flush=True)
"""
FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "repr": repr,
    "JSON": json.dumps,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "URL": quote,
    "form": quote_plus,
    "HTML": html.escape,
    "UTF-16 escapes": lambda text: "".join(rf"\u{ord(c):04x}" if ord(c) > 126 else c for c in text),
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64, shifted": lambda text: base64.b64encode(b"x" + text.encode()).decode(),
    "base64, shifted twice": lambda text: base64.b64encode(b"xy" + text.encode()).decode(),
    "basic authorization": lambda text: base64.b64encode(f"user:{text}".encode()).decode(),
    "first part": lambda text: text[: len(text) * 3 // 4],
    "last part": lambda text: text[len(text) // 4 :],
}


@pytest.mark.parametrize("form", FORMS)
def test_the_search_finds_markers_in_all_forms(form: str) -> None:
    markers = Markers()
    markers.make("one", 'p "{}" & <ü>')
    markers.make("another")
    shown = FORMS[form](markers["one"])
    assert markers.found_in(f"before {shown} after".encode()) == {"one"}
    assert markers.found_in(b"nothing of the kind") == set()


# What is driven


@dataclasses.dataclass
class Output:
    """Something that came out, and the markers that belong there."""

    where: str
    what: bytes
    may_hold: tuple[str, ...] = ()


class Page(HTMLParser):
    """Links and fields of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fields: dict[str, str] = {}
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attributes}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "select":
            self._select = found.get("name", "")
        elif tag == "option" and "selected" in found:
            self.fields[self._select] = found["value"]
        elif tag in ("input", "textarea") and found.get("name") and _is_sent(found):
            self.fields[found["name"]] = found.get("value", "on" if "checked" in found else "")


def _is_sent(field: dict[str, str]) -> bool:
    return field.get("type") not in ("checkbox", "submit") or "checked" in field


class Drive:
    """A project with markers for secrets, and all that comes out of it."""

    def __init__(self, project: Callable[..., Project], ultravox: Ultravox, debug: str) -> None:
        self.markers = markers = Markers()
        self.ultravox = ultravox
        self.outputs: list[Output] = []
        self.answers: list[tuple[str, str, int]] = []
        self.admin = requests.Session()
        self.fernet = Fernet.generate_key().decode()
        self.old_fernet = Fernet.generate_key().decode()
        markers.add("Fernet key", self.fernet)
        markers.add("old Fernet key", self.old_fernet)
        # What leaves as a header holds printable ASCII characters only.
        for name in ("working key", "revoked key", "new key"):
            markers.make(name, 'uv "{}" &<%>')
        markers.make("key with newline", "uv\n{}")
        markers.make("key not in ASCII", "uvé{}")
        markers.make("undecryptable key")
        markers.make("invalid new key", "é{}")
        for name in ("service key", "second service key", "wrong service key"):
            markers.make(name, 'service-"{}"-&<%>')
        for name in (
            "password",
            "staff password",
            "user password",
            "new password",
            "wrong password",
        ):
            markers.make(name, 'p "{}" &<ü>')
        markers.make("secret key", "dj-{}-0123456789-abcdefghijklmnopqrstuvwxyz")
        markers.make("JWT secret", "jwt-{}-0123456789-abcdefghijklmnopqrstuvwxyz")
        markers.make("database password")
        markers.make("definition url", "https://tts.example/v1?token={}&b=<c>")
        markers.make("definition header", 'Bearer "{}"')
        markers.make("definition body", "{} ü")
        markers.make("definition nested")
        markers.make("Ultravox's error", 'it said: "{}" & <more>')
        ultravox.keys = {markers["working key"], markers["new key"]}
        ultravox.voices = [*make_voices(2, base_url=ultravox.url), self.voice()]
        self.project = project(
            DJANGO_DEBUG=debug,
            DJANGO_LOG_LEVEL="DEBUG",
            DJANGO_SECRET_KEY=markers["secret key"],
            CREDENTIALS_KEYS=f"{self.fernet},{self.old_fernet}",
            SERVICE_API_KEYS=f"{markers['service key']},{markers['second service key']}",
            SUPABASE_JWT_SECRET=markers["JWT secret"],
            SUPABASE_URL="http://127.0.0.1:9",
            ULTRAVOX_API_URL=ultravox.url,
            ULTRAVOX_DEADLINE="1.2",
            LOGIN_FAILURES="3",
            DJANGO_SUPERUSER_PASSWORD=markers["new password"],
        )
        folder = self.project.folder
        self.project.environment["CELERY_BROKER_URL"] = f"filesystem://{folder}/broker"
        database = self.project.database
        if database.is_postgresql:
            parts = urlsplit(database.url)
            netloc = (
                f"postgres:{markers['database password']}@{parts.hostname}:{parts.port or 5432}"
            )
            self.project.environment["DATABASE_URL"] = parts._replace(netloc=netloc).geturl()

    def voice(self) -> dict[str, Any]:
        markers = self.markers
        return {
            "voiceId": VOICE,
            "name": "Generic",
            "definition": {
                "generic": {
                    "url": markers["definition url"],
                    "headers": {"Authorization": markers["definition header"]},
                    "body": {"key": markers["definition body"]},
                    "responseSampleRate": 24_000,
                    "unknown": [{"deep": markers["definition nested"]}],
                }
            },
        }

    # Commands

    def commands(self, *lines: str) -> list[int]:
        """Run commands one after another, as `manage.py` does; returns their exit codes."""
        process = self.project.start(
            "-c", COMMANDS, *lines, log="commands", DJANGO_SETTINGS_MODULE="voiceproject.settings"
        )
        assert process.wait(60) == 0, self.project.log("commands")
        file = self.project.folder / "commands.log"
        *texts, rest = re.split(r"^EXIT (\d+)$", file.read_text(), flags=re.MULTILINE)
        file.unlink()
        assert not rest.strip()
        for line, text in zip(lines, texts[::2], strict=True):
            may_hold = DEFINITIONS if line.startswith("dumpdata voices") else ()
            self.outputs.append(Output(f"manage.py {line}", text.encode(), may_hold))
        return [int(code) for code in texts[1::2]]

    # HTTP

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False

        def keep(response: requests.Response, *args: Any, **kwargs: Any) -> None:
            request = response.request
            path = str(request.path_url)
            may_hold: list[str] = []
            if path in (TOKEN, REFRESH) and response.status_code == 200:
                for kind, token in response.json().items():
                    name = f"{kind} token {len(self.outputs)}"
                    self.markers.add(name, token)
                    may_hold.append(name)
            for cookie in response.cookies:
                if cookie.name == "sessionid" and cookie.value:
                    name = f"session {cookie.value}"
                    self.markers.add(name, cookie.value, cookie.value[:CORE])
                    may_hold.append(name)
            headers = "".join(f"{key}: {value}\n" for key, value in response.headers.items())
            what = f"{response.status_code} {response.reason}\n{headers}\n".encode()
            where = f"{request.method} {path}"
            self.outputs.append(Output(where, what + response.content, tuple(may_hold)))
            self.answers.append((str(request.method), path, response.status_code))

        session.hooks["response"].append(keep)
        return session

    def serve(self) -> None:
        self.url = self.project.serve(
            "--workers=1", "--log-level=debug", "--access-logfile=-", "--capture-output"
        )
        self.http = self.session()

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        return self.http.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)

    def sync(self, token: str) -> int:
        return self.post(SYNC, authorization=f"Bearer {token}").status_code

    def log_in(self, email: str, password: str) -> requests.Session:
        """Return a session of the admin."""
        admin = self.session()
        login = f"{self.url}/admin/login/?next=/admin/"
        admin.get(login, timeout=30)
        form = {
            "username": email, "password": password,
            "csrfmiddlewaretoken": admin.cookies.get("csrftoken"),
        }  # fmt: skip
        admin.post(login, data=form, timeout=30)
        return admin

    def submit(self, admin: requests.Session, path: str, **changes: str) -> requests.Response:
        """Send the form of a page of the admin, with changes."""
        page = admin.get(f"{self.url}{path}", timeout=30)
        form = Page(page.text).fields | changes
        return admin.post(f"{self.url}{path}", data=form, headers={"referer": self.url}, timeout=30)

    def crawl(self, admin: requests.Session) -> set[str]:
        """Read all pages of the admin that links lead to; returns their paths."""
        seen, waiting = set(), ["/admin/"]
        while waiting:
            path = waiting.pop()
            if path in seen:
                continue
            seen.add(path)
            assert len(seen) < 400
            response = admin.get(f"{self.url}{path}", timeout=30)
            assert response.status_code in (200, 403), path
            for link in Page(response.text).links:
                target = urlsplit(urljoin(path, link))
                query = parse_qsl(target.query)
                if (
                    target.path.startswith("/admin/")
                    and "logout" not in target.path
                    and len(query) < 2
                    and not {"o", "e", "_changelist_filters"} & {name for name, _ in query}
                ):
                    waiting.append(target._replace(fragment="").geturl())
        return seen

    def send_raw(self, head: str) -> bytes:
        """Send a malformed request to its end, and return the answer."""
        port = urlsplit(self.url).port
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode())
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while data := connection.recv(65536):
                answer += data
        self.outputs.append(Output(f"raw {head[:40]!r}", answer))
        return answer

    # The database

    def refuse_voices(self) -> None:
        if self.project.database.is_postgresql:  # its error quotes the row
            refuse = f"ADD CONSTRAINT refuse CHECK (id <> '{VOICE}') NOT VALID"
            self.project.database.rows(f"ALTER TABLE ultravox_voices {refuse}")
        else:
            self.project.database.script(
                "CREATE TRIGGER refuse BEFORE INSERT ON ultravox_voices"
                " BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )

    def accept_voices(self) -> None:
        if self.project.database.is_postgresql:
            self.project.database.rows("ALTER TABLE ultravox_voices DROP CONSTRAINT refuse")
        else:
            self.project.database.rows("DROP TRIGGER refuse")

    def dump(self) -> None:
        """Put all tables' columns among the outputs, as the database holds them."""
        database = self.project.database
        if database.is_postgresql:
            columns = database.rows(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = 'public'"
            )
        else:
            columns = database.rows(
                "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c"
                " WHERE t.type = 'table'"
            )
        assert ("agencies", "ultravox_api_key") in columns
        for table, column in columns:
            may_hold: tuple[str, ...] = ()
            if (table, column) == ("ultravox_voices", "definition"):
                may_hold = DEFINITIONS
            if (table, column) == ("django_session", "session_key"):
                may_hold = tuple(name for name in self.markers.cores if name.startswith("session "))
            rows = database.rows(f'SELECT "{column}" FROM "{table}"')
            text = "\n".join(json.dumps(row[0], default=str) for row in rows)
            self.outputs.append(Output(f"{table}.{column}", text.encode(), may_hold))

    def files(self) -> None:
        """Put logs and all other files among the outputs, but for the database's own."""
        for file in self.project.folder.rglob("*"):
            if file.is_file() and not file.name.startswith("db.sqlite3"):
                self.outputs.append(Output(file.name, file.read_bytes()))

    def leaks(self) -> dict[str, set[str]]:
        """Return the markers that are where they do not belong, by place."""
        leaks: dict[str, set[str]] = {}
        for output in self.outputs:
            if found := self.markers.found_in(output.what) - set(output.may_hold):
                leaks.setdefault(output.where, set()).update(found)
        return leaks


SEED = """
import json, os
from agencies.models import Agency, User
from cryptography.fernet import Fernet
m, old = json.loads(os.environ["MARKERS"]), os.environ["OLD_KEY"]
def agency(name, key, **fields):
    made = Agency.objects.create(name=name, ultravox_api_key=key)
    password = m["user password"]
    User.objects.create_user(f"{name}@example.com", password, agency=made, **fields)
    return made
revoked = agency("revoked", m["revoked key"])
token = Fernet(Fernet.generate_key()).encrypt(m["undecryptable key"].encode()).decode()
from agencies.fields import Ciphertext
agency("undecryptable", Ciphertext(token))
agency("newline", m["key with newline"])
agency("ascii", m["key not in ASCII"])
agency("keyless", "")
working = agency("working", Ciphertext(Fernet(old).encrypt(m["working key"].encode()).decode()))
User.objects.create_user("nobody@example.com", m["user password"])
User.objects.create_superuser("super@example.com", m["password"], agency=working)
User.objects.create_user("staff@example.com", m["staff password"], is_staff=True)
ids = {user.email.partition("@")[0]: str(user.pk) for user in User.objects.all()}
print(json.dumps(ids | {"agency " + a.name: str(a.pk) for a in Agency.objects.all()}))
"""


@pytest.fixture(params=["false", "true"], ids=["production", "debug"])
def drive(
    request: pytest.FixtureRequest, project: Callable[..., Project], ultravox: Ultravox
) -> Drive:
    return Drive(project, ultravox, request.param)


def faults(drive: Drive) -> dict[str, Callable[[Exchange], None]]:
    """Return what Ultravox answers in failure, each with as many secrets as it may quote."""
    said = drive.markers["Ultravox's error"]
    detail = {"detail": said, "key": drive.markers["working key"], "voice": drive.voice()}
    page = {"results": [drive.voice()], "next": None, "total": 1}
    bearer = drive.markers["working key"]

    def redirect(exchange: Exchange) -> None:
        location = f"http://user:{quote(said)}@127.0.0.1:9/{quote(bearer)}?{quote(said)}"
        exchange.reply(302, detail, headers={"Location": location})

    def leads_on(exchange: Exchange) -> None:
        exchange.reply(200, page | {"next": f"http://elsewhere.example/{quote(said)}"})

    def late(exchange: Exchange) -> None:
        core = drive.markers.cores["Ultravox's error"]
        exchange.reply(503, detail, headers={"Retry-After": core, "X-Said": core}, reason=core)

    def odd_records(exchange: Exchange) -> None:
        records = [said, {"definition": drive.voice()["definition"]}, {"voiceId": detail}]
        exchange.reply(200, page | {"results": [*records, {"voiceId": said * 20}]})

    def broken_header(exchange: Exchange) -> None:
        core = drive.markers.cores["Ultravox's error"]
        exchange.send(f"HTTP/1.1 200 {core}\r\n{core}\r\nContent-Length: {core}\r\n\r\n".encode())

    return {
        "unauthorized": lambda exchange: exchange.reply(401, detail),
        "bad request": lambda exchange: exchange.reply(400, detail),
        "server error": lambda exchange: exchange.reply(500, detail),
        "HTML": lambda exchange: exchange.reply(200, f"<h1>{json.dumps(detail)}</h1>"),
        "no page": lambda exchange: exchange.reply(200, detail),
        "broken gzip": lambda exchange: exchange.reply(
            200, said, headers={"Content-Encoding": "gzip"}
        ),
        "redirect": redirect,
        "leads on": leads_on,
        "retry after": late,
        "odd records": odd_records,
        "broken header": broken_header,
    }


def supabase_token(drive: Drive, name: str, user: str, **changes: Any) -> str:
    claims = {
        "sub": user,
        "aud": "authenticated",
        "iss": "http://127.0.0.1:9/auth/v1",
        "exp": datetime.now(UTC) + timedelta(hours=1),
    }
    token = jwt.encode(claims | changes, drive.markers["JWT secret"], "HS256")
    return drive.markers.add(name, token)


def drive_api(drive: Drive, ids: dict[str, str]) -> None:
    markers = drive.markers

    def log_in(name: str, password: str = "user password") -> Any:
        answer = drive.post(TOKEN, {"email": f"{name}@example.com", "password": markers[password]})
        return answer.json() if answer.status_code == 200 else answer.status_code

    tokens = log_in("working")
    access, refresh = tokens["access"], tokens["refresh"]
    assert drive.sync(access) == 200
    for key in ("service key", "second service key"):
        assert drive.post(SYNC, apikey=markers[key]).status_code == 200
        assert drive.sync(markers[key]) == 200
    supabase = supabase_token(drive, "Supabase token", ids["working"])
    assert drive.sync(supabase) == 200
    # Credentials that fail
    assert drive.post(SYNC, apikey=markers["wrong service key"]).status_code == 401
    assert drive.sync(markers["wrong service key"]) == 401
    stranger = supabase_token(drive, "stranger's token", str(uuid.uuid4()))
    expired = supabase_token(
        drive, "expired token", ids["working"], exp=datetime.now(UTC) - timedelta(hours=1)
    )
    other = supabase_token(drive, "token of another issuer", ids["working"], iss="other")
    odd = supabase_token(drive, "odd token", ids["working"], sub=[ids["working"]])
    for token in (stranger, expired, other, odd, refresh, access[:-4], f"{access}.x", f"é{access}"):
        assert drive.sync(token.encode().decode("latin-1")) == 401
    assert drive.post(SYNC, authorization=f"Basic {quote(access)}").status_code == 401
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        headers = {"authorization": f"Bearer {access}", "apikey": markers["service key"]}
        drive.http.request(method, f"{drive.url}{SYNC}", headers=headers, timeout=30)
        drive.http.request(method, f"{drive.url}/nothing", headers=headers, timeout=30)
    # Agencies whose key does not serve
    for name, status in (
        ("revoked", 502), ("undecryptable", 500), ("newline", 500), ("ascii", 500),
        ("keyless", 400), ("nobody", 403),
    ):  # fmt: skip
        assert drive.sync(log_in(name)["access"]) == status, name
    # Tokens
    assert drive.post(REFRESH, {"refresh": refresh}).status_code == 200
    for token in (access, supabase, f"{refresh}x"):
        assert drive.post(REFRESH, {"refresh": token}).status_code == 401
    wrong = {"email": "working@example.com", "password": markers["wrong password"]}
    for body in (
        {"email": "x", "password": [markers["wrong password"]]},
        {"email": [markers["wrong password"]], "password": None},
        {"password": markers["wrong password"]},
        [markers["wrong password"]],
        markers["wrong password"],
    ):
        assert drive.post(TOKEN, body).status_code == 400
        assert drive.post(REFRESH, body).status_code == 400
    for content, kind in (
        (json.dumps(wrong)[:-1], "application/json"),
        (json.dumps(wrong), "text/plain"),
        (quote(json.dumps(wrong)), "application/json"),
        (f"email=x&password={quote(wrong['password'])}", "application/x-www-form-urlencoded"),
    ):
        for path in (TOKEN, REFRESH):
            answer = drive.http.post(
                f"{drive.url}{path}",
                data=content.encode(),
                headers={"content-type": kind},
                timeout=30,
            )
            assert 400 <= answer.status_code < 500
    assert [log_in("newline", "wrong password") for _ in range(4)] == [401, 401, 429, 429]
    # Ultravox fails
    for name, fault in faults(drive).items():
        drive.ultravox.fault = fault
        assert drive.sync(access) == (200 if name == "odd records" else 502), name
    drive.ultravox.fault = None
    # Malformed requests
    for header in ("apikey: {}\0", "apikey {}", "apikey: x\n {}", "{}: x", "host: x\nhost: {}"):
        header = header.format(markers["service key"])
        assert b" 400 " in drive.send_raw(f"POST {SYNC} HTTP/1.1\nhost: x\n{header}\n\n")
    assert b" 400 " in drive.send_raw(f"GET {SYNC}\n{markers['service key']}\n\n")
    drive.http.get(f"{drive.url}/api/schema/", timeout=30)


def drive_admin(drive: Drive, ids: dict[str, str]) -> None:
    markers = drive.markers
    drive.log_in("super@example.com", markers["wrong password"])
    admin = drive.log_in("super@example.com", markers["password"])
    agency, user = f"/admin/agencies/agency/{ids['agency working']}/", ids["working"]
    password = {"password1": markers["new password"], "password2": markers["new password"]}
    mismatch = password | {"password2": markers["wrong password"]}
    for path, changes in (
        (f"{agency}change/", {"new_key": markers["new key"]}),
        (f"{agency}change/", {"new_key": markers["invalid new key"]}),
        (f"{agency}change/", {"new_key": markers["new key"], "name": ""}),
        ("/admin/agencies/agency/add/", {"name": "Added", "new_key": markers["new key"]}),
        ("/admin/agencies/agency/add/", {"name": "", "new_key": markers["new key"]}),
        ("/admin/agencies/user/add/", {"email": "added@example.com"} | password),
        ("/admin/agencies/user/add/", {"email": "bad@example.com"} | mismatch),
        ("/admin/agencies/user/add/", {"email": "working@example.com"} | password),
        (f"/admin/agencies/user/{ids['keyless']}/password/", password),
        (f"/admin/agencies/user/{user}/password/", mismatch),
        (f"/admin/agencies/user/{user}/change/", {"is_staff": "on"}),
        ("/admin/password_change/", {"old_password": markers["wrong password"]}),
    ):
        assert drive.submit(admin, path, **changes).status_code == 200, path
    page = drive.submit(admin, "/admin/voices/voice/")
    sync = f"{drive.url}/admin/voices/voice/sync/"
    form = Page(page.text).fields | {"csrfmiddlewaretoken": admin.cookies.get("csrftoken")}
    for name, fault in ({"": None} | faults(drive)).items():
        if name != "server error":
            drive.ultravox.fault = fault
            answer = admin.post(sync, data=form, headers={"referer": drive.url}, timeout=30)
            assert answer.status_code == 200
    drive.ultravox.fault = None
    pages = drive.crawl(admin)
    for model in apps.get_models():
        name = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        if f"{name}add/" in pages:
            assert name in pages
    for name in ("agencies/agency", "agencies/user", "voices/voice", "voices/syncrun"):
        assert f"/admin/{name}/" in pages
        assert any(path.startswith(f"/admin/{name}/") and "/change/" in path for path in pages)
        assert any(path.startswith(f"/admin/{name}/") and "/history/" in path for path in pages)
        admin.get(f"{drive.url}/admin/{name}/?q=e", timeout=30)
    assert f"/admin/voices/voice/{VOICE}/change/" in {path.replace("_2D", "-") for path in pages}
    delete = f"/admin/agencies/agency/{ids['agency newline']}/delete/"
    assert delete in pages
    assert drive.submit(admin, delete).status_code == 200
    staff = drive.log_in("staff@example.com", markers["staff password"])
    pages = drive.crawl(staff)
    assert f"/admin/voices/voice/{VOICE}/change/" in {path.replace("_2D", "-") for path in pages}
    assert "/admin/agencies/agency/" not in pages
    assert staff.get(f"{drive.url}{agency}change/", timeout=30).status_code == 403
    drive.admin = admin


def drive_broken_database(drive: Drive, ids: dict[str, str], token: str) -> None:
    """Let the database fail under views that hold secrets."""
    markers, database = drive.markers, drive.project.database
    admin = drive.admin
    drive.refuse_voices()
    assert drive.sync(token) == 500
    assert drive.post(SYNC, apikey=markers["service key"]).status_code == 500
    path = f"/admin/agencies/agency/{ids['agency revoked']}/change/"
    page = admin.get(f"{drive.url}{path}", timeout=30)
    form = Page(page.text).fields | {"new_key": markers["new key"]}
    database.rows("ALTER TABLE agencies RENAME TO agencies_away")
    answer = admin.post(f"{drive.url}{path}", data=form, timeout=30)
    assert answer.status_code == 500
    assert drive.sync(token) == 500
    assert drive.post(SYNC, apikey=markers["service key"]).status_code == 500
    database.rows("ALTER TABLE agencies_away RENAME TO agencies")
    database.rows("ALTER TABLE users RENAME TO users_away")
    body = {"email": "working@example.com", "password": markers["user password"]}
    assert drive.post(TOKEN, body).status_code == 500
    assert drive.sync(token) == 500
    login = drive.log_in("super@example.com", markers["password"])
    assert login.get(f"{drive.url}/admin/", timeout=30).status_code == 200  # the login's form
    assert ("POST", "/admin/login/?next=/admin/", 500) in drive.answers
    database.rows("ALTER TABLE users_away RENAME TO users")
    # Errors that Django answers by itself
    for bad in ("/admin/voices/syncrun/?user__password=x", "/admin/nothing/", "/admin/r/1/1/"):
        assert admin.get(f"{drive.url}{bad}", timeout=30).status_code in (400, 404)
    assert admin.post(f"{drive.url}{path}", data={"new_key": "x"}, timeout=30).status_code == 403
    host = {"host": "elsewhere.example", "apikey": markers["service key"]}
    assert drive.post(SYNC, **host).status_code == 400


def drive_commands(drive: Drive, ids: dict[str, str]) -> None:
    sync = "sync_voices -v 3 --traceback --agency"
    assert drive.commands(
        "check", "check --deploy", "sync_voices -v 3",
        *(f"{sync} {ids[f'agency {name}']}" for name in (
            "revoked", "undecryptable", "newline", "ascii", "keyless",
        )),
        "rotate_credentials -v 3",
        "rotate_credentials -v 3 --traceback",
        "createsuperuser --noinput --email=made@example.com",
        "migrate -v 3",
        "dumpdata agencies",
        "dumpdata voices",
        "dumpdata axes admin",
    ) == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]  # fmt: skip
    drive.refuse_voices()
    assert drive.commands("sync_voices -v 3 --traceback") == [1]
    drive.accept_voices()
    # Settings that do not serve
    keys = drive.project.environment["CREDENTIALS_KEYS"]
    broken = drive.markers.make("broken Fernet key")
    drive.project.environment["CREDENTIALS_KEYS"] = f"{broken},{keys}"
    lines = ("check", "rotate_credentials --traceback", f"{sync} {ids['agency working']}")
    assert drive.commands(*lines) == [1, 1, 1]
    drive.project.environment["CREDENTIALS_KEYS"] = keys


def drive_worker(drive: Drive) -> None:
    """Let a worker run the task as the admin sends it: once well, once into an error."""
    worker = drive.project.start(
        "-m", "celery", "--app", "voiceproject", "worker", "--concurrency=1", "--loglevel=debug",
        "--task-events", log="worker",
    )  # fmt: skip
    admin = drive.admin
    path = "/admin/django_celery_beat/periodictask/"
    count = "SELECT count(*) FROM voice_sync_runs WHERE trigger = 'schedule' AND status = '{}'"
    task = drive.project.database.value(
        "SELECT id FROM django_celery_beat_periodictask WHERE task = 'voices.sync_voices'"
    )
    for name, status in (("no page", "failed"), ("", "succeeded")):
        drive.ultravox.fault = faults(drive).get(name)
        answer = drive.submit(admin, path, action="run_tasks", _selected_action=str(task))
        assert "1 task was successfully run" in answer.text
        wait_for(lambda status=status: drive.project.database.value(count.format(status)))
    worker.terminate()
    worker.wait(20)


def test_secrets_stay_where_they_belong(
    drive: Drive, record_property: Callable[[str, Any], None]
) -> None:
    markers, project = drive.markers, drive.project
    made = project.manage(
        "shell", "-v", "0", "-c", SEED, MARKERS=json.dumps(markers.values), OLD_KEY=drive.old_fernet
    )
    assert made.returncode == 0, made.stderr
    drive.outputs.append(Output("seeding", (made.stdout + made.stderr).encode()))
    ids = json.loads(made.stdout.strip().rpartition("\n")[2])
    drive_commands(drive, ids)
    drive.serve()
    drive_api(drive, ids)
    token = drive.post(
        TOKEN, {"email": "working@example.com", "password": markers["user password"]}
    ).json()["access"]
    drive_admin(drive, ids)
    drive_worker(drive)
    drive_broken_database(drive, ids, token)
    drive.dump()
    project.server.terminate()
    project.server.wait(20)
    drive.files()
    # The markers were in play, and went where they belong.
    sent = {request.headers["x-api-key"] for request in drive.ultravox.listings}
    assert {markers[name] for name in ("working key", "revoked key", "new key")} <= sent
    for request in drive.ultravox.requests:
        rest = {key: value for key, value in request.headers.items() if key != "x-api-key"}
        assert markers.found_in(f"{request.target} {rest}".encode()) <= {"Ultravox's error"}
        assert request.body == b""
    [definition] = (o for o in drive.outputs if o.where == "ultravox_voices.definition")
    assert markers.found_in(definition.what) == set(DEFINITIONS)
    assert any("session" in "".join(markers.found_in(o.what)) for o in drive.outputs)
    logs = {Path(o.where).name: o.what for o in drive.outputs}
    assert b"DEBUG" in logs["web.log"]
    assert b"DEBUG" in logs["worker.log"]
    assert drive.leaks() == {}
    record_property("markers_searched", len(markers.cores))
    record_property("outputs_searched_for_markers", len(drive.outputs))
    # The last four characters of a key are shown, to tell keys apart.
    assert any(f"••••{markers['new key'][-4:]}".encode() in o.what for o in drive.outputs) or any(
        html.escape(f"••••{markers['new key'][-4:]}").encode() in o.what for o in drive.outputs
    )
