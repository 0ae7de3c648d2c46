"""The WSGI entry point: `gunicorn voiceproject.wsgi`."""

import contextlib
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from django.core.wsgi import get_wsgi_application
from gunicorn.http.errors import ParseException

# Sets DJANGO_SETTINGS_MODULE and the celery application that sends tasks.
import voiceproject.celery  # noqa: F401

django = get_wsgi_application()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read what the view left of the request body, before the response is sent.

    gunicorn closes the connection after an unread body of more than 64 kB. nginx, which is still
    sending it, then reports an error instead of passing on the response.
    """
    response = django(environ, start_response)
    with contextlib.suppress(OSError, ParseException):  # the client left, or sent a malformed body
        while environ["wsgi.input"].read(64 * 1024):
            pass
    return response
