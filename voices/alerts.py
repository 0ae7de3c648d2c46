"""Report the outcome of scheduled syncs to a watchdog and to administrators.

The watchdog expects a ping after each sync, so it also notices a failure of this module. Administrators get
an email when several syncs in a row have failed, and another when syncs work again. A failed alert never
makes a sync fail.
"""

import logging
from urllib.parse import urlsplit

import django.db
import requests
from django.conf import settings
from django.core.mail import mail_admins
from django.db.models import F

from voiceproject.database import describe, renew_connection
from voiceproject.threads import run_in_thread
from voices import runs
from voices.models import Alarm

logger = logging.getLogger(__name__)

PING_SECONDS = 3.5  # ending the thread may take another second
FAILURES = 3  # in a row, before administrators get an email

FAILING_MESSAGE = """\
The last {failures} scheduled syncs of Ultravox voices failed. The latest error:

    {reason}

Your voices are unchanged since the last successful sync. Run `manage.py doctor` to find the cause. The admin
shows the history of syncs. You will get another email when syncs work again.
"""
WORKING_MESSAGE = "A scheduled sync of Ultravox voices succeeded. Your voices are up to date again."


def report(error: Exception | None) -> None:
    """Report that a scheduled sync succeeded, or the error that it failed with."""
    if settings.SYNC_PING_URL:
        _ping(failed=error is not None)
    try:
        _count(error)
    except django.db.Error as database_error:
        logger.warning("Scheduled syncs could not be counted: %s", describe(database_error))


def _ping(*, failed: bool) -> None:
    """Request SYNC_PING_URL, with `/fail` at the end of its path if the sync failed (healthchecks.io).

    No log line quotes the URL, which is a secret.
    """
    url = urlsplit(settings.SYNC_PING_URL)
    if failed:
        url = url._replace(path=f"{url.path.rstrip('/')}/fail")
    try:
        # The timeout of `requests` covers neither a DNS lookup nor a response that trickles in.
        status = run_in_thread(lambda: _status(url.geturl()), seconds=PING_SECONDS)
        if status >= 300:
            logger.warning("The watchdog responded with status %s", status)
    except TimeoutError:
        logger.warning("The watchdog did not respond within %s seconds", PING_SECONDS)
    except (requests.RequestException, ValueError) as error:
        logger.warning("The watchdog could not be reached: %s", type(error).__name__)


def _status(url: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        response = session.get(url, timeout=PING_SECONDS, allow_redirects=False, stream=True)
        return response.status_code


def _count(error: Exception | None) -> None:
    """Count failures in a row, and email administrators when there are FAILURES, or when they end."""
    renew_connection()
    Alarm.objects.get_or_create(pk=1)
    Alarm.objects.update(failures=F("failures") + 1 if error else 0)
    # Several syncs may end at once: the one that changes `is_raised` sends the email.
    alarm = Alarm.objects.filter(is_raised=error is None, failures__gte=FAILURES if error else 0)
    if not alarm.update(is_raised=error is not None):
        return
    subject, message = "Scheduled syncs work again", WORKING_MESSAGE
    if error:
        subject = "Scheduled syncs are failing"
        message = FAILING_MESSAGE.format(failures=FAILURES, reason=runs.outcome_of(error)[1])
    try:
        mail_admins(subject, message)
    except Exception as mail_error:  # a backend may raise anything
        logger.warning("ADMINS could not be emailed: %s", type(mail_error).__name__)
        Alarm.objects.update(is_raised=error is None)  # the next sync tries again
