"""What web server, worker and beat write to standard error, and the ids in it."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from django.test import Client

from operations.tasks import prune
from tests.support.environment import SERVICE_KEY
from tests.support.project import Project, free_port, on_sqlite, wait_for
from tests.support.seeding import add_agency
from tests.support.services import redis_database
from tests.ultravox import Ultravox
from voiceproject.logging import formats

FIELDS = {"time", "level", "logger", "message", "request_id", "run"}
ID = "id-of_this-Request-1"
CELERY = ("-m", "celery", "--quiet", "-A", "voiceproject")  # no banner on standard output
TASK = "django_celery_beat_periodictask"
SEND_TWO = f"""
from voiceproject.logging import formats
from voices.tasks import sync_voices
sync_voices.delay()
formats.request_id.set("{ID}")  # as the middleware does
sync_voices.delay()
"""
Line = dict[str, Any]


def lines(site: Project, log: str, request_id: str = "") -> list[Line]:
    """Return a log's lines, each of which is an object with all fields: all, or those with this id."""
    read: list[Line] = [json.loads(line) for line in site.log(log).splitlines()]
    for line in read:
        assert line.keys() >= FIELDS
    return [line for line in read if request_id in ("", line["request_id"])]


@pytest.fixture
def site(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    return project(LOG_FORMAT="json", ULTRAVOX_API_URL=ultravox.url)


def test_web_server_s_lines_have_the_request_s_id(site: Project, ultravox: Ultravox) -> None:
    agency = add_agency(site)
    url = site.serve("--access-logfile=-", "--workers=1", "--threads=1")
    key = {"apikey": SERVICE_KEY}
    ultravox.fault = "status_500_once"
    response = requests.post(f"{url}/api/voices/sync/", headers=key | {"X-Request-ID": ID})
    assert (response.status_code, response.headers["X-Request-ID"]) == (200, ID)
    ultravox.fault = "status_400"
    response = requests.post(f"{url}/api/voices/sync/", headers=key)
    failed = response.headers["X-Request-ID"]
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", failed)
    log = lines(site, "web")
    assert {"gunicorn.error", "gunicorn.access"} <= {line["logger"] for line in log}
    [good] = [line for line in lines(site, "web", ID) if "outcome" in line]
    assert good["message"].endswith(" outcome=succeeded")
    names = ("level", "trigger", "agency", "run", "pages", "voices", "skipped", "retries")
    assert [good[name] for name in names] == ["INFO", "service", agency, 1, 3, 300, 0, 1]
    assert "gunicorn.access" in {line["logger"] for line in lines(site, "web", ID)}
    assert {line["run"] for line in lines(site, "web", ID) if "Retrying" in line["message"]} == {1}
    [bad] = [line for line in lines(site, "web", failed) if "outcome" in line]
    assert (bad["run"], bad["outcome"], bad["level"]) == (2, "ultravox_error", "WARNING")


@pytest.mark.parametrize("value", ["", "a b", "x" * 65, "é", "a,b", "a\tb", "<x>"])
def test_invalid_request_id_is_replaced(client: Client, value: str) -> None:
    responses = [client.get("/livez", headers={"x-request-id": value}) for _ in range(2)]
    assert len({response["X-Request-ID"] for response in responses} - {value}) == 2


def test_failed_tasks_leave_beat_running_and_each_line_an_object(
    site: Project, ultravox: Ultravox
) -> None:
    add_agency(site)
    site.sync_every(1)
    site.database.rows("ALTER TABLE voice_sync_workers RENAME TO away")  # `prune` fails
    site.database.rows(
        f"UPDATE {TASK} SET last_run_at = '2020-01-01 00:00:00' WHERE task LIKE 'op%'"
    )
    ultravox.fault = "status_400"
    site.start(*CELERY, "beat", "--loglevel=DEBUG", log="beat")
    wait_for(lambda: site.log("beat").count("outcome=ultravox_error") > 1, 30, "two failures")
    ultravox.fault = None
    wait_for(lambda: "succeeded in" in site.log("beat"), 30, "a good sync")
    log = lines(site, "beat")
    assert {"DEBUG", "INFO"} <= {line["level"] for line in log}
    [trace] = [line for line in log if "trace" in line]
    assert "operations.prune" in trace["message"]
    assert "Traceback" in trace["trace"]
    good = next(line for line in log if line.get("outcome") == "succeeded")
    assert any(
        "succeeded in" in line["message"] for line in lines(site, "beat", good["request_id"])
    )
    ids = [line["request_id"] for line in log if "outcome" in line]
    assert len(ids) == len(set(ids) - {None})  # one for each task


@pytest.mark.django_db
def test_eager_task_has_its_request_s_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(formats.JSONFormatter())
    caplog.set_level("INFO")
    token = formats.request_id.set(ID)
    prune.delay()
    assert formats.request_id.get() == ID
    formats.request_id.reset(token)
    prune.delay()
    ids = [json.loads(line)["request_id"] for line in caplog.text.splitlines() if "Removed" in line]
    assert ids[0] == ID
    assert ids[1] not in (ID, None)


@pytest.mark.broker
def test_worker_s_lines_have_the_id_of_the_request_that_sent_the_task(
    project: Callable[..., Project], ultravox: Ultravox
) -> None:
    with redis_database() as broker:
        site = project(LOG_FORMAT="json", ULTRAVOX_API_URL=ultravox.url, CELERY_BROKER_URL=broker)
        add_agency(site)
        site.database.rows("ALTER TABLE voice_sync_workers RENAME TO away")  # heartbeats fail
        site.start(*CELERY, "worker", "--concurrency=1", "--loglevel=DEBUG", log="worker")
        assert site.manage("shell", "-c", SEND_TWO).returncode == 0
        wait_for(lambda: site.log("worker").count("succeeded in") == 2, 30, "both tasks")
        site.stop()
    ids = {line["request_id"] for line in lines(site, "worker")} - {None}
    assert ID in ids
    assert len(ids) == 2
    for request_id in ids:
        text = " ".join(line["message"] for line in lines(site, "worker", request_id))
        assert text.count("Sync ended: trigger=schedule") == text.count("succeeded in") == 1
    assert "heartbeat could not be recorded" in site.log("worker")


@on_sqlite  # about no database
@pytest.mark.parametrize("module", ["gunicorn", "celery"])
def test_wrong_settings_are_reported_in_one_line(site: Project, module: str) -> None:
    options = {
        "gunicorn": ["--config", "gunicorn.conf.py", f"--bind=127.0.0.1:{free_port()}"],
        "celery": ["-A", "voiceproject", "beat"],
    }[module]
    process = site.start("-m", module, *options, log="refused", DJANGO_SECRET_KEY="")
    assert process.wait(30) == 1
    [line] = lines(site, "refused")
    assert "DJANGO_SECRET_KEY is not set" in line["message"]
