"""The only reader of agencies' Ultravox API keys."""

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from agencies.encryption import encrypt, fernet
from agencies.models import Agency
from voiceproject.errors import CredentialsUnavailable, NoApiKey

NO_KEY = "none"
NO_KEY_OF_AGENCY = "Your agency has no Ultravox API key. Ask an administrator to add one."


def get_agency_credentials(agency: Agency) -> str:
    """Return the agency's Ultravox API key in plain text.

    Raises NoApiKey if the agency has none, and CredentialsUnavailable if the stored one cannot be
    decrypted, or holds characters that an HTTP header cannot carry.
    """
    key = agency.ultravox_api_key.strip()
    if not key:
        raise NoApiKey(NO_KEY_OF_AGENCY)
    if not (key.isascii() and key.isprintable()):
        raise CredentialsUnavailable(
            "The stored Ultravox API key has invalid characters. Ask an administrator to enter it again."
        )
    return key


def agencies_with_key() -> QuerySet[Agency]:
    """Return the agencies with a stored key, readable or not, oldest first."""
    return Agency.objects.exclude(Q(encrypted_key="") | Q(encrypted_key__isnull=True))


def key_hint(agency: Agency) -> str:
    """Return dots and the key's last four characters, NO_KEY, or why it cannot be used."""
    try:
        key = get_agency_credentials(agency)
    except NoApiKey:
        return NO_KEY
    except CredentialsUnavailable:
        return "unreadable: enter it again"
    return f"••••{key[-4:]}" if len(key) >= 12 else "••••"


def record_key_check(agency: Agency, *, works: bool) -> None:
    """Store whether Ultravox accepted the key that `agency` was loaded with.

    Does nothing if the key has been changed since: the result does not apply to the new key.
    """
    _unchanged_row(agency).update(key_works=works, key_checked_at=Now())


def rotate_credentials() -> list[Agency]:
    """Encrypt every stored key again with the first of CREDENTIALS_KEYS.

    Returns the agencies whose key cannot be decrypted; they are not changed. A key that is changed at the
    same time is not overwritten. Raises CredentialsUnavailable if CREDENTIALS_KEYS is missing or malformed.
    """
    fernet()
    unreadable = []
    for agency in agencies_with_key():
        try:
            ciphertext = encrypt(agency.ultravox_api_key)
        except CredentialsUnavailable:
            unreadable.append(agency)
        else:
            _unchanged_row(agency).update(encrypted_key=ciphertext)
    return unreadable


def _unchanged_row(agency: Agency) -> QuerySet[Agency]:
    """Return the agency's row, or none if its key has been changed since `agency` was loaded."""
    return Agency.objects.filter(pk=agency.pk, encrypted_key=agency.encrypted_key)
