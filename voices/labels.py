"""Human-readable labels of Ultravox's values."""

from typing import Any

LABELS: dict[str, dict[Any, str]] = {
    "primary_language": {None: "Multilingual"},
    "provider": {  # as Ultravox's OpenAPI description spells and explains them
        "lmnt": "LMNT",
        "cartesia": "Cartesia",
        "google": "Google",
        "respeecher": "Respeecher",
        "eleven_labs": "Eleven Labs",
        "inworld": "Inworld",
        None: "Custom provider",
    },
    "ownership": {"public": "Public", "private": "Private", None: "Unknown"},
    "billing_style": {
        "VOICE_BILLING_STYLE_INCLUDED": "Included",
        "VOICE_BILLING_STYLE_EXTERNAL": "Billed by provider",
        None: "Unknown",
    },
    "listed": {True: "Available in Ultravox", False: "No longer in Ultravox"},
}


def label(column: str, value: str | bool | None) -> str:
    """Return the label of a value in one of LABELS' columns, or an unknown value unchanged."""
    labels = LABELS[column]
    return labels[None] if value in (None, "") else labels.get(value, str(value))
