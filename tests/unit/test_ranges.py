"""Range requests, as RFC 9110, section 14, defines them."""

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from voiceproject.errors import RangeNotSatisfiable
from voices.api.ranges import apply_range

CONTENT = bytes(range(100))


def response_to(**headers: str) -> HttpResponse:
    request = RequestFactory().get("/", headers=headers)
    return apply_range(request, HttpResponse(CONTENT, headers={"ETag": '"tag"'}))


@pytest.mark.parametrize(
    ("requested", "first", "last"),
    [
        ("bytes=0-1", 0, 1),
        ("bytes=10-", 10, 99),
        ("bytes=-5", 95, 99),
        ("bytes=0-", 0, 99),
        ("bytes=5-999999999", 5, 99),
        ("bytes=-99999999", 0, 99),
    ],
)
def test_range(requested: str, first: int, last: int) -> None:
    for headers in ({}, {"if-range": '"tag"'}):
        response = response_to(range=requested, **headers)
        assert (response.status_code, response.content) == (206, CONTENT[first : last + 1])
        assert response["Content-Range"] == f"bytes {first}-{last}/100"


INVALID = ("bytes=5-4", "bytes=-", "bytes=0-1,5-6", "items=0-1", "bytes=x-", f"bytes={'9' * 5000}-")
OTHER_VERSION = {"range": "bytes=0-1", "if-range": '"old"'}


@pytest.mark.parametrize("headers", [*({"range": text} for text in INVALID), OTHER_VERSION])
def test_an_invalid_range_or_another_version_gets_everything(headers: dict[str, str]) -> None:
    response = response_to(**headers)
    assert (response.status_code, response.content) == (200, CONTENT)
    assert response["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("requested", ["bytes=100-", "bytes=999999999-", "bytes=-0"])
def test_a_range_after_the_end(requested: str) -> None:
    with pytest.raises(RangeNotSatisfiable) as error:
        response_to(range=requested)
    assert error.value.headers == {"Content-Range": "bytes */100"}
