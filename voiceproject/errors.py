"""The errors that this service answers with. Imports nothing of ours: everything else may import it."""


class ServiceError(Exception):
    """Fail in a way that a caller is told of.

    `code` is for machines, `status` the HTTP status, `message` one sentence for a person. A message
    never holds a key, a token, SQL or what another server said.
    """

    code = "internal_error"
    status = 500
    message = "Something went wrong on our side; nothing was changed. Try again later."

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.message
        super().__init__(self.message)


class SaveFailed(ServiceError):
    """Report that the database refused or lost a write, or could not be reached at all."""

    code = "save_failed"
    message = "The database could not save the voices; nothing was changed. Try again later."
