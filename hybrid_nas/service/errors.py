"""What the service answers besides the errors of a search: one class per status of HTTP."""

from nas.errors import NasError


class ServiceError(NasError):
    """A request that is refused."""

    status = 400


class UnauthorizedError(ServiceError):
    """No token, or none that is valid."""

    status = 401


class ForbiddenError(ServiceError):
    """The caller's role, or a fence, does not allow it."""

    status = 403


class NotFoundError(ServiceError):
    """There is nothing of that name."""

    status = 404


class ConflictError(ServiceError):
    """It does not fit the state in which things are."""

    status = 409


class BusyError(ServiceError):
    """Too many requests."""

    status = 429

    def __init__(self, message: str, retry_after_s: float) -> None:
        """Also say after how many seconds another one is taken."""
        super().__init__(message)
        self.retry_after_s = retry_after_s
