"""Ultravox's codes in words for a person."""

from typing import Any

# As Ultravox's own OpenAPI description spells and explains them.
PROVIDERS = {
    "lmnt": "LMNT",
    "cartesia": "Cartesia",
    "google": "Google",
    "respeecher": "Respeecher",
    "eleven_labs": "Eleven Labs",
    "inworld": "Inworld",
}
WORDS: dict[str, dict[Any, str]] = {
    "primary_language": {None: "No one language"},
    "provider": PROVIDERS | {None: "Another provider"},
    "ownership": {"public": "Public", "private": "Private", None: "Unknown"},
    "billing_style": {
        "VOICE_BILLING_STYLE_INCLUDED": "Included",
        "VOICE_BILLING_STYLE_EXTERNAL": "Billed by the provider",
        None: "Unknown",
    },
    "listed": {True: "Listed by Ultravox", False: "No longer listed"},
}


def label(column: str, value: str | bool | None) -> str:
    """Return a value of one of WORDS' columns in words; one that is unknown as it is."""
    words = WORDS[column]
    return words[None] if value in (None, "") else words.get(value, str(value))
