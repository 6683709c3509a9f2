"""The password of a database from a file, as containers and units of systemd are given their secrets."""

import os
from pathlib import Path

from db.engine import parse_url
from nas.errors import InvalidInputError

PASSWORD_FILE_VARIABLE = "NAS_STORAGE_PASSWORD_FILE"
"""Environment variable with the file of the password that the URL of the database leaves out."""


def with_password(url: str) -> str:
    """The URL of a database with the password of the file that the environment names.

    A URL that has a password, and that of a SQLite file, stay as they are.

    Raises:
        InvalidInputError: if the file cannot be read or holds nothing, or the URL cannot be used.
    """
    file = os.environ.get(PASSWORD_FILE_VARIABLE)
    if not file:
        return url
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" or parsed.password is not None:
        return url
    try:
        password = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"{PASSWORD_FILE_VARIABLE} names a file that cannot be read; make it readable"
        ) from error
    if not password:
        raise InvalidInputError(f"{PASSWORD_FILE_VARIABLE} names an empty file; expected the password of the database")
    return parsed.set(password=password).render_as_string(hide_password=False)
