"""Encryption at rest with the Fernet keys in CREDENTIALS_KEYS: the first encrypts, all decrypt."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from voiceproject.errors import CredentialsUnavailable


def fernet() -> MultiFernet:
    """Return the configured keys. Raises CredentialsUnavailable if they are missing or malformed."""
    try:
        return MultiFernet([Fernet(key) for key in settings.CREDENTIALS_KEYS])
    except ValueError as error:
        raise CredentialsUnavailable(
            "CREDENTIALS_KEYS is missing or malformed. `manage.py check` explains how to fix it."
        ) from error


def encrypt(text: str) -> str:
    """Return the ciphertext, which differs each time. Raises CredentialsUnavailable."""
    return fernet().encrypt(text.encode()).decode()


def decrypt(ciphertext: str) -> str:
    """Return the plain text. Raises CredentialsUnavailable."""
    try:
        return fernet().decrypt(ciphertext.encode()).decode()
    except (InvalidToken, UnicodeError) as error:
        raise CredentialsUnavailable() from error
