"""`launch.py explain` and `pareto --history` on a small study that was recorded by hand."""

import contextlib
import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from db.engine import engine_kwargs
from db.store import open_store
from db.tables import architectures, studies
from nas.config import SearchConfig
from nas.pareto.front import FrontKeeper
from nas.protocols import mixers_of
from nas.records import Latency, RungScore, StudyRecord, TrialFacts
from nas.search.establish import knowledge_of
from nas.search.study import SearchStudy, open_optuna_storage
from search_spaces.registry import make_space
from tests.samples import TARGET, study_record
from workers.data.registry import open_data

SPACE = make_space("conv_only", "nano", 32, 1, 10)
REFERENCE = (0.1, 1e12)


def record_study(url: str, num_trials: int) -> None:
    """Random architectures of conv_only whose top1 is that of depth and stem alone; every tenth trial failed.

    A part takes 0.1 ms, and 0.2 ms for a million multiply-adds.
    """
    config = SearchConfig(
        space="conv_only", budget=num_trials, study="s", storage=url, artifacts="a", objectives=("top1", "macs")
    )
    record = study_record("macs", name="s")
    values = {name: getattr(record, name) for name in record.__slots__}
    settings = {
        "space": SPACE.name,
        "scale": SPACE.scale,
        "mixers": mixers_of(SPACE),
        "space_hash": SPACE.space_hash,
        "config": config.to_json(),
        "reference_point": REFERENCE,
        "data_facts": open_data("digits").facts,
    }
    storage = open_optuna_storage(url, engine_kwargs(url))
    with contextlib.closing(open_store(url)) as store:
        store.create_study(StudyRecord(**{**values, **settings}))
        study = SearchStudy(storage, "s", config.objectives, knowledge_of(SPACE, config), "random", 0)
        keeper = FrontKeeper("macs", REFERENCE)
        rng = np.random.default_rng(0)
        for place in range(num_trials):
            genotype = SPACE.sample(rng)
            number = study.start(study.ask(), genotype, {}, {}, {})
            architecture = SPACE.architecture(genotype)
            top1 = 0.5 + 0.3 * (genotype["depth"] == "high") + 0.1 * (genotype["stem"] == "conv") + 0.001 * rng.random()
            ms = sum(0.1 + 0.2e-6 * macs for _, macs in SPACE.parts(architecture))
            failed = place % 10 == 9
            facts = TrialFacts(
                number,
                architecture.arch_hash,
                architecture.to_spec(),
                architecture.layout(),
                SPACE.costs(architecture),
                0,
                "FAIL" if failed else "COMPLETE",
                "loss is nan" if failed else None,
                Latency(TARGET, {}, ms, ms, ms, ms, 30),
                rungs=() if failed else (RungScore(0, 128, top1, 0.5, 3.0),),
                duration_s=4.0,
            )
            store.record("s", facts, keeper.add(facts))
            study.tell(number, facts)
    storage.engine.dispose()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('study')}/nas.db"
    record_study(url, 30)
    return url


def test_explanation_finds_the_genes_that_matter(run_command, url: str) -> None:
    code, out, err = run_command("explain", "--storage", url, "--study", "s", "--trial", "4")
    assert (code, err) == (0, "")
    assert "rests on 27 finished trials; left out: 3 FAIL" in out
    assert re.search(r"^depth +8\d%|^depth +9\d%", out, re.MULTILINE)
    assert "one gene of trial 4 changed" in out and "lineage:" in out
    assert re.search(
        r"^latency by parts; held out, 30 timings: (9\d|100)% within 10%, Kendall's tau (0\.9|1\.0)", out, re.MULTILINE
    )
    assert re.search(r"^mbconv 7 +\d+\.\d% +0\.\d{4} +0\.\d{4} +\d+$", out, re.MULTILINE)


def test_json_and_page_are_files(run_command, url: str, tmp_path: Path) -> None:
    code, out, err = run_command(
        "explain", "--storage", url, "--json", str(tmp_path / "e.json"), "--html", str(tmp_path / "e.html")
    )
    assert (code, out) == (0, "")
    assert err.splitlines() == [f"wrote {tmp_path}/e.json", f"wrote {tmp_path}/e.html"]
    data = json.loads((tmp_path / "e.json").read_text())
    assert [gene["gene"] for gene in data["genes"]][:2] == ["depth", "stem"]
    assert {gene["gene"]: gene["best_for_top1"] for gene in data["genes"]}["stem"] == "conv"
    assert data["changes"] == [] and data["quality"][0]["r2"] > 0.8
    assert data["latency"]["quality"]["near"] > 0.9 and {row["kind"] for row in data["latency"]["table"]} >= {
        "head",
        "mbconv 3",
        "dwconv 5",
    }
    assert "What the parts of a network take" in (tmp_path / "e.html").read_text()
    code, out, _ = run_command("explain", "--storage", url, "--json")
    assert json.loads(out) == data


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--study", "nope"], 2, "there is no study 'nope'; the database has s"),
        (["--trial", "99"], 2, "--trial is 99, and study 's' has no such trial; its trials are 0 to 29"),
        (["--trial", "9"], 2, "--trial is 9, and that trial is FAIL"),
        (["--html", "e.txt"], 2, "expected a file name that ends in .html"),
    ],
)
def test_bad_input_is_one_line(run_command, url: str, arguments: list[str], code: int, message: str) -> None:
    found, out, err = run_command("explain", "--storage", url, *arguments)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert message in err


def test_studies_that_cannot_be_explained_say_why(run_command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    with contextlib.closing(open_store(url)) as store:
        store.create_study(study_record("macs", name="s"))
    code, _, err = run_command("explain", "--storage", url)
    assert code == 2 and "lacks the table 'studies' of Optuna: restore a copy of it" in err
    open_optuna_storage(url, engine_kwargs(url)).engine.dispose()
    code, _, err = run_command("explain", "--storage", url)
    assert code == 2 and "Optuna has no study 's' in this database" in err
    (tmp_path / "nas.db").unlink()
    record_study(url, 5)
    code, _, err = run_command("explain", "--storage", url)
    assert code == 1 and "has 5 finished trials; an explanation needs 10: search on" in err
    with contextlib.closing(open_store(url)) as store, store._writer.begin() as connection:
        connection.execute(sa.update(studies).values(space_hash="f" * 64))
        connection.execute(sa.update(architectures).values(macs=1))
    code, _, err = run_command("explain", "--storage", url)
    assert code == 2 and "its genes mean something else; explain it with version 0.1.0" in err


def test_history_of_a_study_without_a_front_says_what_was_spent(run_command, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    with contextlib.closing(open_store(url)) as store:
        store.create_study(study_record("macs", name="s"))
    code, out, _ = run_command("pareto", "--history", "--storage", url)
    assert code == 0 and out.splitlines()[-1] == "0 evaluated in 0 s of device time; no growth in the last 0"
    code, _, err = run_command("pareto", "--storage", url)
    assert code == 1 and "study 's' has no front yet: no trial has finished" in err


def test_history_comes_in_every_form(run_command, url: str, tmp_path: Path) -> None:
    code, out, _ = run_command("pareto", "--history", "--storage", url)
    assert code == 0
    assert out.splitlines()[-1].startswith("27 evaluated in 2 min 00 s of device time; no growth in the last ")
    code, out, _ = run_command("pareto", "--history", "--storage", url, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    code, out, err = run_command(
        "pareto",
        "--history",
        "--storage",
        url,
        "--json",
        "--plot",
        str(tmp_path / "h.png"),
        "--html",
        str(tmp_path / "h.html"),
    )
    assert code == 0
    assert [step["hypervolume"] for step in json.loads(out)["growths"]] == [float(row["hypervolume"]) for row in rows]
    assert err.splitlines() == [f"wrote {tmp_path}/h.png", f"wrote {tmp_path}/h.html"]
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG") and "architectures evaluated" in (
        tmp_path / "h.html"
    ).read_text()
    assert run_command("pareto", "--storage", url)[1].splitlines()[0].startswith("s: ")
