"""Record the study of tests/test_recorded_study.py anew: a search, a finalization and an export, all of them small.

    .venv/bin/python tests/recorded/record.py

It stands for what users of this version have on their disks, so it is recorded again only while the version that it
belongs to has not been released. Later versions migrate it, as they migrate their users' studies.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
LAUNCH = HERE.parents[1] / "launch.py"
ARCHIVE = HERE / "study-0.1.0.tar.gz"
STUDY = ("--study", "recorded", "--storage", "sqlite:///nas.db")
RECIPES = {
    "search.json": {"rungs": [192], "batch_size": 32, "learning_rate": 0.004},
    "final.json": {"rungs": [128, 256], "batch_size": 32, "learning_rate": 0.004},
}
SEARCH = (
    *("--space", "hybrid_layout", "--budget", "14", "--objectives", "top1,latency_ms", "--seed", "0"),
    *("--recipe", "search.json", "--rungs", "2", "--keep", "0.8", "--max-params", "44000", "--warm-start", "none"),
    *("--workers", "1"),
)
FINALIZE = ("--top", "1", "--samples", "1", "--seeds", "2", "--recipe", "final.json", "--workers", "1")
EXPORT = ("--pick", "knee", "--zoo", "zoo", "--name", "knee")


def unpack(folder: Path) -> None:
    """Put what was recorded into a folder: database, artifacts and zoo."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")


def main() -> None:
    """Run the commands in an empty folder, and pack what they left."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        for name, recipe in RECIPES.items():
            (work / name).write_text(json.dumps(recipe) + "\n", encoding="utf-8")
        for words in ((*SEARCH, *STUDY), ("finalize", *FINALIZE, *STUDY), ("export", *EXPORT, *STUDY)):
            subprocess.run([sys.executable, str(LAUNCH), *words], cwd=work, check=True)
        leave_out_the_host(work / "nas.db")
        leave_out_weights(work)
        pack(work)


def leave_out_the_host(database: Path) -> None:
    """Where it was recorded is nobody's business and steers nothing: host name, and where the zoo lay."""
    with closing(sqlite3.connect(database)) as connection:
        for key, text in connection.execute("SELECT id, conditions FROM latencies").fetchall():
            conditions = json.dumps({**json.loads(text), "host": "somewhere"})
            connection.execute("UPDATE latencies SET conditions = ? WHERE id = ?", (conditions, key))
        connection.execute("UPDATE exports SET path = '/somewhere/zoo/' || name")
        for column in ("artifacts", "config"):
            connection.execute(
                f"UPDATE nas_studies SET {column} = replace({column}, ?, '/somewhere')", (str(database.parent),)
            )
        connection.commit()
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")
        dump = "\n".join(connection.iterdump())
    for word in (os.uname().nodename, str(database.parent), str(HERE.parents[1])):
        assert f'"{word}' not in dump and f"'{word}" not in dump, f"the study names {word}"


def leave_out_weights(work: Path) -> None:
    """Keep as many as a test reads: those of both ends of the front, and of the finalist that was exported."""
    entry = work / "zoo" / "knee" / "model.safetensors"
    exported = entry.read_bytes()
    entry.unlink()  # the same bytes stand among the artifacts
    with closing(sqlite3.connect(work / "nas.db")) as connection:
        rows = connection.execute(
            "SELECT weights_path FROM front_members JOIN trainings ON trainings.id = training_id "
            "WHERE front_id = (SELECT max(id) FROM fronts) ORDER BY position"
        ).fetchall()
    ends = {rows[0][0], rows[-1][0]}
    artifacts = work / "artifacts"
    for file in artifacts.rglob("*.safetensors"):
        if file.relative_to(artifacts).as_posix() not in ends and file.read_bytes() != exported:
            file.unlink()


def pack(work: Path) -> None:
    """One file in place of the former one."""
    with tarfile.open(ARCHIVE, "w:gz") as archive:
        for name in ("nas.db", "artifacts", "zoo", *RECIPES):
            archive.add(work / name, name, filter=without_owner)
    print(f"wrote {ARCHIVE}: {ARCHIVE.stat().st_size:,} bytes")


def without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    return member.replace(uid=0, gid=0, uname="", gname="", deep=False)


if __name__ == "__main__":
    main()
