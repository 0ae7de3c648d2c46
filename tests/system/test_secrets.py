"""No secret appears in a response, a log, a table, a command's output, a ping or an event for Sentry.

Random markers stand for secrets. A web server, syncs and commands succeed and fail. Then all their output is
searched for the markers.
"""

import json
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
import requests
from cryptography.fernet import Fernet
from django.apps import apps

from tests.support.listener import Listener
from tests.support.project import Project, on_sqlite, wait_for
from tests.ultravox import Ultravox

SYNC, TOKEN, LOGIN = "/functions/v1/voices-sync", "/api/token/", "/admin/login/?next=/admin/"
# The letters that replace the braces survive any quoting.
FORMS = {
    'p "{}" &<%>': ["working key", "rejected key", "new key", "password", "wrong password"],
    'said: "{}" & <more>': ["Ultravox's error"],
    'service-"{}"-&<%>': ["service key", "wrong service key"],
    "{}-0123456789-abcdefghijklmnopqrstuvwxyz": ["secret key", "JWT secret"],
    "{}": ["database password", "metrics token", "ping", "e-mail password", "undecryptable key"],
    "https://tts.example/?token={}&b=<c>": ["definition url"],
    'Bearer "{}"': ["definition header", "definition body"],
}
IN_DEFINITION = {"definition url", "definition header", "definition body"}
SEED = """
import json, os
from cryptography.fernet import Fernet
from agencies.models import Agency, User
secrets = json.loads(os.environ["SECRETS"])
for name in ("working", "rejected", "undecryptable"):
    agency = Agency.objects.create(name=name, ultravox_api_key=secrets[name + " key"])
    user = User.objects.create_user(f"{name}@example.com", secrets["password"], agency=agency)
    user.is_staff = user.is_superuser = name == "working"
    user.save()
key = Fernet(Fernet.generate_key()).encrypt(secrets["undecryptable key"].encode()).decode()
Agency.objects.filter(name="undecryptable").update(encrypted_key=key)
"""
RUN_TASK = "from voices.tasks import sync_voices; [sync_voices.apply() for _ in range(3)]"


class Markers(dict[str, str]):
    """Secrets by name."""

    def __init__(self) -> None:
        self.letters: dict[str, str] = {}
        for form, names in FORMS.items():
            for name in names:
                letters = secrets.token_hex(12)
                self.add(name, form.format(letters), letters)

    def add(self, name: str, value: str, letters: str = "") -> str:
        self.letters[name] = letters or value[-27:-3]
        self[name] = value
        return value

    def found_in(self, output: str) -> set[str]:
        """Return the names of secrets of which at least half is in the output."""
        halves = [(name, part) for name, x in self.letters.items() for part in (x[:12], x[12:])]
        return {name for name, part in halves if part in output}


class Drive:
    """A project whose secrets are markers, and all its output."""

    def __init__(
        self, project: Callable[..., Project], ultravox: Ultravox, listener: Listener, **more: str
    ) -> None:
        self.markers = markers = Markers()
        self.ultravox, self.listener = ultravox, listener
        self.outputs: list[tuple[str, str, set[str]]] = []  # place, text, secrets that belong there
        generic = {
            "url": markers["definition url"],
            "headers": {"Authorization": markers["definition header"]},
            "body": {"unknown": [markers["definition body"]]},
        }
        self.voice = {
            "voiceId": "v",
            "name": "V",
            "previewUrl": f"{ultravox.url}/api/voices/v/preview",
            "definition": {"generic": generic},
        }
        ultravox.voices = [self.voice]
        ultravox.keys = {markers["working key"], markers["new key"]}
        elsewhere = f"127.0.0.1:{listener.port}"
        self.project = project(
            DJANGO_LOG_LEVEL="DEBUG",
            DJANGO_SECRET_KEY=markers["secret key"],
            CREDENTIALS_KEYS=markers.add("Fernet key", Fernet.generate_key().decode()),
            SERVICE_API_KEYS=markers["service key"],
            SUPABASE_JWT_SECRET=markers["JWT secret"],
            METRICS_TOKEN=markers["metrics token"],
            SYNC_PING_URL=f"http://{elsewhere}/{markers['ping']}",
            SENTRY_DSN=f"http://public@{elsewhere}/1",
            ADMINS="ada@example.com",
            EMAIL_URL=f"smtp://ada:{markers['e-mail password']}@127.0.0.1:9",
            ULTRAVOX_API_URL=ultravox.url,
            ULTRAVOX_DEADLINE="0.8",
            **more,
        )
        self.database = self.project.database
        if self.database.is_postgresql:
            with_password = f"//postgres:{markers['database password']}@"
            url = re.sub("//([^@/]*@)?", with_password, self.database.url)
            self.project.environment["DATABASE_URL"] = url
        assert self.manage("shell", "-c", SEED, SECRETS=json.dumps(markers)) == 0
        self.agencies = dict(self.database.rows("SELECT name, id FROM agencies"))
        self.url = self.project.serve("--workers=1", "--log-level=debug", "--access-logfile=-")
        self.http = requests.Session()
        self.http.hooks["response"].append(self._add_response)

    def manage(self, *arguments: str, **environment: Any) -> int:
        done = self.project.manage(*arguments, **environment)
        self.outputs.append((f"manage.py {arguments}", done.stdout + done.stderr, set()))
        return done.returncode

    def call(self, method: str, path: str, status: int, body: Any = None, **headers: str) -> Any:
        url = f"{self.url}{path}"
        response = self.http.request(method, url, json=body, headers=headers, timeout=30)
        assert response.status_code == status, (path, response.text)
        return response

    def _add_response(self, response: requests.Response, *_: Any, **__: Any) -> None:
        path = str(response.request.path_url)
        values = [*response.json().values()] if path == TOKEN and response.ok else []
        values += re.findall(r"/preview\?signature=[^\"':]+:([\w-]+)", response.text)
        values += [value for name, value in response.cookies.items() if name == "sessionid"]
        allowed = {self.markers.add(value, value) for value in values}
        self.outputs.append((path, f"{response.headers}\n{response.text}", allowed))

    def sign_in(self, name: str) -> str:
        """Return an authorization header."""
        body = {"email": f"{name}@example.com", "password": self.markers["password"]}
        return f"Bearer {self.call('POST', TOKEN, 200, body).json()['access']}"

    def submit(self, path: str, **fields: str) -> None:
        """Send a form of the admin."""
        page = self.call("GET", path, 200).text
        inputs = dict(re.findall(r'<input [^>]*name="([^"]+)"[^>]* value="([^"]*)"', page))
        referer = {"referer": self.url}
        form = inputs | fields
        response = self.http.post(f"{self.url}{path}", data=form, headers=referer, timeout=30)
        assert response.status_code == 200, response.text

    def collect(self) -> None:
        """Add all columns, log files, and requests to Ultravox, the watchdog and Sentry."""
        sessions = {
            cookie.value or "" for cookie in self.http.cookies if cookie.name == "sessionid"
        }
        allowed = {"definition": IN_DEFINITION, "session_key": sessions}
        for model in apps.get_models(include_auto_created=True):
            for column in [str(field.column) for field in model._meta.concrete_fields]:
                rows = self.database.rows(f'SELECT "{column}" FROM "{model._meta.db_table}"')
                self.outputs.append((column, str(rows), allowed.get(column, set())))
        for file in self.project.folder.rglob("*.log"):
            self.outputs.append((file.name, file.read_text(), set()))
        for _, target, head, body in self.listener.requests:
            pinged = {"ping"} & self.markers.found_in(target)
            self.outputs.append((target[:5], f"{target}{head}{body.decode()}", pinged))
        for request in self.ultravox.requests:
            others = {name: value for name, value in request.headers.items() if name != "x-api-key"}
            self.outputs.append(("Ultravox", f"{request.target} {others}", set()))


def use_api(drive: Drive) -> None:
    markers = drive.markers
    bearer, service = drive.sign_in("working"), markers["service key"]
    drive.call("POST", SYNC, 200, authorization=bearer)
    drive.call("POST", SYNC, 200, apikey=service)
    drive.call("POST", SYNC, 401, authorization=f"{bearer}x")
    drive.call("POST", SYNC, 401, apikey=markers["wrong service key"])
    drive.call("POST", TOKEN, 401, {"email": "x", "password": markers["wrong password"]})
    drive.call("GET", "/metrics", 200, authorization=f"Bearer {markers['metrics token']}")
    drive.call("GET", "/nothing", 404, authorization=bearer, apikey=service)
    drive.call("GET", "/api/sync-runs/", 200, apikey=service)
    drive.call("GET", "/api/voices/v/", 200, apikey=service)
    drive.call("POST", SYNC, 502, authorization=drive.sign_in("rejected"))
    drive.call("POST", SYNC, 500, authorization=drive.sign_in("undecryptable"))


def let_ultravox_fail(drive: Drive) -> None:
    """Let Ultravox quote secrets in its responses to syncs and preview requests."""
    said, key = drive.markers["Ultravox's error"], drive.markers["working key"]
    bearer = drive.sign_in("working")
    [row] = drive.call("GET", "/api/voices/", 200, authorization=bearer).json()["results"]
    link = row["preview_url"].removeprefix(drive.url)
    detail = {"detail": said, "key": key, "voice": drive.voice}
    location = {"Location": f"http://127.0.0.1:9/{quote(key)}?{quote(said)}"}
    odd_page = {"results": [said, {"voiceId": detail}, {"voiceId": said * 100}], "next": None}
    for reply, status in (
        ({"status": 500, "body": detail}, 502),
        ({"status": 200, "body": detail}, 502),
        ({"status": 302, "body": detail, "headers": location}, 502),
        ({"status": 200, "body": odd_page}, 200),
    ):
        drive.ultravox.fault = lambda exchange, reply=reply: exchange.reply(**reply)  # type: ignore[misc]
        drive.ultravox.previews = drive.ultravox.fault  # type: ignore[assignment]
        drive.call("POST", SYNC, status, authorization=bearer)
        drive.database.rows(f"UPDATE ultravox_voices SET definition = '{status + len(str(reply))}'")
        drive.call("GET", link, 502)
    assert drive.manage("shell", "-c", RUN_TASK) == 0  # with pings and an e-mail
    drive.ultravox.fault = None
    drive.call("POST", SYNC, 200, authorization=bearer)


def use_admin(drive: Drive) -> None:
    markers, login = drive.markers, {"username": "working@example.com"}
    drive.submit(LOGIN, **login, password=markers["wrong password"])
    drive.submit(LOGIN, **login, password=markers["password"])
    agency = f"/admin/agencies/agency/{drive.agencies['working']}/change/"
    drive.submit(agency, name="", new_key=markers["new key"])
    drive.submit(agency, name="working", new_key=markers["new key"])
    for page in ("agencies/agency/", "voices/voice/v/change/", "voices/syncrun/"):
        drive.call("GET", f"/admin/{page}", 200)


def run_commands(drive: Drive) -> None:
    assert drive.manage("doctor") == 1
    assert drive.manage("sync_voices", "-v", "3", "--traceback") == 0
    for name in ("rejected", "undecryptable"):
        assert (
            drive.manage("sync_voices", "--traceback", "--agency", str(drive.agencies[name])) == 1
        )


def let_the_database_fail(drive: Drive) -> None:
    drive.ultravox.voices[0]["name"] = "Changed"
    if drive.database.is_postgresql:  # its error quotes the row
        drive.database.rows("ALTER TABLE ultravox_voices ADD CHECK (name <> 'Changed') NOT VALID")
        drive.call("POST", SYNC, 500, apikey=drive.markers["service key"])
    drive.database.rows("ALTER TABLE voice_sync_runs RENAME TO runs_away")
    drive.call("POST", SYNC, 500, apikey=drive.markers["service key"])
    drive.call("GET", "/admin/voices/syncrun/", 500)
    drive.database.rows("ALTER TABLE runs_away RENAME TO voice_sync_runs")
    requests = drive.listener.requests
    wait_for(lambda: any(b'"exception"' in body for *_, body in requests), what="Sentry's event")
    assert not [body for *_, body in requests if b'"vars"' in body]


@pytest.mark.parametrize(
    ("debug", "log_format"), [("false", "json"), pytest.param("true", "text", marks=on_sqlite)]
)
def test_secrets_stay_where_they_belong(
    project: Callable[..., Project], ultravox: Ultravox, debug: str, log_format: str
) -> None:
    with Listener() as listener:
        drive = Drive(project, ultravox, listener, DJANGO_DEBUG=debug, LOG_FORMAT=log_format)
        use_api(drive)
        let_ultravox_fail(drive)
        use_admin(drive)
        run_commands(drive)
        let_the_database_fail(drive)
        drive.project.stop()
    drive.collect()
    keys = {request.headers["x-api-key"] for request in ultravox.requests}
    assert {drive.markers[f"{name} key"] for name in ("working", "rejected", "new")} <= keys
    assert drive.markers["ping"] in "".join(listener.targets)
    assert "DEBUG" in drive.project.log("web")
    found = [
        (place, drive.markers.found_in(text), allowed) for place, text, allowed in drive.outputs
    ]
    assert ("definition", IN_DEFINITION, IN_DEFINITION) in found
    assert [(place, names - allowed) for place, names, allowed in found if names - allowed] == []
