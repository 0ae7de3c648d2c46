"""The choice of a renderer, which DRF asks for while it imports its views: apart from `api.py`."""

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation


class AlwaysJSON(DefaultContentNegotiation):
    """Answer JSON whatever `Accept` says: there is nothing else to choose from."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type
