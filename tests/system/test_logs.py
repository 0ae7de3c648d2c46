"""What web server, worker and beat write to standard error, and the ids that lead through it."""

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.support.environment import PASSWORD, SERVICE_KEY
from tests.support.project import Project, children, free_port, on_postgresql, wait_for
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

FIELDS = {"time", "level", "logger", "message", "request_id", "run"}
SUMMARY = {"trigger", "agency", "pages", "voices", "skipped", "retries", "seconds", "outcome"}
ID = "id-of_this-Request-1"
CELERY = ("-m", "celery", "--quiet", "-A", "voiceproject")  # no banner on standard output


def lines(project: Project, log: str) -> list[dict[str, Any]]:
    """Return the lines of a log, each of which is an object with all fields."""
    read = [json.loads(line) for line in project.log(log).splitlines()]
    for line in read:
        assert line.keys() >= FIELDS
        assert line.keys() - FIELDS <= SUMMARY | {"trace"}
    return read


def of(log: list[dict[str, Any]], request_id: str) -> list[dict[str, Any]]:
    return [line for line in log if line["request_id"] == request_id]


@pytest.fixture
def site(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    broker = f"filesystem://{project().folder}/broker"
    return project(LOG_FORMAT="json", ULTRAVOX_API_URL=ultravox.url, CELERY_BROKER_URL=broker)


def sign_in(url: str) -> requests.Session:
    """Return a session of the admin."""
    admin = requests.Session()
    token = re.findall('csrfmiddlewaretoken" value="(.*?)"', admin.get(f"{url}/admin/login/").text)
    form = {"csrfmiddlewaretoken": token[0], "username": "user@example.com", "password": PASSWORD}
    admin.post(f"{url}/admin/login/?next=/admin/", data=form)
    return admin


def test_a_request_s_id_leads_from_its_answer_to_the_task_that_it_starts(
    site: Project, ultravox: Ultravox
) -> None:
    agency = add_agency(site)
    add_user(site, agency, is_staff=True, is_superuser=True)
    url = site.serve("--access-logfile=-")
    site.start(*CELERY, "worker", "--concurrency=1", log="worker")
    key = {"apikey": SERVICE_KEY}
    answer = requests.post(f"{url}/api/voices/sync/", headers=key | {"X-Request-ID": ID})
    assert (answer.status_code, answer.headers["X-Request-ID"]) == (200, ID)
    ultravox.fault = "status_500_once"
    headers = key | {"X-Request-ID": "with-a-retry"}
    assert requests.post(f"{url}/api/voices/sync/", headers=headers).status_code == 200
    ultravox.fault = "status_400"
    answer = requests.post(f"{url}/api/voices/sync/", headers=key)
    failed = answer.headers["X-Request-ID"]
    assert re.fullmatch("[A-Za-z0-9_-]{1,64}", failed)
    ultravox.fault = None
    # The admin runs the task
    admin = sign_in(url)
    [task] = site.database.rows(
        "SELECT id FROM django_celery_beat_periodictask WHERE task = 'voices.sync_voices'"
    )
    form = {
        "csrfmiddlewaretoken": admin.cookies["csrftoken"],
        "action": "run_tasks",
        "_selected_action": task[0],
    }
    tasks = f"{url}/admin/django_celery_beat/periodictask/"
    admin.post(tasks, data=form, headers={"X-Request-ID": "from-the-admin", "Referer": url})
    site.send_sync()  # as beat does: no request starts it
    done = "SELECT count(*) FROM voice_sync_runs WHERE trigger = 'schedule' AND status <> 'running'"
    wait_for(lambda: site.database.value(done) == 2, 30, "both tasks")
    wait_for(lambda: site.log("worker").count("succeeded in") == 2, 10, "their ends")
    # The web server's lines
    web = lines(site, "web")
    assert {"gunicorn.error", "gunicorn.access", "voices.sync"} <= {line["logger"] for line in web}
    [good] = [line for line in of(web, ID) if line["logger"] == "voices.sync"]
    assert good | {"seconds": 0} == good | {
        "trigger": "service",
        "agency": agency,
        "run": 1,
        "pages": 3,
        "voices": 300,
        "skipped": 0,
        "retries": 0,
        "seconds": 0,
        "outcome": "succeeded",
        "level": "INFO",
    }
    assert "gunicorn.access" in {line["logger"] for line in of(web, ID)}
    [bad] = [line for line in of(web, failed) if line["logger"] == "voices.sync"]
    assert (bad["run"], bad["outcome"], bad["level"]) == (3, "ultravox_error", "WARNING")
    [retry] = [line for line in of(web, "with-a-retry") if "Retrying a page" in line["message"]]
    assert retry["run"] == 2
    # The worker's
    worker = lines(site, "worker")
    for request_id in ("from-the-admin", worker[-1]["request_id"]):
        words = " ".join(line["message"] for line in of(worker, request_id))
        for word in ("received", "Sync ended: trigger=schedule", "succeeded in"):
            assert words.count(word) == 1
    assert len({line["request_id"] for line in worker} - {None}) == 2


def test_an_id_ends_with_its_request(site: Project) -> None:
    url = site.serve("--workers=1", "--threads=1")
    assert requests.get(f"{url}/nothing", headers={"X-Request-ID": ID}).status_code == 404
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
        assert b" 400 " in connection.recv(1000)
    found = wait_for(lambda: [x for x in lines(site, "web") if "Invalid request" in x["message"]])
    assert [line["request_id"] for line in found] == [None]


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "é", "a,b", "a\tb", "<x>"])
def test_an_id_that_is_none_is_replaced(client: Any, given: str) -> None:
    answers = [client.get("/livez", headers={"x-request-id": given}) for _ in range(2)]
    assert len({answer["X-Request-ID"] for answer in answers} - {given}) == 2


def test_every_line_is_an_object(site: Project) -> None:
    """Warnings, traces and what libraries say, too; of all that a worker with beat does."""
    site.database.rows(
        "UPDATE django_celery_beat_intervalschedule SET every = 1, period = 'seconds'"
    )
    site.database.rows("ALTER TABLE voice_sync_runs_pruned RENAME TO away")  # the other task fails
    site.database.rows("ALTER TABLE voice_sync_workers RENAME TO also_away")
    site.start(*CELERY, "worker", "--concurrency=1", "--loglevel=DEBUG", log="worker")
    site.start(*CELERY, "beat", "--loglevel=DEBUG", log="beat")
    wait_for(lambda: '"trace"' in site.log("worker"), 30, "a trace")
    for log in ("worker", "beat"):
        found = lines(site, log)
        assert {"DEBUG", "INFO"} <= {line["level"] for line in found}
    assert any("Traceback" in line.get("trace", "") for line in lines(site, "worker"))


def test_a_task_whose_process_dies_is_found_by_its_id(site: Project, ultravox: Ultravox) -> None:
    add_agency(site)
    ultravox.hold_after(0)
    worker = site.start(*CELERY, "worker", "--concurrency=1", log="worker")
    site.send_sync()
    ultravox.wait_for_requests(1, 30)
    [child] = children(worker.pid)
    os.kill(child, signal.SIGKILL)

    def found() -> list[str]:
        return [x["request_id"] for x in lines(site, "worker") if "WorkerLost" in x["message"]]

    [lost] = wait_for(found, 30, "what the main process says of it")
    [received] = [x for x in lines(site, "worker") if "received" in x["message"]][:1]
    assert lost
    assert lost == received["request_id"]
    assert "SIGKILL" in site.log("worker")


@on_postgresql
def test_a_worker_s_table_that_is_locked_keeps_it_from_nothing(
    site: Project, ultravox: Ultravox
) -> None:
    add_agency(site)
    with contextlib.closing(site.database.connect()) as connection:
        connection.autocommit = False
        connection.execute("LOCK TABLE voice_sync_workers IN ACCESS EXCLUSIVE MODE")
        site.start(*CELERY, "worker", "--concurrency=1", log="worker")
        wait_for(lambda: "This worker cannot show that it lives" in site.log("worker"), 30)
        site.send_sync()
        wait_for(lambda: "outcome=succeeded" in site.log("worker"), 30, "the sync")


@pytest.mark.parametrize("module", ["gunicorn", "celery"])
def test_settings_that_are_wrong_are_told_in_one_line(site: Project, module: str) -> None:
    options = {
        "gunicorn": ["--config", "gunicorn.conf.py", f"--bind=127.0.0.1:{free_port()}"],
        "celery": ["-A", "voiceproject", "worker"],
    }[module]
    process = site.start("-m", module, *options, log="refused", DJANGO_SECRET_KEY="")
    assert process.wait(30) == 1
    [line] = lines(site, "refused")
    assert "DJANGO_SECRET_KEY is not set" in line["message"]


def test_lines_for_people_have_the_ids_too(
    project: Callable[..., Project], ultravox: Ultravox
) -> None:
    site = project(ULTRAVOX_API_URL=ultravox.url)
    add_agency(site)
    url = site.serve()
    headers = {"apikey": SERVICE_KEY, "X-Request-ID": ID}
    assert requests.post(f"{url}/api/voices/sync/", headers=headers).status_code == 200
    [line] = [line for line in site.log("web").splitlines() if "Sync ended" in line]
    assert line.endswith(f" outcome=succeeded [request {ID}, run 1]")
