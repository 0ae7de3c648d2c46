"""DRF's content negotiation and JSON parser.

A separate module, because DRF loads these classes while it imports its views.
"""

from typing import Any

from rest_framework import parsers
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation


class JSONNegotiation(DefaultContentNegotiation):
    """Return JSON, and ignore `Accept`, because there is no other format."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: object = None) -> object:
        return renderers[0], renderers[0].media_type


class JSONParser(parsers.JSONParser):
    """Respond with 400 to a body that is nested too deeply to parse."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError() from error
