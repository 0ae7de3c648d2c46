from django.apps import AppConfig


class AgenciesConfig(AppConfig):
    name = "agencies"

    def ready(self) -> None:
        from voiceproject import checks  # noqa: F401
