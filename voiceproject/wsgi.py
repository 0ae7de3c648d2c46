"""The WSGI entry point: `gunicorn voiceproject.wsgi`."""

import contextlib
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from django.core.wsgi import get_wsgi_application
from gunicorn.http.errors import ParseException

# It names the settings, and the admin's "run selected tasks" sends through it.
import voiceproject.celery  # noqa: F401

django = get_wsgi_application()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Read what no view did of a body before the answer is sent.

    gunicorn closes the connection after an unread body of over 64 kB, and nginx, still sending it, then
    fails instead of handing on the answer.
    """
    answer = django(environ, start_response)
    with contextlib.suppress(OSError, ParseException):  # it is gone, or malformed
        while environ["wsgi.input"].read(64 * 1024):
            pass
    return answer
