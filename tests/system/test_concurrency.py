"""Syncs at the same time, in several processes: each agency's key is used once at a time."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from rest_framework_simplejwt.tokens import AccessToken

from tests.support.environment import SERVICE_KEY
from tests.support.project import Project, wait_for
from tests.support.seeding import add_agency, add_user
from tests.ultravox import Ultravox

RUNS = "SELECT trigger, status, error_code FROM voice_sync_runs ORDER BY id"


def post(url: str, **headers: str) -> requests.Response:
    return requests.post(f"{url}/functions/v1/voices-sync", headers=headers, timeout=60)


@pytest.fixture
def site(project: Callable[..., Project], ultravox: Ultravox) -> Project:
    return project(ULTRAVOX_API_URL=ultravox.url)


@pytest.mark.entry_point
def test_twenty_posts_are_at_most_two_syncs(site: Project, ultravox: Ultravox) -> None:
    add_agency(site)
    url = site.serve()
    ultravox.latency = 0.2
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda _: post(url, apikey=SERVICE_KEY), range(20)))
    assert [response.status_code for response in responses] == [200] * 20
    assert {response.json()["stats"]["synced"] for response in responses} == {300}
    syncs = len(ultravox.listings) // 3
    assert syncs <= 2
    assert site.database.rows(RUNS) == [("service", "succeeded", "")] * syncs


def test_more_syncs_than_a_process_has_slots_for(site: Project, ultravox: Ultravox) -> None:
    """Of forty, 24 wait for Ultravox and 16 are `busy` at once; pages still load quickly."""
    add_agency(site)
    url = site.serve("--workers=1")
    ultravox.hold_after(0)
    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(post, url, apikey=SERVICE_KEY) for _ in range(40)]
        wait_for(lambda: sum(call.done() for call in calls) == 16)
        began = time.monotonic()
        for response in [call.result() for call in calls if call.done()]:
            assert (response.status_code, response.json()["code"]) == (503, "busy")
            assert 0 < int(response.headers["Retry-After"]) <= 10
        assert requests.get(f"{url}/admin/login/", timeout=10).status_code == 200
        assert time.monotonic() - began < 2
        ultravox.release()
        assert sorted(call.result().status_code for call in calls) == [200] * 24 + [503] * 16
    assert post(url, apikey=SERVICE_KEY).status_code == 200


def test_all_entry_points_join_one_sync_and_share_its_failure(
    site: Project, ultravox: Ultravox
) -> None:
    token = AccessToken.for_user(add_user(site, add_agency(site)))
    url = site.serve()
    ultravox.hold_after(1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, url, authorization=f"Bearer {token}")
        ultravox.wait_for_requests(2)
        other = pool.submit(post, url, apikey=SERVICE_KEY)
        command = site.start("manage.py", "sync_voices", "-v", "2", log="command")
        wait_for(lambda: "Waiting for run 1" in site.log("web"))
        wait_for(lambda: "Waiting for run 1" in site.log("command"))
        ultravox.fault = lambda exchange: exchange.reply(418, {})
        ultravox.release()
        assert [call.result().status_code for call in (first, other)] == [502] * 2
    assert command.wait(20) == 1
    assert "418" in site.log("command")
    assert len(ultravox.listings) == 3
    assert site.database.rows(RUNS) == [("user", "failed", "ultravox_error")]


def test_a_definition_nested_deeply_does_not_exhaust_the_servers_stack(
    site: Project, ultravox: Ultravox
) -> None:
    add_agency(site)
    url = site.serve("--workers=1")
    for depth, statuses in ((900, {200}), (20_000, {200, 502})):
        nested = '{"a": ' * depth + "1" + "}" * depth
        page = f'{{"results": [{{"voiceId": "deep", "definition": {nested}}}], "next": null}}'
        ultravox.fault = lambda exchange, page=page: exchange.reply(200, page)
        assert post(url, apikey=SERVICE_KEY).status_code in statuses
    assert site.database.value("SELECT count(*) FROM ultravox_voices WHERE id = 'deep'") == 1
