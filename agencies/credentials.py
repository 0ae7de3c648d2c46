"""The only reader of agencies' keys."""

from django.db.models import Q, QuerySet

from agencies.fields import Ciphertext, decrypt, fernet
from agencies.models import Agency
from voiceproject.errors import CredentialsUnavailable, NoApiKey

NO_KEY_OF_AGENCY = "Your agency has no Ultravox API key; add one in the agency's settings."


def get_agency_credentials(agency: Agency) -> str:
    """Return the agency's Ultravox API key in plain text.

    Raises NoApiKey if the agency has none, and CredentialsUnavailable if the stored one cannot be
    decrypted, or holds characters that no HTTP header can carry.
    """
    key = (agency.ultravox_api_key or "").strip()
    if not key:
        raise NoApiKey(NO_KEY_OF_AGENCY)
    if not (key.isascii() and key.isprintable()):
        raise CredentialsUnavailable(
            "The stored Ultravox API key has characters that no key has; enter it again."
        )
    return key


def record_key_check(agency: Agency, *, works: bool) -> None:
    pass  # area-agencies


def agencies_with_key() -> QuerySet[Agency]:
    """Return the agencies that have a key stored, readable or not, oldest first."""
    return Agency.objects.exclude(Q(ultravox_api_key="") | Q(ultravox_api_key__isnull=True))


def has_key(agency: Agency) -> bool:
    """Return whether the agency has a key stored, readable or not; a blank one does not count."""
    try:
        return bool(get_agency_credentials(agency))
    except NoApiKey:
        return False
    except CredentialsUnavailable:
        return True


def key_hint(agency: Agency) -> str:
    """Return dots and the key's last four characters, or what is wrong with it."""
    try:
        key = get_agency_credentials(agency)
    except NoApiKey:
        return "none"
    except CredentialsUnavailable:
        return "cannot be decrypted: enter it again"
    return f"••••{key[-4:]}" if len(key) >= 12 else "••••"


def rotate_credentials() -> list[Agency]:
    """Re-encrypt every stored key with the first of `CREDENTIALS_KEYS`.

    Returns the agencies whose key none of them can decrypt; those keep what they have. A key that
    somebody changes in the meantime is not overwritten. Raises CredentialsUnavailable if no
    `CREDENTIALS_KEYS` are usable.
    """
    unreadable = []
    for agency in agencies_with_key():
        stored = agency.__dict__["ultravox_api_key"]
        try:
            decrypt(stored)
        except CredentialsUnavailable:
            fernet()  # raises if the keys themselves are to blame
            unreadable.append(agency)
        else:
            rotated = Ciphertext(fernet().rotate(stored.encode()).decode())
            unchanged = Agency.objects.filter(pk=agency.pk, ultravox_api_key=stored)
            unchanged.update(ultravox_api_key=rotated)
    return unreadable
