"""A virtual environment for each peer, made where it is missing."""

import subprocess
import sysconfig
import venv
from pathlib import Path

from nas.errors import NasError

REQUIREMENTS = Path(__file__).parent / "requirements"
DONE = "installed.txt"
"""File of an environment with the requirements that it was made for, and whose packages it sees; written last."""


def environment(name: str, folder: Path) -> Path:
    """The Python of a peer's environment, which is made where it is missing or was made for other requirements.

    The environment sees the packages of this one behind its own: gigabytes of torch are not installed again.

    Args:
        name: of a file of requirements.
        folder: where the environments lie.

    Raises:
        NasError: if a requirement cannot be installed.
    """
    home = folder.absolute() / name
    requirements = REQUIREMENTS / f"{name}.txt"
    done = home / DONE
    python = home / "bin" / "python"
    behind = Path(sysconfig.get_path("purelib")).resolve()
    wanted = f"{requirements.read_text(encoding='utf-8')}# behind: {behind}\n"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    venv.create(home, clear=True, symlinks=True, with_pip=True)
    [site] = home.glob("lib/python*/site-packages")
    # Behind, because a path file is read after the folder that it stands in.
    (site / "behind.pth").write_text(f"{behind}\n", encoding="utf-8")
    command = [python, "-m", "pip", "--no-cache-dir", "install", "--quiet", "--requirement", requirements]
    installed = subprocess.run(command, capture_output=True, text=True)
    if installed.returncode:
        said = installed.stderr.strip() or "nothing"
        raise NasError(
            f"the environment of the peer {name} cannot be made in {home}; pip last said: {said.splitlines()[-1]}; "
            f"its requirements are in {requirements}"
        )
    done.write_text(wanted, encoding="utf-8")
    return python
