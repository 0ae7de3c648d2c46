"""Tell somebody elsewhere how scheduled syncs end.

A watchdog gets a ping after each, and rings when none comes: it notices whatever died here. Administrators
get one e-mail when syncs have failed several times in a row, and one when they work again. Where neither can
be told, the sync is none the worse.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from urllib.parse import urlsplit

import django.db
import requests
from django.conf import settings
from django.core.mail import mail_admins
from django.db.models import F

from voiceproject.database import describe, renew_connection
from voices import runs
from voices.models import Alarm

logger = logging.getLogger(__name__)

PING_SECONDS = 5.0  # at most, whatever the other side does
FAILURES = 3  # in a row, before administrators are told

FAILING = """\
The last {failures} scheduled syncs of Ultravox's voices failed. The last one:

    {reason}

The voices are as they were after the last sync that succeeded. `manage.py doctor` says what is at fault, and
the history of syncs in the admin what failed when. You will be told when syncs work again.
"""
WORKING = "A scheduled sync of Ultravox's voices has succeeded again: the voices are up to date."


@contextmanager
def watched() -> Iterator[None]:
    """Report how the scheduled sync in this block ends; raise what it raises."""
    try:
        yield
    except Exception as error:
        _report(error)
        raise
    _report(None)


def _report(error: Exception | None) -> None:
    if settings.SYNC_PING_URL:
        _ping(failed=error is not None)
    try:
        _count(error)
    except django.db.Error as database_error:
        logger.warning("Scheduled syncs are not counted: %s", describe(database_error))


def _ping(*, failed: bool) -> None:
    """Get SYNC_PING_URL, with `/fail` behind its path if the sync failed: the form of healthchecks.io.

    In a thread, since a timeout covers neither the lookup of a name nor an answer that trickles.
    """
    url = urlsplit(settings.SYNC_PING_URL)
    if failed:
        url = url._replace(path=f"{url.path.rstrip('/')}/fail")
    thread = Thread(target=_get, args=[url.geturl()], name="ping", daemon=True)
    thread.start()
    thread.join(PING_SECONDS)
    if thread.is_alive():
        logger.warning("The watchdog did not answer in %s seconds", PING_SECONDS)


def _get(url: str) -> None:
    """Log nothing that quotes the URL, which is a secret."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url, timeout=PING_SECONDS, allow_redirects=False, stream=True)
        if answer.status_code >= 300:
            logger.warning("The watchdog answered with status %s", answer.status_code)
    except (requests.RequestException, ValueError) as error:
        logger.warning("The watchdog could not be reached: %s", type(error).__name__)


def _count(error: Exception | None) -> None:
    """Count failures in a row, and tell administrators, once, of enough of them and of their end."""
    renew_connection()
    Alarm.objects.get_or_create(pk=1)
    Alarm.objects.update(failures=F("failures") + 1 if error else 0)
    # Who changes the mark sends the e-mail: several syncs may end at once.
    enough = Alarm.objects.filter(failures__gte=FAILURES if error else 0)
    if not enough.filter(is_raised=error is None).update(is_raised=error is not None):
        return
    if error:
        reason = runs.outcome_of(error)[1]
        is_sent = _mail("Scheduled syncs fail", FAILING.format(failures=FAILURES, reason=reason))
    else:
        is_sent = _mail("Scheduled syncs work again", WORKING)
    if not is_sent:
        Alarm.objects.update(is_raised=error is None)  # the next sync tries again


def _mail(subject: str, words: str) -> bool:
    try:
        mail_admins(subject, words)
    except Exception as error:  # a backend has any
        logger.warning("ADMINS could not be told by e-mail: %s", type(error).__name__)
        return False
    logger.info("ADMINS were told by e-mail: %s", subject)
    return True
