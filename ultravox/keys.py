"""Whether Ultravox accepts an API key."""

from ultravox.client import UltravoxClient


def check_key(api_key: str, *, api_url: str, timeout: float, deadline: float) -> None:
    """Request one voice with the key.

    Raises KeyRejected, or UltravoxError if no page of voices arrives by `deadline` on the monotonic clock.
    """
    client = UltravoxClient(
        api_url=api_url, api_key=api_key, timeout=timeout, deadline=deadline, page_size=1
    )
    list(client.pages(most=1))
