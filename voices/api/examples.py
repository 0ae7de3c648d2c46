"""Examples for the OpenAPI description: what the sandbox's voices look like."""

from typing import Any

from drf_spectacular.utils import OpenApiExample

ADDRESS = "https://voices.example.com/api/voices/"
VOICE: dict[str, Any] = {
    "id": "2b9a8c5e-9a8f-5d8e-8c55-0f4a5d0c3f10",
    "name": "Amélie",
    "description": "Warm and unhurried, made for support lines.",
    "language_label": "🇫🇷 French (France)",
    "primary_language": "fr-FR",
    "ownership": "public",
    "billing_style": "VOICE_BILLING_STYLE_INCLUDED",
    "provider": "Cartesia",
    "preview_url": f"{ADDRESS}2b9a8c5e-9a8f-5d8e-8c55-0f4a5d0c3f10/preview?signature=77a3f.service:Cw0RJQ",
    "last_synced_at": "2026-11-24T21:30:20.153027Z",
    "listed": True,
}
VOICE_WITH_DEFINITION = VOICE | {
    "definition": {
        "cartesia": {"voiceId": "8f9c8e22-4d2a-4b59-a8f6-1f2f6f9a5c11", "model": "sonic-3"}
    }
}
VOICES = {
    "count": 300,
    "next": f"{ADDRESS}?page=2",
    "previous": None,
    "results": [VOICE],
    "facets": {
        "primary_language": [{"value": "fr-FR", "label": "🇫🇷 French (France)", "count": 7}],
        "provider": [
            {"value": "Cartesia", "label": "Cartesia", "count": 69},
            {"value": None, "label": "Another provider", "count": 23},
        ],
        "ownership": [{"value": "public", "label": "Public", "count": 246}],
        "billing_style": [
            {"value": "VOICE_BILLING_STYLE_INCLUDED", "label": "Included", "count": 222}
        ],
        "listed": [{"value": True, "label": "Listed by Ultravox", "count": 300}],
    },
    "last_sync": {"finished_at": "2026-11-24T21:30:26.801124Z", "synced": 300},
}
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
    "message": "Synced 300 voices from Ultravox",
}
RUNS = {"count": 1, "next": None, "previous": None, "results": [RUN]}
SYNCED = {"success": True, "message": "Synced 300 voices from Ultravox", "stats": {"synced": 300}}


def example(value: dict[str, Any]) -> list[OpenApiExample]:
    """Return an example of an answer, for `extend_schema`."""
    return [OpenApiExample("Example", value, response_only=True, status_codes=["200"])]
