"""Redirects to HTTPS."""

from typing import Any

import pytest
from django.test import Client

from tests.support.answers import BOTH_SPELLINGS, REFRESH, TOKEN


@pytest.fixture
def browser(db: None, settings: Any) -> Client:
    settings.SECURE_SSL_REDIRECT = True
    return Client(headers={"host": "localhost"})


@pytest.mark.parametrize("page", ["/", "/login/", "/admin/", "/admin/login/"])
def test_page_redirects(browser: Client, page: str) -> None:
    response = browser.get(page)
    assert (response.status_code, response["Location"]) == (301, f"https://localhost{page}")


@pytest.mark.parametrize(
    ("method", "address"),
    [
        *(("POST", address) for address in (*BOTH_SPELLINGS, TOKEN, TOKEN[:-1], REFRESH)),
        *(("GET", address) for address in ("/api/voices/sync/", "/api/schema/", "/api/")),
        *(("GET", "/nothing"), ("POST", "/nothing/")),
    ],
)
def test_other_addresses_never_redirect(browser: Client, method: str, address: str) -> None:
    response = browser.generic(method, address)
    assert response.status_code in (200, 400, 401, 404, 405)
    assert "Location" not in response
