"""Email addresses in one normal form, so that two spellings of an address are one user."""

import unicodedata

from django.db import models


def normal_email(address: str) -> str:
    """Return the normal form. Python folds case, because databases do it differently."""
    return unicodedata.normalize("NFKC", address.strip()).lower()


class EmailAddressField(models.EmailField):
    """An EmailField that stores and looks up addresses in their normal form."""

    def to_python(self, value: object) -> object:
        return normal_email(value) if isinstance(value, str) else super().to_python(value)
