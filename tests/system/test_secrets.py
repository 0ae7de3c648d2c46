"""No secret leaves the project but by the way that it is meant for.

Marker values stand for secrets everywhere. A real server, the commands and beat are driven through
success and failure, and then everything that came out is searched for them.
"""

import base64
import html
import json
import re
import secrets
import socket
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus, urljoin, urlsplit

import jwt
import pytest
import requests
from cryptography.fernet import Fernet
from django.apps import apps

from sandbox.audio import wav
from sandbox.catalogue import make_voices
from tests.support.jwks import claims
from tests.support.listener import Listener
from tests.support.project import Project, wait_for
from tests.ultravox import Ultravox

SYNC, TOKEN, REFRESH = "/functions/v1/voices-sync", "/api/token/", "/api/token/refresh/"
SUPABASE = "http://127.0.0.1:9"
VOICE = "00000000-0000-4000-8000-000000000000"
CORE = 24  # characters of a marker that are looked for, each half of them on its own
# Secrets by the form of their value, in which quotes, spaces and signs surround letters that no quoting
# changes. What leaves as a header holds printable ASCII characters only.
MADE = {
    'uv "{}" &<%>': ["working key", "revoked key", "new key"],
    "uv\n{}": ["key with newline"],
    "uvé{}": ["key not in ASCII"],
    "é{}": ["invalid new key"],
    'service-"{}"-&<%>': ["service key", "second service key", "wrong service key"],
    'p "{}" &<ü>': [
        "password",
        "staff password",
        "user password",
        "new password",
        "wrong password",
    ],
    "dj-{}-0123456789-abcdefghijklmnopqrstuvwxyz": ["secret key", "JWT secret"],
    "{}": [
        "undecryptable key",
        "database password",
        "broken Fernet key",
        "definition nested",
        "metrics token",
        "ping",
        "e-mail password",
    ],
    "https://tts.example/v1?token={}&b=<c>": ["definition url"],
    'Bearer "{}"': ["definition header"],
    "{} ü": ["definition body"],
    'it said: "{}" & <more>': ["Ultravox's error"],
}
# What only operators see who ask for it, and may hold: definitions, as Ultravox sent them.
DEFINITIONS = {"definition url", "definition header", "definition body", "definition nested"}


class Markers:
    """Secrets by name."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.cores: dict[str, str] = {}

    def make(self, name: str, form: str) -> str:
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


def test_the_search_finds_markers_in_all_forms() -> None:
    for name, form in FORMS.items():
        markers = Markers()
        markers.make("one", 'p "{}" & <ü>')
        markers.make("another", "{}")
        assert markers.found_in(f"before {form(markers['one'])} after".encode()) == {"one"}, name
        assert markers.found_in(b"nothing of the kind") == set()


# What is driven

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
SEED = """
import json, os
from agencies.fields import Ciphertext
from agencies.models import Agency, User
from cryptography.fernet import Fernet
from django.contrib.auth.models import Group
m, old = json.loads(os.environ["MARKERS"]), Fernet(os.environ["OLD_KEY"])
stranger = Fernet(Fernet.generate_key())
for name, key in {
    "revoked": m["revoked key"],
    "undecryptable": Ciphertext(stranger.encrypt(m["undecryptable key"].encode()).decode()),
    "newline": m["key with newline"],
    "ascii": m["key not in ASCII"],
    "keyless": "",
    "working": Ciphertext(old.encrypt(m["working key"].encode()).decode()),
}.items():
    agency = Agency.objects.create(name=name, ultravox_api_key=key)
    User.objects.create_user(f"{name}@example.com", m["user password"], agency=agency)
User.objects.create_user("nobody@example.com", m["user password"])
User.objects.create_superuser("super@example.com", m["password"], agency=agency)
staff = User.objects.create_user("staff@example.com", m["staff password"], is_staff=True)
staff.groups.add(Group.objects.get(name="Voices staff"))
ids = {user.email.partition("@")[0]: str(user.pk) for user in User.objects.all()}
print(json.dumps(ids | {"agency " + a.name: str(a.pk) for a in Agency.objects.all()}))
"""


class Output(NamedTuple):
    """Something that came out, and the markers that belong there."""

    where: str
    what: bytes
    may_hold: set[str] = set()


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
        elif tag in ("input", "textarea") and "checked" in found:
            self.fields[found["name"]] = found.get("value", "on")
        elif tag in ("input", "textarea") and found.get("type") not in ("checkbox", "submit"):
            self.fields[found.get("name", "")] = found.get("value", "")


class Drive:
    """A project with markers for secrets, and all that comes out of it."""

    def __init__(
        self, project: Callable[..., Project], ultravox: Ultravox, elsewhere: Listener, debug: str
    ) -> None:
        self.markers = markers = Markers()
        self.ultravox = ultravox
        self.elsewhere = elsewhere
        self.outputs: list[Output] = []
        self.answers: list[tuple[str, str, int]] = []
        self.old_fernet = markers.add("old Fernet key", Fernet.generate_key().decode())
        fernet = markers.add("Fernet key", Fernet.generate_key().decode())
        for form, names in MADE.items():
            for name in names:
                markers.make(name, form)
        generic = {
            "url": markers["definition url"],
            "headers": {"Authorization": markers["definition header"]},
            "body": {"key": markers["definition body"]},
            "responseSampleRate": 24_000,
            "unknown": [{"deep": markers["definition nested"]}],
        }
        self.voice = {
            "voiceId": VOICE,
            "name": "Generic",
            "definition": {"generic": generic},
            "previewUrl": f"{ultravox.url}/api/voices/{VOICE}/preview",
        }
        ultravox.keys = {markers["working key"], markers["new key"]}
        ultravox.voices = [*make_voices(2, base_url=ultravox.url), self.voice]
        away = f"127.0.0.1:{elsewhere.port}"
        self.project = project(
            DJANGO_DEBUG=debug,
            DJANGO_LOG_LEVEL="DEBUG",
            DJANGO_SECRET_KEY=markers["secret key"],
            CREDENTIALS_KEYS=f"{fernet},{self.old_fernet}",
            SERVICE_API_KEYS=f"{markers['service key']},{markers['second service key']}",
            SUPABASE_JWT_SECRET=markers["JWT secret"],
            SUPABASE_URL=SUPABASE,
            ULTRAVOX_API_URL=ultravox.url,
            ULTRAVOX_DEADLINE="0.8",
            LOGIN_FAILURES="3",
            DJANGO_SUPERUSER_PASSWORD=markers["new password"],
            LOG_FORMAT="text" if debug == "true" else "json",
            METRICS_TOKEN=markers["metrics token"],
            SYNC_PING_URL=f"http://{away}/{markers['ping']}",
            SENTRY_DSN=f"http://public@{away}/1",
            ADMINS="ada@example.com",
            EMAIL_URL=f"smtp://ada:{markers['e-mail password']}@127.0.0.1:9",
        )
        self.database = self.project.database
        if self.database.is_postgresql:
            url = urlsplit(self.database.url)
            user = f"postgres:{markers['database password']}"
            url = url._replace(netloc=f"{user}@{url.hostname}:{url.port or 5432}")
            self.project.environment["DATABASE_URL"] = url.geturl()
        said: Any = {"MARKERS": json.dumps(markers.values), "OLD_KEY": self.old_fernet}
        made = self.project.manage("shell", "-v", "0", "-c", SEED, **said)
        assert made.returncode == 0, made.stderr
        self.outputs.append(Output("seeding", (made.stdout + made.stderr).encode()))
        self.ids = json.loads(made.stdout.strip().rpartition("\n")[2])

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
            may_hold = DEFINITIONS if line.startswith("dumpdata voices") else set()
            self.outputs.append(Output(f"manage.py {line}", text.encode(), may_hold))
        return [int(code) for code in texts[1::2]]

    # HTTP

    def session(self) -> requests.Session:
        session = requests.Session()
        session.hooks["response"].append(self._keep)
        return session

    def _keep(self, response: requests.Response, *args: Any, **kwargs: Any) -> None:
        method, path = str(response.request.method), str(response.request.path_url)
        may_hold: set[str] = set()
        if path in (TOKEN, REFRESH) and response.status_code == 200:
            for kind, token in response.json().items():
                self.markers.add(name := f"{kind} token {len(self.outputs)}", token)
                may_hold.add(name)
        for signature in re.findall(r'/preview\?signature=[^":]+:([\w-]+)"', response.text):
            self.markers.add(name := f"signature {signature}", signature)
            may_hold.add(name)
        if session := response.cookies.get("sessionid"):
            self.markers.add(name := f"session {session}", session, session[:CORE])
            may_hold.add(name)
        headers = "".join(f"{key}: {value}\n" for key, value in response.headers.items())
        what = f"{response.status_code} {response.reason}\n{headers}\n".encode()
        self.outputs.append(Output(f"{method} {path}", what + response.content, may_hold))
        self.answers.append((method, path, response.status_code))

    def serve(self) -> None:
        self.url = self.project.serve(
            "--workers=1", "--log-level=debug", "--access-logfile=-", "--capture-output"
        )
        self.http = self.session()

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        return self.http.post(f"{self.url}{path}", json=body, headers=headers, timeout=30)

    def sync(self, token: str) -> int:
        return self.post(SYNC, authorization=f"Bearer {token}").status_code

    def sign_in(self, name: str, password: str = "user password") -> Any:
        """Return a user's tokens, or the status of the answer."""
        body = {"email": f"{name}@example.com", "password": self.markers[password]}
        answer = self.post(TOKEN, body)
        return answer.json() if answer.status_code == 200 else answer.status_code

    def log_in(self, email: str, password: str) -> requests.Session:
        """Return a session of the admin."""
        admin = self.session()
        login = "/admin/login/?next=/admin/"
        self.submit(admin, login, username=email, password=self.markers[password])
        return admin

    def submit(self, admin: requests.Session, path: str, **changes: str) -> requests.Response:
        """Send the form of a page of the admin, with changes."""
        form = Page(admin.get(f"{self.url}{path}", timeout=30).text).fields | changes
        return admin.post(f"{self.url}{path}", data=form, headers={"referer": self.url}, timeout=30)

    def crawl(self, admin: requests.Session) -> set[str]:
        """Read pages of the admin that links lead to, some of a kind; returns their paths."""
        seen, waiting, kinds = set(), ["/admin/"], Counter[str]()
        while waiting:
            path = waiting.pop()
            kind = re.sub(r"=.*|[0-9a-f]{8}[^/]*|\b\d+\b", "*", path)
            if path in seen or kinds[kind] == (2 if "?" in kind else 7):
                continue
            seen.add(path)
            kinds[kind] += 1
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
        assert f"/admin/voices/voice/{VOICE}/change/" in {p.replace("_2D", "-") for p in seen}
        return seen

    def send_raw(self, head: str) -> bytes:
        """Send gunicorn a malformed request to its end, which its log must not quote; return the answer.

        The answer quotes to its sender what it sent; nginx, in front, answers instead: test_nginx.py.
        """
        server = ("127.0.0.1", urlsplit(self.url).port or 0)
        with socket.create_connection(server, timeout=20) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode())
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while data := connection.recv(65536):
                answer += data
        return answer

    # The database

    def refuse_voices(self) -> None:
        if self.database.is_postgresql:  # its error quotes the row
            refuse = f"ADD CONSTRAINT refuse CHECK (id <> '{VOICE}') NOT VALID"
            self.database.rows(f"ALTER TABLE ultravox_voices {refuse}")
        else:
            self.database.script(
                "CREATE TRIGGER refuse BEFORE INSERT ON ultravox_voices"
                " BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )

    def accept_voices(self) -> None:
        where = "ALTER TABLE ultravox_voices DROP CONSTRAINT"
        self.database.rows(f"{where if self.database.is_postgresql else 'DROP TRIGGER'} refuse")

    def collect(self) -> None:
        """Put all tables' columns among the outputs, logs and all other files."""
        sessions = {name for name in self.markers.cores if name.startswith("session ")}
        allowed = {
            "agencies.ultravox_api_key": set[str](),
            "ultravox_voices.definition": DEFINITIONS,
            "django_session.session_key": sessions,
        }
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            for column in [field.column for field in model._meta.concrete_fields]:
                rows = self.database.rows(f'SELECT "{column}" FROM "{table}"')
                text = "\n".join(json.dumps(row[0], default=str) for row in rows)
                may_hold = allowed.pop(f"{table}.{column}", set())
                self.outputs.append(Output(f"{table}.{column}", text.encode(), may_hold))
        assert allowed == {}
        for _, target, head, body in self.elsewhere.requests:
            may_hold = {"ping"} if self.markers["ping"] in target else set[str]()
            self.outputs.append(
                Output(f"to {target[:5]}", f"{target}{head}".encode() + body, may_hold)
            )
        for file in self.project.folder.rglob("*"):
            if file.is_file() and not file.name.startswith("db.sqlite3"):
                self.outputs.append(Output(file.name, file.read_bytes()))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return what was sent to Sentry and has such a part."""
        bodies = [body for method, _, _, body in self.elsewhere.requests if method == "POST"]
        parts = [json.loads(line) for body in bodies for line in body.splitlines() if line]
        return [part for part in parts if kind in part]

    def leaks(self) -> dict[str, set[str]]:
        """Return the markers that are where they do not belong, by place."""
        leaks: dict[str, set[str]] = {}
        for output in self.outputs:
            if found := self.markers.found_in(output.what) - output.may_hold:
                leaks.setdefault(output.where, set()).update(found)
        return leaks


def faults(drive: Drive) -> dict[str, Callable[[Any], None]]:
    """Return what Ultravox answers in failure, each with as many secrets as it may quote."""
    said, core = drive.markers["Ultravox's error"], drive.markers.cores["Ultravox's error"]
    bearer = drive.markers["working key"]
    detail = {"detail": said, "key": bearer, "voice": drive.voice}
    page = {"results": [drive.voice], "next": None, "total": 1}
    location = f"http://user:{quote(said)}@127.0.0.1:9/{quote(bearer)}?{quote(said)}"
    elsewhere = page | {"next": f"http://elsewhere.example/{quote(said)}"}
    late = {"Retry-After": core, "X-Said": core}
    broken = f"HTTP/1.1 200 {core}\r\n{core}\r\nContent-Length: {core}\r\n\r\n".encode()
    odd = [said, {"definition": drive.voice["definition"]}, {"voiceId": detail}]
    odd_page = page | {"results": [*odd, {"voiceId": said * 100}]}
    return {
        "unauthorized": lambda it: it.reply(401, detail),
        "bad request": lambda it: it.reply(400, detail),
        "server error": lambda it: it.reply(500, detail),
        "HTML": lambda it: it.reply(200, f"<h1>{json.dumps(detail)}</h1>"),
        "no page": lambda it: it.reply(200, detail),
        "broken gzip": lambda it: it.reply(200, said, headers={"Content-Encoding": "gzip"}),
        "redirect": lambda it: it.reply(302, detail, headers={"Location": location}),
        "leads on": lambda it: it.reply(200, elsewhere),
        "retry after": lambda it: it.reply(503, detail, headers=late, reason=core),
        "odd records": lambda it: it.reply(200, odd_page),
        "broken header": lambda it: it.send(broken),
    }


def drive_api(drive: Drive) -> None:
    markers = drive.markers
    tokens = drive.sign_in("working")
    access, refresh = tokens["access"], tokens["refresh"]
    assert drive.sync(access) == 200
    for key in ("service key", "second service key"):
        assert drive.post(SYNC, apikey=markers[key]).status_code == 200
        assert drive.sync(markers[key]) == 200

    def supabase_token(name: str, user: str = drive.ids["working"], **changes: Any) -> str:
        made = claims(user, **{"iss": f"{SUPABASE}/auth/v1"} | changes)
        return markers.add(name, jwt.encode(made, markers["JWT secret"], "HS256"))

    supabase = supabase_token("Supabase token")
    assert drive.sync(supabase) == 200
    # Credentials that fail
    assert drive.post(SYNC, apikey=markers["wrong service key"]).status_code == 401
    assert drive.sync(markers["wrong service key"]) == 401
    for token in (
        supabase_token("stranger's token", str(uuid.uuid4())),
        supabase_token("expired token", exp=1),
        supabase_token("token of another issuer", iss="other"),
        supabase_token("odd token", sub=[]),
        *(refresh, access[:-4], f"{access}.x", f"é{access}".encode().decode("latin-1")),
    ):
        assert drive.sync(token) == 401
    assert drive.post(SYNC, authorization=f"Basic {quote(access)}").status_code == 401
    headers = {"authorization": f"Bearer {access}", "apikey": markers["service key"]}
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        for path in (SYNC, "/nothing"):
            drive.http.request(method, f"{drive.url}{path}", headers=headers, timeout=30)
    # Agencies whose key does not serve
    for name, status in (
        ("revoked", 502),
        ("undecryptable", 500),
        ("newline", 500),
        ("ascii", 500),
        ("keyless", 400),
        ("nobody", 403),
    ):
        assert drive.sync(drive.sign_in(name)["access"]) == status, name
    # Tokens
    assert drive.post(REFRESH, {"refresh": refresh}).status_code == 200
    for token in (access, supabase, f"{refresh}x"):
        assert drive.post(REFRESH, {"refresh": token}).status_code == 401
    wrong = markers["wrong password"]
    for body in (
        *({"email": "x", "password": [wrong]}, {"email": [wrong], "password": None}),
        *({"password": wrong}, [wrong], wrong),
    ):
        assert drive.post(TOKEN, body).status_code == 400
        assert drive.post(REFRESH, body).status_code == 400
    text = json.dumps({"email": "working@example.com", "password": wrong})
    form = f"email=x&password={quote(wrong)}"
    for content, kind in (
        (text[:-1], "application/json"),
        (text, "text/plain"),
        (quote(text), "application/json"),
        (form, "application/x-www-form-urlencoded"),
    ):
        for path in (TOKEN, REFRESH):
            url, headers = f"{drive.url}{path}", {"content-type": kind}
            answer = drive.http.post(url, data=content.encode(), headers=headers, timeout=30)
            assert 400 <= answer.status_code < 500
    assert [drive.sign_in("newline", "wrong password") for _ in range(4)] == [401, 401, 429, 429]
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
    for path in ("/api/schema/", "/readyz", "/metrics"):
        drive.http.get(f"{drive.url}{path}", timeout=30)
    token = {"authorization": f"Bearer {markers['metrics token']}"}
    assert drive.http.get(f"{drive.url}/metrics", headers=token, timeout=30).status_code == 200


def drive_reading(drive: Drive) -> None:
    """Find voices and hear them, also while Ultravox fails."""
    bearer = {"authorization": f"Bearer {drive.sign_in('working')['access']}"}

    def get(path: str, status: int, headers: dict[str, str]) -> Any:
        answer = drive.http.get(f"{drive.url}{path}", headers=headers, timeout=30)
        assert answer.status_code == status, (path, answer.text)
        return answer

    assert drive.sync(bearer["authorization"].removeprefix("Bearer ")) == 200
    for headers in (bearer, {"apikey": drive.markers["service key"]}):
        for path in (
            "/api/voices/",
            f"/api/voices/{VOICE}/",
            "/api/sync-runs/",
            "/api/voices/?search=e",
        ):
            found = get(path, 200, headers)
    get("/api/voices/?page=x", 400, bearer)
    [link] = [row["preview_url"] for row in found.json()["results"] if row["id"] == VOICE]
    path = link.removeprefix(drive.url)
    for number, fault in enumerate(faults(drive).values()):
        # Another address, since a failure is remembered for a minute.
        drive.database.rows(
            "UPDATE ultravox_voices SET preview_url ="
            f" '{drive.ultravox.url}/api/voices/{VOICE}/preview?{number}' WHERE id = '{VOICE}'"
        )
        drive.ultravox.previews = fault
        get(path, 502, {})
    drive.ultravox.previews = lambda exchange: exchange.reply(200, wav("v"))
    drive.database.rows("UPDATE ultravox_voices SET definition = NULL")
    for part, status in (("", 200), ("bytes=0-1", 206), ("bytes=999999999-", 416)):
        get(path, status, {"range": part})
    get(f"{path}x", 401, {})
    drive.ultravox.previews = None
    assert drive.sync(bearer["authorization"].removeprefix("Bearer ")) == 200


def drive_admin(drive: Drive) -> requests.Session:
    markers, ids = drive.markers, drive.ids
    drive.log_in("super@example.com", "wrong password")
    admin = drive.log_in("super@example.com", "password")
    agency = f"/admin/agencies/agency/{ids['agency working']}/change/"
    users = "/admin/agencies/user/"
    password = {"password1": markers["new password"], "password2": markers["new password"]}
    mismatch = password | {"password2": markers["wrong password"]}
    for path, changes in (
        (agency, {"new_key": markers["new key"]}),
        (agency, {"new_key": markers["invalid new key"]}),
        (agency, {"new_key": markers["new key"], "name": ""}),
        ("/admin/agencies/agency/add/", {"name": "Added", "new_key": markers["new key"]}),
        ("/admin/agencies/agency/add/", {"name": "", "new_key": markers["new key"]}),
        (f"{users}add/", {"email": "added@example.com"} | password),
        (f"{users}add/", {"email": "bad@example.com"} | mismatch),
        (f"{users}add/", {"email": "working@example.com"} | password),
        (f"{users}{ids['keyless']}/password/", password),
        (f"{users}{ids['working']}/password/", mismatch),
        (f"{users}{ids['working']}/change/", {"is_staff": "on"}),
        ("/admin/password_change/", {"old_password": markers["wrong password"]}),
    ):
        assert drive.submit(admin, path, **changes).status_code == 200, path
    sync = f"{drive.url}/admin/voices/voice/sync/"
    form = {"csrfmiddlewaretoken": admin.cookies["csrftoken"]}
    for fault in ("", "bad request", "odd records"):
        drive.ultravox.fault = faults(drive).get(fault)
        answer = admin.post(sync, data=form, headers={"referer": drive.url}, timeout=30)
        assert answer.status_code == 200
    drive.ultravox.fault = None
    return admin


def crawl_admin(drive: Drive, admin: requests.Session) -> None:
    pages = drive.crawl(admin)
    for name in ("agencies/agency", "agencies/user", "voices/voice", "voices/syncrun"):
        assert f"/admin/{name}/" in pages
        assert any(path.startswith(f"/admin/{name}/") and "/change/" in path for path in pages)
        assert any(path.startswith(f"/admin/{name}/") and "/history/" in path for path in pages)
        admin.get(f"{drive.url}/admin/{name}/?q=e", timeout=30)
    agency = f"/admin/agencies/agency/{drive.ids['agency newline']}"
    delete = f"{agency}/delete/"
    assert delete in pages
    assert drive.submit(admin, delete).status_code == 200
    staff = drive.log_in("staff@example.com", "staff password")
    assert "/admin/agencies/agency/" not in drive.crawl(staff)
    assert staff.get(f"{drive.url}{agency}/change/", timeout=30).status_code == 403


def drive_broken_database(drive: Drive, admin: requests.Session) -> None:
    """Let the database fail under views that hold secrets."""
    markers, database = drive.markers, drive.database
    token = drive.sign_in("working")["access"]

    def assert_syncs_fail() -> None:
        assert drive.sync(token) == 500
        assert drive.post(SYNC, apikey=markers["service key"]).status_code == 500

    drive.refuse_voices()
    assert_syncs_fail()
    path = f"/admin/agencies/agency/{drive.ids['agency revoked']}/change/"
    form = Page(admin.get(f"{drive.url}{path}", timeout=30).text).fields
    form["new_key"] = markers["new key"]
    database.rows("ALTER TABLE agencies RENAME TO agencies_away")
    assert admin.post(f"{drive.url}{path}", data=form, timeout=30).status_code == 500
    assert_syncs_fail()
    database.rows("ALTER TABLE agencies_away RENAME TO agencies")
    database.rows("ALTER TABLE users RENAME TO users_away")
    assert drive.sign_in("working") == 500
    assert drive.sync(token) == 500
    drive.log_in("super@example.com", "password")
    assert ("POST", "/admin/login/?next=/admin/", 500) in drive.answers
    database.rows("ALTER TABLE users_away RENAME TO users")
    # Errors that Django answers by itself
    for bad in ("/admin/voices/syncrun/?user__password=x", "/admin/nothing/", "/admin/r/1/1/"):
        assert admin.get(f"{drive.url}{bad}", timeout=30).status_code in (400, 404)
    assert admin.post(f"{drive.url}{path}", data={"new_key": "x"}, timeout=30).status_code == 403
    host = {"host": "elsewhere.example", "apikey": markers["service key"]}
    assert drive.post(SYNC, **host).status_code == 400


def drive_commands(drive: Drive) -> None:
    sync = "sync_voices -v 3 --traceback --agency"
    failing = ("revoked", "undecryptable", "newline", "ascii", "keyless")
    assert drive.commands(
        "check",
        "check --deploy",
        "sync_voices -v 3",
        *(f"{sync} {drive.ids[f'agency {name}']}" for name in failing),
        "rotate_credentials -v 3",
        "rotate_credentials -v 3 --traceback",
        "createsuperuser --noinput --email=made@example.com",
        "migrate -v 3",
        "dumpdata agencies",
        "dumpdata voices",
        "dumpdata axes admin",
    ) == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    drive.refuse_voices()
    assert drive.commands("sync_voices -v 3 --traceback") == [1]
    drive.accept_voices()
    # Settings that do not serve
    keys = drive.project.environment["CREDENTIALS_KEYS"]
    broken = f"{drive.markers['broken Fernet key']},{keys}"
    drive.project.environment["CREDENTIALS_KEYS"] = broken
    lines = ("check", "rotate_credentials --traceback", f"{sync} {drive.ids['agency working']}")
    assert drive.commands(*lines) == [1, 1, 1]
    drive.project.environment["CREDENTIALS_KEYS"] = keys


def drive_schedule(drive: Drive, admin: requests.Session) -> None:
    """Run the task from the admin and by beat, each with and without an error."""
    path = "/admin/django_celery_beat/periodictask/"
    count = "SELECT count(*) FROM voice_sync_runs WHERE trigger = 'schedule' AND status = '{}'"
    task = drive.database.value(
        "SELECT id FROM django_celery_beat_periodictask WHERE task = 'voices.sync_voices'"
    )
    for name, status in (("no page", "failed"), ("", "succeeded")):
        drive.ultravox.fault = faults(drive).get(name)
        response = drive.submit(admin, path, action="run_tasks", _selected_action=str(task))
        assert "1 task was successfully run" in response.text
        assert drive.database.value(count.format(status))
    drive.ultravox.fault = faults(drive)["no page"]
    drive.project.sync_every(1)
    beat = ("-m", "celery", "--app", "voiceproject", "beat", "--loglevel=debug")
    process = drive.project.start(*beat, log="beat")
    wait_for(lambda: "by e-mail" in drive.project.log("beat"))  # with the third failure
    drive.ultravox.fault = None
    wait_for(lambda: "succeeded in" in drive.project.log("beat"))
    process.terminate()
    process.wait(10)


@pytest.mark.parametrize("debug", ["false", "true"], ids=["production", "debug"])
def test_secrets_stay_where_they_belong(
    project: Callable[..., Project], ultravox: Ultravox, debug: str
) -> None:
    with Listener() as elsewhere:
        drive = Drive(project, ultravox, elsewhere, debug)
        assert_no_leaks(drive, debug)


def assert_no_leaks(drive: Drive, debug: str) -> None:
    markers, ultravox = drive.markers, drive.ultravox
    if debug == "true":  # which logs more, and else makes a difference to errors of requests only
        drive_commands(drive)
    drive.serve()
    drive_api(drive)
    drive_reading(drive)
    admin = drive_admin(drive)
    if debug == "true":
        crawl_admin(drive, admin)
        drive_schedule(drive, admin)
    drive_broken_database(drive, admin)
    events = wait_for(lambda: drive.events("exception"), what="an event at Sentry")
    assert {"OperationalError", "ProgrammingError"} & {
        error["type"] for event in events for error in event["exception"]["values"]
    }
    assert all(event["tags"].keys() == {"request_id", "run"} for event in events)
    assert not [body for *_, body in drive.elsewhere.requests if b'"vars"' in body]
    if debug == "true":
        assert any(markers["ping"] in target for target in drive.elsewhere.targets)
    drive.project.stop()
    drive.collect()
    # The markers were in play, and went where they belong.
    sent = {request.headers["x-api-key"] for request in ultravox.listings}
    assert {markers[name] for name in ("working key", "revoked key", "new key")} <= sent
    for request in ultravox.requests:
        rest = {key: value for key, value in request.headers.items() if key != "x-api-key"}
        assert markers.found_in(f"{request.target} {rest}".encode()) <= {"Ultravox's error"}
        assert request.body == b""
    outputs = {Path(output.where).name: output.what for output in drive.outputs}
    assert markers.found_in(outputs["ultravox_voices.definition"]) == DEFINITIONS
    assert any("session" in "".join(markers.found_in(what)) for what in outputs.values())
    for log in ("web.log", "beat.log")[: 1 + (debug == "true")]:
        assert b"DEBUG" in outputs[log]
    assert drive.leaks() == {}
    # The last four characters of a key are shown, to tell keys apart.
    hint = f"••••{markers['new key'][-4:]}"
    assert any(html.escape(hint).encode() in output.what for output in drive.outputs)
