"""Every error that this service raises: its code, its HTTP status and its sentence.

To add an error, add a class here. A sentence says what to do next. It never contains a key, a token, SQL or
text from another server. This module imports nothing from the project, so every other module may import it.
"""

from typing import ClassVar


class ServiceError(Exception):
    """Base class of all errors that callers see, and the error `internal_error`."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    sentence: ClassVar[str] = "Something went wrong. Try again later."

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.sentence
        super().__init__(self.message)


class NoApiKey(ServiceError):
    code = "no_api_key"
    status = 400
    sentence = "No agency has an Ultravox API key. Add one in the admin."


class NotAgencyUser(ServiceError):
    code = "not_agency_user"
    status = 403
    sentence = "You aren't in an agency yet. Ask an administrator to add you."


class CredentialsUnavailable(ServiceError):
    code = "credentials_unavailable"
    status = 500
    sentence = "The stored Ultravox API key can't be read. Ask an administrator to enter it again."


class SaveFailed(ServiceError):
    code = "save_failed"
    status = 500
    sentence = "The database couldn't save the voices. Nothing was changed. Try again later."


class UltravoxError(ServiceError):
    """Ultravox could not be reached, or its response cannot be used.

    `is_transient`: a retry may help, after `delay` seconds if Ultravox named a time.
    """

    code = "ultravox_error"
    status = 502
    sentence = "Ultravox couldn't be reached. Your voices are unchanged. Try again later."

    def __init__(
        self, message: str | None = None, *, is_transient: bool = False, delay: float | None = None
    ) -> None:
        super().__init__(message)
        self.is_transient, self.delay = is_transient, delay


class KeyRejected(UltravoxError):
    """Ultravox rejects this key; another key may work."""


class WorkerLost(ServiceError):
    code = "worker_lost"
    status = 500
    sentence = "The sync was cancelled after its worker died three times. Check the worker's log."


class Busy(ServiceError):
    """This process already has as many requests waiting for Ultravox as it can handle."""

    code = "busy"
    status = 503
    sentence = "The service is busy. Try again in a few seconds."
    wait = 5.0  # seconds, for Retry-After


class NoPreview(ServiceError):
    code = "no_preview"
    status = 404
    sentence = "This voice has no preview."


class PreviewUnavailable(ServiceError):
    code = "preview_unavailable"
    status = 502
    sentence = "The preview took too long. Try again in a minute."


class RangeNotSatisfiable(ServiceError):
    """The requested range starts after the end of the audio, which has `size` bytes."""

    code = "range_not_satisfiable"
    status = 416
    sentence = "The requested range starts after the end of the audio."

    def __init__(self, size: int) -> None:
        super().__init__()
        self.headers = {"Content-Range": f"bytes */{size}"}


class NotAuthenticated(ServiceError):
    code = "not_authenticated"
    status = 401
    sentence = "Send a user token as `Authorization: Bearer ...`, or a service key as `apikey`."


class InvalidToken(ServiceError):
    code = "invalid_token"
    status = 401
    sentence = "The token is invalid or has expired. Sign in again."


class InvalidApiKey(ServiceError):
    code = "invalid_api_key"
    status = 401
    sentence = "The apikey header isn't a valid service key."


class InvalidCredentials(ServiceError):
    code = "invalid_credentials"
    status = 401
    sentence = "Wrong email or password."


class PermissionDenied(ServiceError):
    code = "permission_denied"
    status = 403
    sentence = "You don't have permission to do this."


class CsrfFailed(ServiceError):
    code = "csrf_failed"
    status = 403
    sentence = "This page is out of date. Reload it and try again."


class RateLimited(ServiceError):
    code = "rate_limited"
    status = 429
    sentence = "Too many requests. Try again later."


class InvalidRequest(ServiceError):
    code = "invalid_request"
    status = 400
    sentence = "The request couldn't be read."


class NotFound(ServiceError):
    code = "not_found"
    status = 404
    sentence = "Page not found."


class MethodNotAllowed(ServiceError):
    code = "method_not_allowed"
    status = 405
    sentence = "This method is not allowed here."


class BodyTooLarge(ServiceError):
    code = "body_too_large"
    status = 413
    sentence = "The request body is too large."


class UnsupportedMediaType(ServiceError):
    code = "unsupported_media_type"
    status = 415
    sentence = "Send JSON, with Content-Type: application/json."


class DatabaseUnavailable(ServiceError):
    code = "database_unavailable"
    status = 500
    sentence = "The database couldn't be reached. Try again later."


# Errors that only nginx returns: deploy/nginx.conf


class AddressTooLong(ServiceError):
    code = "address_too_long"
    status = 414
    sentence = "The address is too long."


class HeaderTooLarge(ServiceError):
    code = "header_too_large"
    status = 431
    sentence = "The request headers are too large."


class Unavailable(ServiceError):
    code = "unavailable"
    status = 503
    sentence = "The voice service isn't responding. Try again in a moment."


# By code. KeyRejected shares the code of its base class.
ERRORS: dict[str, type[ServiceError]] = {ServiceError.code: ServiceError}
ERRORS |= {error.code: error for error in ServiceError.__subclasses__()}
