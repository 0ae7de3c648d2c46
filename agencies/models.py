"""Agencies and their users."""

import uuid
from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.utils import timezone

from agencies.emails import EmailAddressField
from agencies.encryption import decrypt, encrypt


class Agency(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.TextField()
    encrypted_key = models.TextField(
        db_column="ultravox_api_key", null=True, blank=True, default=""
    )
    # Whether Ultravox accepted the key when it was last used. Null: not used since it was entered.
    key_works = models.BooleanField(null=True, editable=False)
    key_checked_at = models.DateTimeField("last used", null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "agencies"
        ordering = ("created_at", "id")
        verbose_name_plural = "agencies"

    def __str__(self) -> str:
        return self.name

    @property
    def ultravox_api_key(self) -> str:
        """The key in plain text. Raises CredentialsUnavailable if it cannot be decrypted."""
        return decrypt(self.encrypted_key) if self.encrypted_key else ""

    @ultravox_api_key.setter
    def ultravox_api_key(self, key: str | None) -> None:
        self.encrypted_key = encrypt(key) if key else ""
        self.key_works = self.key_checked_at = None


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: object) -> "User":
        """Create a user who signs in with `email`. Raises ValueError if it is empty."""
        if not email:
            raise ValueError("A user needs an email address.")
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: object) -> "User":
        rights = {"is_staff": True, "is_superuser": True}
        return self.create_user(email, password, **rights | fields)


class User(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = EmailAddressField(
        "email address",
        unique=True,
        error_messages={"unique": "A user with this email address already exists."},
    )
    agency = models.ForeignKey(
        Agency, on_delete=models.SET_NULL, null=True, blank=True, related_name="users"
    )
    is_active = models.BooleanField("active", default=True)
    is_staff = models.BooleanField("staff", default=False, help_text="Can use the admin.")
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    objects = UserManager()

    class Meta:
        db_table = "users"
        ordering = ("email",)

    def __str__(self) -> str:
        return self.email
