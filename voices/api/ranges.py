"""Answer requests for a part of what is at hand: Django does not, and Safari plays nothing without it."""

import re

from django.http import HttpRequest, HttpResponse

from voiceproject.errors import RangeNotSatisfiable

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)  # one; who asks for several gets all


def with_range(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Cut a 200 down to the part that the request asks for, if it does; the response has an ETag.

    Raises RangeNotSatisfiable if there is no such part. Source: RFC 9110, section 14.
    """
    if response.status_code != 200:
        return response
    response["Accept-Ranges"] = "bytes"
    asked = RANGE.match(request.headers.get("Range", ""))
    is_current = request.headers.get("If-Range", response["ETag"]) == response["ETag"]
    if not asked or not is_current:
        return response
    size = len(response.content)
    match asked.groups():
        case "", "":
            return response
        case "", length:
            first, last = max(0, size - int(length)), size - 1
        case start, end:
            first, last = int(start), min(int(end or size), size - 1)
            if end and int(end) < first:
                return response
    if first >= size:
        raise RangeNotSatisfiable(size)
    response.status_code = 206
    response.content = response.content[first : last + 1]
    response["Content-Range"] = f"bytes {first}-{last}/{size}"
    return response
