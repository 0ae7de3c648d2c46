"""Tell a slash of an address from one that is part of an id, `%2F`, which WSGI does not."""

import re
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from django.core.handlers.wsgi import WSGIRequest, get_path_info
from django.http.response import HttpResponseBase

SLASH = "\0"  # in place of %2F: no id has that character
ENCODED = re.compile("%2f", re.IGNORECASE)


class EncodedSlashes:
    """Middleware that gives voices' addresses with `%2F` a path that holds SLASH there.

    Where the server does not tell the address as it was sent, as gunicorn does, `%2F` stays a slash.
    """

    def __init__(self, get_response: Callable[[WSGIRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: WSGIRequest) -> HttpResponseBase:
        sent = request.META.get("RAW_URI", "").partition("?")[0]
        if sent.startswith("/api/voices/") and ENCODED.search(sent):
            path = unquote_to_bytes(ENCODED.sub("%00", sent)).decode("latin-1")
            request.path_info = get_path_info({"PATH_INFO": path})
        return self.get_response(request)
