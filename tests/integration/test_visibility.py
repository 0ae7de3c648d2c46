"""Who sees which voice and which run: `voices.visibility`."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission

from agencies.authentication import Service
from agencies.models import Agency, User
from tests.support.environment import PASSWORD
from tests.support.rows import NOW, add_private_voice, add_run, add_voice
from voices.models import AgencyVoice
from voices.visibility import Caller, listed, runs_visible_to, starter_of, visible_to

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def stranger(db: None) -> User:
    other = Agency.objects.create(name="Other", ultravox_api_key="another-key")
    return User.objects.create_user("stranger@example.com", PASSWORD, agency=other)


@pytest.fixture
def viewer(db: None) -> User:
    """A staff user without an agency who may view voices but no runs."""
    viewer = User.objects.create_user("viewer@example.com", PASSWORD, is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename="view_voice"))
    return viewer


def visible(caller: Caller) -> set[str]:
    return set(visible_to(caller).values_list("pk", flat=True))


def listed_by_id(caller: Caller) -> dict[str, bool]:
    voices = visible_to(caller).annotate(is_listed=listed(caller))
    return dict(voices.values_list("pk", "is_listed"))


def test_a_private_voice_is_visible_to_its_agency_services_and_staff(
    user: User, stranger: User, staff: User, viewer: User
) -> None:
    add_voice("open")
    add_private_voice("clone", user.agency)
    add_run(user.agency)
    for caller in (user, Service(), staff, viewer):
        assert listed_by_id(caller) == {"clone": True, "open": True}
    assert visible(stranger) == {"open"}
    assert visible(User(agency=None)) == {"open"}
    Agency.objects.filter(pk=user.agency_id).delete()
    assert not AgencyVoice.objects.exists()


@pytest.mark.parametrize("ownership", [None, "", "Public", "shared"])
def test_any_ownership_but_public_is_private(stranger: User, ownership: str | None) -> None:
    add_private_voice("clone", None, ownership=ownership)
    assert visible(stranger) == set()
    assert visible(Service()) == {"clone"}


def test_the_newest_success_that_would_see_a_voice_decides_whether_it_is_listed(
    user: User, stranger: User, staff: User
) -> None:
    add_voice("old", last_synced_at=NOW - HOUR)
    add_voice("new")
    mine = add_private_voice("mine", None)
    shared = add_private_voice("shared", stranger.agency)
    assert set(listed_by_id(Service()).values()) == {False}  # no sync yet
    add_run(user.agency, NOW - HOUR)
    add_run(stranger.agency, NOW)
    add_run(user.agency, NOW + HOUR, status="failed")
    AgencyVoice.objects.create(agency=user.agency, voice=mine, last_seen_at=NOW - HOUR)
    AgencyVoice.objects.create(agency=user.agency, voice=shared, last_seen_at=NOW - 2 * HOUR)
    public = {"old": False, "new": True}
    assert listed_by_id(user) == public | {"mine": True, "shared": False}
    assert listed_by_id(stranger) == public | {"shared": True}
    for caller in (Service(), staff):
        assert listed_by_id(caller) == public | {"mine": True, "shared": True}


def test_the_success_that_ended_last_is_the_newest(user: User, stranger: User) -> None:
    add_voice("seen", last_synced_at=NOW)
    add_voice("not seen", last_synced_at=NOW + HOUR)
    add_run(stranger.agency, NOW + HOUR)
    add_run(user.agency, NOW, finished_at=NOW + 2 * HOUR)
    assert listed_by_id(user) == {"seen": True, "not seen": False}


def test_runs_are_visible_to_their_agency_services_and_staff(
    user: User, stranger: User, staff: User, viewer: User
) -> None:
    own = add_run(user.agency, user=user)
    by_staff = add_run(user.agency, NOW + HOUR, user=staff)
    other = add_run(stranger.agency, NOW - HOUR, user=stranger)
    without_key = add_run(None, NOW - 2 * HOUR, status="failed")
    assert list(runs_visible_to(user)) == [by_staff, own]
    assert list(runs_visible_to(stranger)) == [other]
    assert list(runs_visible_to(viewer)) == []
    for caller in (Service(), staff):
        assert list(runs_visible_to(caller)) == [by_staff, own, other, without_key]
        assert starter_of(by_staff, caller) == staff.email
    assert starter_of(own, user) == user.email
    assert starter_of(by_staff, user) is None
    assert starter_of(without_key, staff) is None
