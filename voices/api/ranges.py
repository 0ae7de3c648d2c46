"""Range requests, which Django does not support. Safari plays no audio without them."""

import re

from django.http import HttpRequest, HttpResponse

from voiceproject.errors import RangeNotSatisfiable

# Several ranges are ignored, as RFC 9110, section 14, allows.
RANGE = re.compile(r"bytes=(?=.*\d)(\d{0,18})-(\d{0,18})\Z", re.ASCII)


def apply_range(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Reduce a 200 response, which has an ETag, to the requested range. Raises RangeNotSatisfiable."""
    if response.status_code != 200:
        return response
    response["Accept-Ranges"] = "bytes"
    match = RANGE.match(request.headers.get("Range", ""))
    if not match or request.headers.get("If-Range", response["ETag"]) != response["ETag"]:
        return response
    start, end = match.groups()
    if start and end and int(end) < int(start):
        return response
    size = len(response.content)
    if start:
        first, last = int(start), min(int(end or size), size - 1)
    else:
        first, last = max(0, size - int(end)), size - 1
    if first >= size:
        raise RangeNotSatisfiable(size)
    response.status_code = 206
    response.content = response.content[first : last + 1]
    response["Content-Range"] = f"bytes {first}-{last}/{size}"
    return response
