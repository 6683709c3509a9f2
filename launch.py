"""The command line: options in, one call of hybrid_nas, printing, errors out as exit codes.

    python launch.py --space hybrid_layout --budget 200

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted (the state is saved; the same command continues). Other
packages add commands by name (hybrid_nas/commands.py). Libraries that are slow to import are imported by the command
that needs them.
"""

import os
import sys

if (
    __name__ == "__main__"
    and __spec__ is not None
    and not sys.flags.safe_path
    and sys.path[0] != os.path.dirname(os.path.abspath(__file__))
):
    # `python -m launch` looks into the current folder first, where any torch.py or nas.py of the user's would be found.
    del sys.path[0]

from nas.systems import lacking

if (_lacking := lacking(sys.platform)) is not None:
    print(f"error: {_lacking}", file=sys.stderr)
    sys.exit(2)

import signal

if __name__ == "__main__":
    # Until main() takes over, Ctrl-C ends the process without the traceback of half an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import logging
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import click

from hybrid_nas import parts
from hybrid_nas.calling import libraries_unheard
from hybrid_nas.commands import Commands, counting
from hybrid_nas.options import (
    artifacts_option,
    at_least,
    data_option,
    file_type,
    flag,
    folder_type,
    given_file,
    json_option,
    known_options,
    limit_options,
    name_option,
    new_data_option,
    onnx_option,
    overwrite_option,
    ray_option,
    shown,
    space_options,
    storage_option,
    storage_timeout_option,
    study_option,
    zoo_option,
)
from hybrid_nas.outcomes import run
from hybrid_nas.problems import PROBLEMS, open_problem
from hybrid_nas.streams import close_streams, echo, open_streams, tell
from hybrid_nas.study import Study, find_study, summaries
from nas.caller import Caller
from nas.config import COST_OBJECTIVES
from nas.errors import InvalidInputError, SearchAbortedError
from nas.files import check_outputs, give
from nas.finalists.plan import MIN_SEEDS
from nas.pareto.picks import EXPECTED
from nas.records import facts_by_number
from nas.reports.final_fronts import final_front_text, full_training_text
from nas.reports.pages import PICTURE_SUFFIXES
from nas.reports.spaces import space_text
from nas.reports.status import studies_text
from nas.samplers.registry import SAMPLERS, check_sampler
from nas.search.loop import EXIT_INTERRUPTED
from nas.signals import StopSignals
from nas.version import code_version
from nas.workspace import open_log

hand_out = partial(give, show=echo, note=partial(tell, err=True))
targets_help = (
    "What latency is measured on, such as cpu:threads=1,batch=1 or onnxruntime:threads=2; repeatable, the first is the "
    "objective."
)
failures_help = "Share of the evaluations that fail, half of them with their worker."
no_replay_help = "Train repeats again, instead of answering them from the record."
keep_help = "With more than one rung, share of the candidates that goes on from each."
final_help = "Give the final front of `finalize`, with spread, intervals and probability of all finalists."
teacher_help = "Learn from it too: a folder that `export` wrote, or a pretrained model of timm with the same classes."


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--space", help="Search space: a name (`launch.py spaces` lists them), or a FILE.py or package.module with SPACE."
)
@click.option("--budget", type=int, help="Distinct architectures to evaluate in the study, earlier runs included.")
@click.option("--study", help="Name of the study, SPACE-SCALE-DATA by default; the same name continues it.")
@storage_option
@artifacts_option
@new_data_option
@space_options
@shown("--objectives", default="top1,latency_ms", help=f"top1 and one of {', '.join(COST_OBJECTIVES)}.")
@click.option("--latency-target", multiple=True, help=targets_help)
@click.option("--workers", type=int, help="Concurrent evaluations; one per GPU, else one per core, by default.")
@click.option("--gpus-per-worker", type=float, help="Share of a GPU for each worker; 1 with GPUs, else 0, by default.")
@shown("--sampler", default="ehvi", help=f"{', '.join(SAMPLERS)}.")
@shown("--seed", default=0, help="Of the sampler and of every training.")
@limit_options
@click.option("--recipe", help="How candidates are trained: a name, or a JSON file; by default what suits the data.")
@shown("--rungs", default=1, help="Scores in each training; at all but the last, the worse candidates are stopped.")
@shown("--keep", default=0.5, help=keep_help)
@click.option("--max-hours", type=float, help="Stop after this time; the same command continues.")
@click.option("--patience", type=int, help="Stop when this many evaluations in a row added nothing to the hypervolume.")
@shown("--trial-timeout-s", default=3600.0, help="Replace a worker that makes no progress for this long.")
@known_options
@click.option("--notify", metavar="URL", help="Tell it the end, a failure and how the front grows, signed.")
@ray_option
@storage_timeout_option
@flag("--quiet", help="Print errors and the end only.")
@click.pass_context
def cli(context: click.Context, /, quiet: bool, **options: Any) -> None:
    """Search hybrid attention/convolution vision backbones for accuracy against latency on your device."""
    if not quiet:
        context.with_resource(counting())
    if context.invoked_subcommand is not None:
        return
    if options["space"] is None and options["budget"] is None:
        echo(context.get_help())
        return
    for name in ("space", "budget"):
        if options[name] is None:
            raise click.UsageError(f"a search needs --{name}; for example: --space hybrid_layout --budget 200")
    sys.exit(parts.search(options, caller_of(context.obj), quiet=quiet)[1].exit_code)


def caller_of(signals: StopSignals, *, err: bool = False) -> Caller:
    """The command line as a caller; what is said goes to the output, or to the errors."""
    return Caller(signals, partial(tell, err=err), log_to)


def opened(study: str | None, storage: str, artifacts: str | None = None, *, err: bool = False) -> Study:
    """The study that the options name."""
    return find_study(study, storage, artifacts, caller=caller_of(click.get_current_context().obj, err=err))


@cli.command()
@study_option
@storage_option
def status(study: str | None, storage: str) -> None:
    """List the studies, or say how one of them stands."""
    if study is None:
        echo(studies_text(summaries(storage)))
        return
    found = opened(study, storage).status()
    echo(str(found))
    if found.problems:
        sys.exit(1)


@cli.command()
@study_option
@storage_option
@click.option(
    "--latency-target", help="Give the front on this target, from what `profile` timed; the study's own by default."
)
@flag("--final", help=final_help)
@flag("--history", help="Give how the hypervolume grew, instead of the front.")
@json_option
@given_file("--csv", "csv_file", help="Give it as CSV, to a file or without one to the output.")
@click.option("--plot", "plot_file", type=file_type, help="Draw it: .png, .svg or .pdf.")
@click.option("--html", "html_file", type=file_type, help="Write it as one interactive page.")
def pareto(
    study: str | None, storage: str, latency_target: str | None, final: bool, history: bool, **files: Any
) -> None:
    """Show the Pareto front of a study, its final front or its history, as a table, data or a picture."""
    if final and (history or latency_target is not None):
        other = "--history" if history else "--latency-target"
        raise InvalidInputError(f"--final and {other} are both given; give one of them")
    check_outputs(
        (files["json_file"], [".json"]),
        (files["csv_file"], [".csv"]),
        (files["plot_file"], PICTURE_SUFFIXES),
        (files["html_file"], [".html"]),
    )
    found = opened(study, storage)
    if history:
        view = found.history(latency_target).view
    elif final:
        view = found.final_pareto().view
    else:
        view = found.pareto(latency_target).view
    for file, make, suffix in ((files["json_file"], view.json, ".json"), (files["csv_file"], view.csv, ".csv")):
        if file is not None:
            hand_out(file, make(), suffix)
    for path, draw in ((files["plot_file"], view.plot), (files["html_file"], view.html)):
        if path is not None:
            draw(path)
            tell(f"wrote {path}", err=True)
    if not any(files.values()):
        echo(view.text())


@cli.command("bench")
@click.option("--problem", required=True, help=f"{', '.join(PROBLEMS)}.")
@shown("--data", "folder", default="tabular", type=folder_type, help="Folder of macro and accel; others need none.")
@click.option("--sampler", "samplers", multiple=True, help=f"{', '.join(SAMPLERS)}; repeat it, all by default.")
@shown("--cost", default="known", help="known before training, or modelled from what was trained.")
@shown("--seeds", default=20, help="Searches of each sampler.")
@shown("--budget", default=200, help="Distinct architectures in each.")
@shown("--workers", default=1, help="Simulated workers, asynchronous.")
@shown("--failures", "failure_rate", default=0.0, help=failures_help)
@shown("--rungs", default=1, help="Scores in each training; at all but the last, the worse half is stopped.")
@click.option("--no-replay", "replay", flag_value=False, default=True, help=no_replay_help)
@json_option
def bench_samplers(
    problem: str, folder: Path, samplers: tuple[str, ...], cost: str, json_file: str | None, **options: Any
) -> None:
    """Compare samplers on recorded results, with simulated workers; a search uses the same loop."""
    from nas.tabular.bench import Conditions, SamplerResult, bench, bench_json, bench_text

    if cost not in ("known", "modelled"):
        raise InvalidInputError(f"--cost is {cost!r}; expected known or modelled")
    conditions = Conditions(**options)
    chosen = list(dict.fromkeys(samplers or SAMPLERS))
    for sampler in chosen:
        check_sampler(sampler)
    recorded = open_problem(problem, folder, cost == "known")
    check_outputs((json_file, [".json"]))
    results: list[SamplerResult] = []
    try:
        for number, sampler in enumerate(chosen, 1):
            results.append(bench(recorded, sampler, conditions))
            tell(f"{sampler}: done, {number} of {len(chosen)}", err=True)
    except SearchAbortedError as error:
        raise SearchAbortedError(f"a search by {sampler} stopped itself: {error}; give a smaller --failures") from error
    except KeyboardInterrupt:
        done = ", ".join(chosen[: len(results)]) or "nothing"
        tell(f"interrupted; the same command begins again. Done: {done}", err=True)
        sys.exit(EXIT_INTERRUPTED)
    finally:  # hours of work are not lost with what follows them
        if results and json_file is not None:
            hand_out(json_file, bench_json(recorded, results, conditions), ".json")
        elif results:
            echo(bench_text(recorded, results, conditions))


@cli.command()
@study_option
@storage_option
@click.option("--trial", type=int, help="Also predict what changing one gene of this trial does.")
@json_option
@click.option("--html", "html_file", type=file_type, help="Write it as one page.")
def explain(study: str | None, storage: str, trial: int | None, json_file: str | None, html_file: Path | None) -> None:
    """Say which genes drive a study's top1 and cost, and how its front came about."""
    check_outputs((json_file, [".json"]), (html_file, [".html"]))
    explained = opened(study, storage).explain(trial)
    if json_file is not None:
        hand_out(json_file, explained.json(), ".json")
    if html_file is not None:
        tell(f"wrote {explained.html(html_file)}", err=True)
    if json_file is None and html_file is None:
        echo(explained.text())


@cli.command()
@study_option
@storage_option
@artifacts_option
@data_option
@shown("--count", default=12, help="Architectures of all ranks to train.")
@click.option("--times", type=int, help="Length of the final training in those of the search; 8 by default.")
@click.option("--recipe", help="Train by this recipe instead: a name, or a JSON file.")
@click.option("--seed", type=int, help="Of the final trainings; the search's plus 1000 by default.")
@click.option("--workers", type=int, help="Trainings at a time; one per GPU, else one per core, by default.")
@json_option
def audit(study: str | None, storage: str, artifacts: str | None, json_file: str | None, **options: Any) -> None:
    """Train a sample of a study's architectures fully, and say how well the search ranks them."""
    from nas.analysis.audit import audit_json, audit_text

    check_outputs((json_file, [".json"]))
    result = opened(study, storage, artifacts, err=True).audit(**options)
    if json_file is None:
        echo(audit_text(result))
    else:
        hand_out(json_file, audit_json(result), ".json")
        for warning in result.warnings:
            tell(warning, err=True)


@cli.command()
@click.option("--space", help="Show one space, by name or by its FILE.py or package.module; all of them by default.")
@space_options
@shown("--data", default="digits", help="Image size and classes depend on it.")
def spaces(space: str | None, scale: str, mixers: str | None, data: str) -> None:
    """List the search spaces with their genes."""
    echo("\n\n".join(space_text(made) for made in parts.spaces(space, scale, data, mixers, tell)))


@cli.command()
@storage_option
@artifacts_option
@shown("--port", default=8080, help="On 127.0.0.1; 0 takes any free one.")
def dashboard(storage: str, artifacts: str | None, port: int) -> None:
    """Show the studies of a database in the Optuna dashboard, on this machine only."""
    parts.show_dashboard(storage, artifacts, port, tell)


@cli.command()
@study_option
@storage_option
@artifacts_option
@data_option
@shown("--top", default=8, type=at_least(1), help="How many members of the front to train.")
@click.option("--recipe", help="A recipe's name or a JSON file; eight times the search's steps by default.")
@click.option("--teacher", help=teacher_help)
@shown("--seeds", default=3, type=at_least(MIN_SEEDS), help="Trainings of each at its best settings.")
@shown("--samples", default=8, type=at_least(1), help="Settings of the recipe to try for each.")
@click.option("--workers", type=at_least(1), help="Concurrent trainings; one per GPU, else one per core, by default.")
@click.option(
    "--gpus-per-worker",
    type=click.FloatRange(0),
    help="Share of a GPU for each worker; 1 with GPUs, else 0, by default.",
)
@ray_option
@storage_timeout_option
def finalize(study: str | None, storage: str, artifacts: str | None, **options: Any) -> None:
    """Train the best of a study fully with several seeds, and score them on test images."""
    found = opened(study, storage, artifacts)
    front = found.finalize(**options)
    echo(final_front_text(front, facts_by_number(found.trials), found.record))
    echo(f"next: launch.py export {found.workspace.study_words(found.name)} --pick knee --zoo zoo")


@cli.command()
@study_option
@storage_option
@artifacts_option
@shown("--pick", default="knee", help=f"Which trial: {EXPECTED.removeprefix('expected ')}.")
@zoo_option
@name_option(help="Of the model; STUDY-tN by default.")
@onnx_option
@flag("--retrain", help="Train it again as the search did, where its weights were not kept.")
@data_option
@overwrite_option
def export(study: str | None, storage: str, artifacts: str | None, **options: Any) -> None:
    """Write a trial to a model zoo that plain timm loads."""
    from workers.export import load_text

    done = opened(study, storage, artifacts).export(**options)
    top1 = f"top1 {done.trial.top1:.4f}" if done.full is None else full_training_text(done.full)
    echo(f"wrote {done.folder}: trial {done.trial.trial_number}, {top1}, {done.trial.layout}")
    echo(load_text(done.folder))
    if done.note:
        tell(done.note, err=True)


@cli.command()
@study_option
@storage_option
@click.option("--latency-target", help="What to time on; the GPU, else one CPU thread, by default.")
@shown("--trials", default="front", help="front, all (finished ones), or numbers separated by commas.")
@click.option("--from", "files", multiple=True, type=file_type, help="Take in what `bundle` timed elsewhere instead.")
@storage_timeout_option
def profile(study: str | None, storage: str, **options: Any) -> None:
    """Time a study's networks without training; `pareto --latency-target` then gives their front."""
    found = opened(study, storage, err=True)
    done = found.profile(**options)
    words = f"{found.workspace.study_words(found.name)} --latency-target {shlex.quote(done.target)}"
    echo(f"{done.timed} timed, {done.failed} failed; next: launch.py pareto {words}")
    if done.failed:
        sys.exit(1)


@cli.command("import-weights")
@click.argument("file", type=file_type)
@click.option("--preset", required=True, help="Which network the weights are of, for example groupmixformer_tiny.")
@zoo_option
@name_option(help="Of the model; the preset's by default.")
@onnx_option
@overwrite_option
def import_weights(file: Path, preset: str, zoo: Path, name: str | None, onnx: bool, overwrite: bool) -> None:
    """Put a published checkpoint of a preset, FILE, into a model zoo."""
    from search_spaces.zoo.import_weights import import_checkpoint
    from workers.export import load_text

    # The card says what to type and not where things lie on this machine.
    words = [file.name, "--preset", preset, *(["--name", name] if name else []), *(["--onnx"] if onnx else [])]
    folder = import_checkpoint(
        file,
        preset,
        zoo=zoo,
        name=name or preset,
        onnx=onnx,
        overwrite=overwrite,
        code_version=code_version(),
        command=f"python launch.py import-weights {shlex.join(words)}",
    )
    echo(f"wrote {folder}: {preset}, every entry of {file.name} used once")
    echo(load_text(folder))


@cli.command()
@click.argument("source")
@click.argument("file", type=file_type)
@shown("--max-size", default=256, help="Longest side of an image in the file, pixels; larger ones are reduced.")
@click.option("--workers", type=int, help="Processes that decode and encode; one per core by default.")
@flag("--force", help="Replace FILE if there is one.")
def pack(source: str, file: Path, **options: Any) -> None:
    """Write the images of SOURCE (folder:DIR, cifar10:DIR or cifar100:DIR) to FILE.beton, for --data
    beton:FILE.beton."""
    from workers.data.beton.pack import pack_images
    from workers.data.source import tell as count

    try:
        packed = pack_images(source, file, show=partial(count, "packing"), say=tell, **options)
    except KeyboardInterrupt:
        tell(f"interrupted; {file} was not written, the same command begins again", err=True)
        sys.exit(EXIT_INTERRUPTED)
    images = f"{packed.num_train:,} images for training and {packed.num_validation:,} for validation"
    size = f"{packed.file_bytes / 1e6:,.1f} MB"
    echo(f"wrote {file} and {file}.json: {images} in {len(packed.class_names)} classes, {size}, verified")
    echo(f"use it: --data {shlex.quote(f'beton:{file}')}")


def log_to(file: Path) -> None:
    """Send every log line of the process to a file, from now on."""
    logging.basicConfig(handlers=[open_log(file)], level=logging.INFO, force=True)


def main() -> None:
    """Run the command line; every outcome becomes an exit code and at most one line."""
    open_streams()
    with StopSignals() as signals, libraries_unheard():
        try:
            run(cli, signals)
        finally:
            close_streams()


if __name__ == "__main__":
    main()
