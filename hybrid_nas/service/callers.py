"""Who asks, and what a role allows."""

from dataclasses import dataclass

from db.tokens import ROLES, Role
from hybrid_nas.service.errors import ForbiddenError


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose token is valid, or anybody on this machine where the service has no tokens."""

    name: str
    role: Role

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return self.role == "admin"

    def require(self, role: Role) -> None:
        """Refuse a caller with a lower role.

        Raises:
            ForbiddenError: if it is one.
        """
        if ROLES.index(self.role) < ROLES.index(role):
            raise ForbiddenError(f"{self.name!r} has the role {self.role}; this needs {role}: ask an administrator")

    def require_owner(self, owner: str, study: str) -> None:
        """Refuse somebody who neither owns the study nor is an administrator.

        Raises:
            ForbiddenError: if it is another's.
        """
        if self.name != owner and not self.is_admin:
            raise ForbiddenError(f"study {study!r} belongs to {owner!r}; only they or an administrator may change it")


LOCAL = Caller("local", "admin")
"""Everybody on this machine, as long as no token was ever made."""
