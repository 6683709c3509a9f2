"""Who may use the service: tokens and the sessions of browsers, both kept as SHA-256.

A token has 256 random bits, so that a plain hash cannot be guessed and needs no salt.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Engine

from db.engine import reading, writing
from db.errors import translated_errors
from db.service_tables import sessions, tokens
from nas.errors import InvalidInputError

Role = Literal["viewer", "user", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "user", "admin")
PREFIX = "nas_"
"""Begins every token, so that scanners of sources find one that was left there."""
SESSION = timedelta(hours=12)
MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; the token itself is not."""

    id: int
    name: str
    role: Role
    created: datetime
    revoked: datetime | None


def new_secret() -> str:
    """A text with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """What is kept of a token or a session."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


class Tokens:
    """The rows of tokens and sessions. Every method is one transaction; may be used by several threads."""

    def __init__(self, engine: Engine) -> None:
        """Use a database that has the service's tables."""
        self._engine = engine
        self._reader = reading(engine)
        self._writer = writing(engine)

    def add(self, name: str, role: Role) -> str:
        """Make a token, which is told here and never again.

        Raises:
            InvalidInputError: if the name cannot be used, or has a token that is valid.
        """
        if not name.strip() or not name.isprintable() or len(name) > MAX_NAME:
            raise InvalidInputError(f"the name {name!r} cannot be used; give 1 to {MAX_NAME} printable characters")
        secret = new_secret()
        valid = sa.select(tokens.c.id).where(tokens.c.name == name, tokens.c.revoked.is_(None))
        values = {"name": name, "role": role, "hash": hash_of(secret), "created": datetime.now(UTC)}
        with translated_errors(self._engine.url), self._writer.begin() as connection:
            if connection.execute(valid).first() is not None:
                raise InvalidInputError(f"{name!r} has a token already; revoke it first: launch.py token revoke {name}")
            connection.execute(sa.insert(tokens), values)
        return secret

    def revoke(self, name: str) -> None:
        """Make the token of that name useless at once, and end its sessions.

        Raises:
            InvalidInputError: if the name has no valid token.
        """
        valid = (tokens.c.name == name, tokens.c.revoked.is_(None))
        own = sessions.c.token_id.in_(sa.select(tokens.c.id).where(tokens.c.name == name))
        with translated_errors(self._engine.url), self._writer.begin() as connection:
            connection.execute(sa.delete(sessions).where(own))
            changed = connection.execute(sa.update(tokens).where(*valid), {"revoked": datetime.now(UTC)}).rowcount
        if not changed:
            raise InvalidInputError(f"{name!r} has no valid token; `launch.py token list` shows those that have")

    def all(self) -> list[Token]:
        """Every token that was ever made, oldest first."""
        wanted = sa.select(tokens.c.id, tokens.c.name, tokens.c.role, tokens.c.created, tokens.c.revoked)
        with translated_errors(self._engine.url), self._reader.begin() as connection:
            return [Token(*row) for row in connection.execute(wanted.order_by(tokens.c.id))]

    def any(self) -> bool:
        """Whether a token was ever made: a service whose last token was revoked is closed, not open."""
        with translated_errors(self._engine.url), self._reader.begin() as connection:
            return connection.execute(sa.select(tokens.c.id).limit(1)).first() is not None

    def find(self, secret: str) -> Token | None:
        """The valid token with that secret."""
        return self._one(tokens.c.hash == hash_of(secret))

    def begin_session(self, token: Token) -> str:
        """Make a session of a browser, and forget those that have run out.

        Returns:
            Its secret.
        """
        secret = new_secret()
        now = datetime.now(UTC)
        values = {"hash": hash_of(secret), "token_id": token.id, "expires": now + SESSION}
        with translated_errors(self._engine.url), self._writer.begin() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.expires < now))
            connection.execute(sa.insert(sessions), values)
        return secret

    def find_session(self, secret: str) -> Token | None:
        """The valid token of a session that lasts."""
        lasting = sa.select(sessions.c.token_id).where(
            sessions.c.hash == hash_of(secret), sessions.c.expires > datetime.now(UTC)
        )
        return self._one(tokens.c.id.in_(lasting))

    def end_session(self, secret: str) -> None:
        """End a session; one that is unknown is none."""
        with translated_errors(self._engine.url), self._writer.begin() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.hash == hash_of(secret)))

    def _one(self, condition: sa.ColumnElement[bool]) -> Token | None:
        wanted = sa.select(tokens.c.id, tokens.c.name, tokens.c.role, tokens.c.created, tokens.c.revoked)
        with translated_errors(self._engine.url), self._reader.begin() as connection:
            row = connection.execute(wanted.where(condition, tokens.c.revoked.is_(None))).one_or_none()
        return None if row is None else Token(*row)
