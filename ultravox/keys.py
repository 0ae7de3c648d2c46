"""Check an Ultravox API key."""

from ultravox.client import UltravoxClient


def check_key(api_key: str, *, api_url: str, timeout: float, deadline: float) -> None:
    """Request one voice with the key.

    `timeout` and `deadline` are the same as for UltravoxClient. Raises KeyRejected if Ultravox rejects the
    key, and UltravoxError if Ultravox does not return a page of voices.
    """
    client = UltravoxClient(
        api_url=api_url, api_key=api_key, timeout=timeout, deadline=deadline, page_size=1
    )
    list(client.pages(most=1))
