from django.core.management.base import BaseCommand, CommandError

from agencies.credentials import agencies_with_key, rotate_credentials
from voiceproject.errors import ServiceError


class Command(BaseCommand):
    help = "Encrypt every stored Ultravox API key again, with the first key of CREDENTIALS_KEYS."

    def handle(self, *args: object, **options: object) -> None:
        try:
            unreadable = rotate_credentials()
        except ServiceError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"Rotated keys: {agencies_with_key().count() - len(unreadable)}")
        if unreadable:
            names = ", ".join(f"{agency.name} ({agency.pk})" for agency in unreadable)
            raise CommandError(
                f"No key in CREDENTIALS_KEYS can decrypt the Ultravox API key of: {names}. "
                "Add the key that encrypted it, or enter the Ultravox API key again in the admin."
            )
