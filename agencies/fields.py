"""A text column that is encrypted at rest, and decrypted on access, not on load; and e-mail addresses."""

import unicodedata
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from voiceproject.errors import CredentialsUnavailable


class Ciphertext(str):
    """A Fernet token, as the column holds it."""


class FixtureText(Ciphertext):
    """A token from a fixture: `loaddata` saves it as it is, so a bad one cannot make it fail."""


def fernet() -> MultiFernet:
    """Return the keys of `CREDENTIALS_KEYS`: the first encrypts, all decrypt.

    Raises CredentialsUnavailable if they are missing or malformed; `manage.py check` says more.
    """
    try:
        return MultiFernet([Fernet(key) for key in settings.CREDENTIALS_KEYS])
    except ValueError as error:
        raise CredentialsUnavailable(
            "CREDENTIALS_KEYS is missing or malformed; `manage.py check` says how to make one."
        ) from error


def decrypt(value: str | None) -> str:
    """Return the plain text of a column's value. Raises CredentialsUnavailable."""
    if not value:
        return ""
    try:
        return fernet().decrypt(value.encode()).decode()
    except (InvalidToken, UnicodeError) as error:
        raise CredentialsUnavailable() from error


class _DecryptedAttribute(DeferredAttribute):
    """Decrypt when the attribute is read, so that one bad row cannot break a query."""

    def __get__(self, instance: models.Model | None, cls: type | None = None) -> Any:
        value = super().__get__(instance, cls)
        return decrypt(value) if type(value) is Ciphertext else value

    def __set__(self, instance: models.Model, value: Any) -> None:
        # Without this, Python would read the instance's dictionary before calling __get__.
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):
    """A TextField whose column holds a Fernet token; empty text stays empty.

    Each encryption of a text differs, so only `isnull`, and `exact` with an empty text or a
    `Ciphertext`, find anything. Fixtures (`dumpdata`) carry the token, never the plain text.
    """

    descriptor_class = _DecryptedAttribute
    FIXTURE_PREFIX = "fernet:"

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        return Ciphertext(value) if value else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith(self.FIXTURE_PREFIX):
            return FixtureText(value.removeprefix(self.FIXTURE_PREFIX))
        return super().to_python(value)

    def get_prep_value(self, value: Any) -> Any:
        if not value or isinstance(value, Ciphertext):
            return value
        return fernet().encrypt(str(value).encode()).decode()

    def value_from_object(self, obj: models.Model) -> Any:
        """Return what is stored: a token, or the plain text of an object that is not saved yet."""
        return obj.__dict__.get(self.attname)

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        return self.value_from_object(model_instance)

    def value_to_string(self, obj: models.Model) -> str:
        value = self.get_prep_value(self.value_from_object(obj))
        return f"{self.FIXTURE_PREFIX}{value}" if value else ""


def normal_email(address: str) -> str:
    """Return the one form that decides whether two addresses are the same, whatever a database thinks."""
    return unicodedata.normalize("NFKC", address.strip()).lower()


class EmailAddressField(models.EmailField):
    """An EmailField that writes, and looks for, addresses in their normal form."""

    def to_python(self, value: Any) -> Any:
        return normal_email(value) if isinstance(value, str) else super().to_python(value)
