"""Example responses for the OpenAPI description."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

VOICE: dict[str, object] = {
    "id": "2b9a8c5e",
    "name": "Amélie",
    "description": "Warm and unhurried, made for support lines.",
    "language_label": "🇫🇷 French (France)",
    "primary_language": "fr-FR",
    "ownership": "public",
    "billing_style": "VOICE_BILLING_STYLE_INCLUDED",
    "provider": "Cartesia",
    "preview_url": "https://voices.example.com/api/voices/2b9a8c5e/preview?signature=77a3f",
    "last_synced_at": "2026-11-24T21:30:20.153027Z",
    "listed": True,
}
VOICE_WITH_DEFINITION = VOICE | {"definition": {"cartesia": {"model": "sonic-3"}}}
VOICES = {
    "count": 300,
    "next": "https://voices.example.com/api/voices/?page=2",
    "previous": None,
    "results": [VOICE],
    "facets": {
        "primary_language": [{"value": "fr-FR", "label": "🇫🇷 French (France)", "count": 7}],
        "provider": [{"value": None, "label": "Custom provider", "count": 23}],
        "ownership": [{"value": "public", "label": "Public", "count": 246}],
        "billing_style": [],
        "listed": [{"value": True, "label": "Available in Ultravox", "count": 300}],
    },
    "last_sync": {"finished_at": "2026-11-24T21:30:26.801124Z", "synced": 300},
}
MESSAGE = "Synced 300 voices from Ultravox"
RUN = {
    "id": 41,
    "trigger": "user",
    "status": "succeeded",
    "started_at": "2026-11-24T21:30:20.153027Z",
    "finished_at": "2026-11-24T21:30:26.801124Z",
    "started_by": "user@example.com",
    "pages": 3,
    "voices": 300,
    "total": 300,
    "synced": 300,
    "skipped": 0,
    "code": None,
    "message": MESSAGE,
}
RUNS = {"count": 1, "next": None, "previous": None, "results": [RUN]}
SYNCED = {"success": True, "message": MESSAGE, "stats": {"synced": 300}}


def example(value: dict[str, Any]) -> list[OpenApiExample]:
    """Return the example of a 200 response, for `extend_schema`."""
    return [OpenApiExample("Example", value, response_only=True, status_codes=["200"])]
