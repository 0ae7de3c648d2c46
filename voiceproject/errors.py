"""The one table of errors that this service answers with: each code's status and sentence.

Imports nothing of ours: everything else may import it.
"""

from typing import ClassVar, NamedTuple


class Answer(NamedTuple):
    """A status, and one sentence for a person: no key, token, SQL or another server's words."""

    status: int
    message: str


ERRORS = {
    # Of a sync
    "no_api_key": Answer(400,
        "No Ultravox API key is configured; add one to an agency in the admin."),
    "not_agency_user": Answer(403,
        "You belong to no agency; ask an administrator to add you to yours."),
    "credentials_unavailable": Answer(500,
        "The stored Ultravox API key could not be read; ask an administrator to enter it again."),
    "save_failed": Answer(500,
        "The database could not save the voices; nothing was changed. Try again later."),
    "ultravox_error": Answer(502,
        "Ultravox could not be reached; nothing was changed. Try again later."),
    "worker_lost": Answer(500, "The sync was given up: its worker died in each of three tries."),
    "busy": Answer(503, "Too many requests wait for Ultravox here; try again in a few seconds."),
    # Of a preview
    "no_preview": Answer(404, "This voice has no preview."),
    "preview_unavailable": Answer(502,
        "Ultravox could not be reached, or took too long for this preview; try again in a minute."),
    "range_not_satisfiable": Answer(416, "The audio is shorter than the range that was asked for."),
    # Of who calls
    "not_authenticated": Answer(401,
        "Send a user's token as `Authorization: Bearer ...`, or a service key as `apikey`."),
    "invalid_token": Answer(401, "The token is invalid or has expired; sign in again."),
    "invalid_api_key": Answer(401, "The apikey is not a service key of this server."),
    "invalid_credentials": Answer(401, "There is no active account with these credentials."),
    "permission_denied": Answer(403, "You may not do this."),
    "csrf_failed": Answer(403,
        "The form's security token is missing or old: reload it, and send again."),
    "rate_limited": Answer(429, "Too many requests: try again later."),
    # Of any request
    "invalid_request": Answer(400, "The request could not be read."),
    "not_found": Answer(404, "There is nothing at this address."),
    "method_not_allowed": Answer(405, "This address does not answer to that method."),
    "body_too_large": Answer(413, "The request's body is too large."),
    "unsupported_media_type": Answer(415, "Send JSON, with Content-Type: application/json."),
    "internal_error": Answer(500,
        "Something went wrong on our side; nothing was changed. Try again later."),
    "database_unavailable": Answer(500, "The database could not be reached; try again later."),
    # Of nginx alone: deploy/nginx.conf
    "address_too_long": Answer(414, "The request's address is too long."),
    "header_too_large": Answer(431, "The request's headers are too large."),
    "unavailable": Answer(503, "The service does not answer at the moment. Try again later."),
}  # fmt: skip


class ServiceError(Exception):
    """Fail in a way that a caller is told of: `code` is a key of ERRORS."""

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str | None = None) -> None:
        self.status, sentence = ERRORS[self.code]
        self.message = message or sentence
        super().__init__(self.message)


class Busy(ServiceError):
    """Report that as many requests wait here as others leave room for."""

    code = "busy"
    wait = 5.0  # seconds, for Retry-After


class SaveFailed(ServiceError):
    """Report that the database refused or lost a write, or could not be reached at all."""

    code = "save_failed"
