"""The command line without a search: what bad input and read commands give."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from nas.errors import SearchAbortedError
from nas.tabular.bench import Conditions, SamplerResult, bench
from nas.tabular.recorded import RecordedProblem
from search_spaces.architecture.kinds.registry import KINDS
from workers.latency.reach import lacks_compiler

SEARCH = ["--space", "hybrid_layout", "--budget", "5"]


@pytest.fixture
def run(
    run_command: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NAS_STORAGE", raising=False)
    return run_command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "nope", "--budget", "5"], "unknown space 'nope'; expected one of conv_only, hybrid_layout"),
        (["--space", "hybrid_layout", "--budget", "0"], "--budget is 0"),
        (["--space", "hybrid_layout"], "a search needs --budget"),
        (["--space", "hybrid_layout", "--budget", "many"], "'many' is not a valid integer"),
        ([*SEARCH, "--scale", "huge"], "unknown scale 'huge'"),
        ([*SEARCH, "--sampler", "best"], "unknown sampler 'best'"),
        ([*SEARCH, "--patience", "0"], "--patience is 0; expected a number of evaluations without growth, at least 1"),
        ([*SEARCH, "--workers", "0"], "--workers is 0"),
        ([*SEARCH, "--objectives", "top1,top5"], "--objectives is 'top1,top5'"),
        ([*SEARCH, "--latency-target", "abacus"], "the kind 'abacus' is unknown"),
        (
            [*SEARCH, "--latency-target", "cpu", "--latency-target", "cpu:threads=1"],
            "--latency-target names one target twice",
        ),
        ([*SEARCH, "--latency-target", "cpu", "--latency-target", "abacus"], "the kind 'abacus' is unknown"),
        (
            [*SEARCH, "--objectives", "top1,macs", "--latency-target", "cpu"],
            "--latency-target is 'cpu', and a search for macs times nothing",
        ),
        ([*SEARCH, "--latency-target", "cpu:threads=100000"], "threads is 100000, and this process may use "),
        ([*SEARCH, "--latency-target", "cpu", "--latency-target", "cpu:threads=999999"], "threads is 999999, and"),
        ([*SEARCH, "--latency-target", "cpu:batch=1000000000"], "expected batch as a whole number from 1 to 65536"),
        ([*SEARCH, "--max-latency-ms", "1e-9"], "--max-latency-ms is 1e-09; expected at least 0.001"),
        ([*SEARCH, "--max-params", "10"], "--max-params 10 leaves nothing of the space hybrid_layout at scale nano"),
        ([*SEARCH, "--max-macs", "10"], "parameters and 276,496 macs; give more"),
        ([*SEARCH, "--trial-timeout-s", "0.001"], "--trial-timeout-s is 0.001; expected at least 1"),
        ([*SEARCH, "--workers", "3", "--gpus-per-worker", "1000"], "3 workers need 3000 GPUs, and torch sees "),
        (
            [*SEARCH, "--gpus-per-worker", "1.5"],
            "expected 0, a share of one GPU from 0.01 on, or a whole number of GPUs",
        ),
        ([*SEARCH, "--gpus-per-worker", "1e-9"], "--gpus-per-worker is 1e-09; expected 0, a share of one GPU"),
        ([*SEARCH, "--max-params", f"1{'0' * 400}"], "expected a positive number, at most 1e+15"),
        (
            [*SEARCH, "--trial-timeout-s", "1e300"],
            "--trial-timeout-s is 1e+300; expected a positive number, at most 1e+15",
        ),
        (["--space", "hybrid_layout", "--budget", f"1{'0' * 400}"], "at least 1 and at most 1e+15"),
        ([*SEARCH, "--rungs", "1000000000"], "--rungs is 1000000000, but a training of "),
        ([*SEARCH, "--artifacts", "/proc/here"], "give a folder that you may write as --artifacts"),
        (["audit", "--json", "nowhere/x.json"], "lies in a folder that does not exist"),
        (["explain", "--html", "x.txt"], "expected a file name that ends in .html"),
        (["pareto", "--json", "--plot", "x.gif"], "expected a file name that ends in .png or .svg or .pdf"),
        (["pareto", "--csv", f"{'x' * 250}.csv"], "File name too long"),
        ([*SEARCH, "--max-latency-ms", "-1"], "--max-latency-ms is -1.0; expected a positive number"),
        ([*SEARCH, "--warm-start", "lukewarm"], "--warm-start is 'lukewarm'; expected presets, none or study:NAME"),
        ([*SEARCH, "--study", "a", "--warm-start", "study:a"], "--warm-start names the study 'a' itself"),
        ([*SEARCH, "--recipe", "pico"], "recipe 'pico' is unknown; expected one of nano, nano-rungs, cifar"),
        (
            [*SEARCH, "--recipe", "nano", "--rungs", "9"],
            "--rungs is 9, but a training of 96 steps cannot be halved that often",
        ),
        ([*SEARCH, "--data", "cifar10:nowhere"], "nowhere' neither holds"),
        ([*SEARCH, "--data", "mnist"], "'mnist'"),
        ([*SEARCH, "--storage", "sqlite:///missing\0/nas.db"], "names no file"),
        ([*SEARCH, "--storage", "mysql://me:hunter2@host/db"], "mysql"),
        ([*SEARCH, "--storage", "postgresql+psycopg://me:hunter2@127.0.0.1:1/db"], "does not answer"),
        ([*SEARCH, "--study", "a/b"], "--study is 'a/b'"),
        ([*SEARCH, "--study", ".."], "--study is '..'"),
        ([*SEARCH, "--study", "a\x1b[2J"], r"--study is 'a\x1b[2J'; expected 1 to 200 bytes of printable characters"),
        ([*SEARCH, "--study", "\u00e9" * 101], "expected 1 to 200 bytes"),
        (["status"], "there is no database"),
        (["pareto"], "there is no database"),
        (["export"], "there is no database"),
        (["finalize"], "there is no database"),
        (["finalize", "--seeds", "1"], "1 is not in the range x>=2"),
        (["finalize", "--top", "0"], "0 is not in the range x>=1"),
        (["dashboard"], "there is no database"),
        (["spaces", "--scale", "huge"], "unknown scale 'huge'"),
        (["bench", "--problem", "micro"], "unknown problem 'micro'"),
        (["bench", "--problem", "macro", "--data", "nowhere"], "the data of problem 'macro' cannot be read in "),
        (["bench", "--problem", "synthetic", "--sampler", "best"], "unknown sampler 'best'"),
        (["bench", "--problem", "synthetic", "--cost", "guessed"], "--cost is 'guessed'; expected known or modelled"),
        (
            ["--space", "hybrid_layout", "--budget", "1", "--seed", "-1"],
            "--seed is -1; expected a whole number from 0 to 2147483647",
        ),
        (["bench", "--problem", "synthetic", "--json", "nowhere/x.json"], "lies in a folder that does not exist"),
        (["bench", "--problem", "synthetic", "--json", "x.txt"], "expected a file name that ends in .json"),
        (["bench", "--problem", "synthetic", "--failures", "0.9"], "--failures is 0.9; expected a share from 0 to 0.3"),
        (["no-such-command"], "No such command"),
    ],
)
def test_bad_input_gives_one_line_and_leaves_nothing_behind(
    run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert "hunter2" not in out + err
    assert list(tmp_path.iterdir()) == []


def test_image_folder_with_one_class_is_refused(run, tmp_path: Path) -> None:
    from PIL import Image

    for split in ("train", "val"):
        (tmp_path / "data" / split / "cat").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "data" / split / "cat" / "0.png")
    code, _, err = run(*SEARCH, "--data", f"folder:{tmp_path}/data")
    assert code == 2
    assert "1 class" in err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_missing_compiler_is_known_before_anything_starts(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks_compiler.cache_clear()
    monkeypatch.setenv("CXX", "/nowhere/g++")
    code, out, err = run(*SEARCH, "--latency-target", "cpu:compile")
    lacks_compiler.cache_clear()
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "torch.compile needs a C++ compiler" in err and "'/nowhere/g++' does not do" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("targets", [["onnxruntime"], ["cpu", "onnxruntime"]])
def test_mixers_that_a_target_cannot_run_are_refused_before_anything_starts(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, targets: list[str]
) -> None:
    monkeypatch.setattr("search_spaces.zoo.onnx.PACKAGES", ())
    monkeypatch.setitem(KINDS, "lka", replace(KINDS["lka"], onnx="no operator for it"))
    words = [word for target in targets for word in ("--latency-target", target)]
    code, out, err = run(*SEARCH, "--mixers", "core,lka", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert (
        "latency target 'onnxruntime:threads=1,batch=1': onnxruntime cannot run lka (no operator for it); leave them "
        "out of --mixers, or give another --latency-target"
    ) in err
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_of_more_images_than_there_are_is_refused(run, tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text('{"rungs": [4], "batch_size": 100000, "learning_rate": 0.1}')
    code, _, err = run(*SEARCH, "--recipe", "q.json")
    assert code == 2
    assert "batch_size is 100000, and the data have 4,096 images for training" in err
    assert [path.name for path in tmp_path.iterdir()] == ["q.json"]


def test_a_log_that_cannot_be_written_stops_before_any_worker_starts(run, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "logs").write_text("in the way")
    code, out, err = run(*SEARCH, "--study", "s")
    assert (code, out) == (2, "")
    assert "cannot write the log file " in err and "/runs/logs/s-" in err
    assert err.count("\n") == 1


def test_a_foreign_study_of_the_same_name_is_left_alone(run, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    storage = optuna.storages.RDBStorage("sqlite:///runs/nas.db")
    optuna.create_study(study_name="s", storage=storage).optimize(
        lambda trial: trial.suggest_float("x", 0, 1), n_trials=1
    )
    code, _, err = run(*SEARCH, "--study", "s")
    assert code == 2
    assert "an Optuna study 's' that is no search of ours; give another --study" in err
    assert len(optuna.load_study(study_name="s", storage=storage).trials) == 1
    storage.engine.dispose()


def test_an_unexpected_error_shows_its_details_where_there_is_no_log(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_spaces.registry.space_names", lambda: 1 / 0)
    monkeypatch.setattr("hybrid_nas.outcomes._log.hasHandlers", lambda: False)  # pytest has some
    code, _, err = run("spaces")
    assert code == 1
    assert "Traceback" in err
    assert (
        err.splitlines()[-1]
        == "error: unexpected ZeroDivisionError; this is a fault of ours, the lines above are the details"
    )


def test_spaces_are_listed_with_their_genes(run) -> None:
    code, out, _ = run("spaces")
    assert code == 0
    assert "hybrid_layout, scale nano" in out
    assert "conv_only, scale nano" in out
    for gene in ("stem", "stage1_pattern", "stage2_attention", "stage3_group_sizes"):
        assert gene in out


def test_help_without_arguments(run) -> None:
    code, out, _ = run()
    assert code == 0
    assert "--space" in out and "pareto" in out


def test_samplers_are_compared_on_a_problem_that_needs_no_data(run) -> None:
    arguments = [
        "bench",
        "--problem",
        "synthetic",
        "--seeds",
        "2",
        "--budget",
        "30",
        "--sampler",
        "random",
        "--sampler",
        "ehvi",
    ]
    code, out, _ = run(*arguments)
    assert code == 0
    assert out.startswith("synthetic, cost known, 2 seeds; ")
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["sampler", "random", "ehvi"]
    code, out, _ = run(*arguments, "--workers", "4", "--cost", "modelled", "--json")
    values = json.loads(out)
    assert (code, values["workers"], [result["distinct"] for result in values["results"]]) == (0, 4, [30.0, 30.0])
    assert (values["problem"], values["cost"]) == ("synthetic", "modelled")


def test_simulated_failures_print_nothing(tmp_path: Path) -> None:
    """In a process of its own, because pytest's handler for warnings would take them."""
    launch = Path(__file__).parent.parent / "launch.py"
    options = ["--problem", "synthetic", "--sampler", "random", "--seeds", "1", "--budget", "20", "--failures", "0.3"]
    ended = subprocess.run(
        [sys.executable, launch, "bench", *options], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ended.stderr == "random: done, 1 of 1\n"


@pytest.mark.parametrize(
    ("error", "code"), [(SearchAbortedError("11 of the last 20 evaluations failed"), 1), (KeyboardInterrupt(), 130)]
)
def test_a_comparison_that_ends_early_gives_what_is_done(
    run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def bench_or_end(problem: RecordedProblem, sampler: str, conditions: Conditions) -> SamplerResult:
        if sampler == "tpe":
            raise error
        return bench(problem, sampler, conditions)

    monkeypatch.setattr("nas.tabular.bench.bench", bench_or_end)
    found, out, err = run(
        "bench", "--problem", "synthetic", "--seeds", "1", "--budget", "5", "--sampler", "random", "--sampler", "tpe"
    )
    assert found == code
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["sampler", "random"]
    assert ("a search by tpe stopped itself: 11 of the last 20" if code == 1 else "Done: random") in err
