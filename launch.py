"""The command line: arguments in, parts picked and wired, errors out as exit codes.

    python launch.py --space hybrid_layout --budget 200

Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted (the state is saved; the same command continues). What a
command does lives in the package that owns it; libraries that are slow to import are imported by the command that needs
them.
"""

import signal

if __name__ == "__main__":
    # Until main() takes over, Ctrl-C ends the process without the traceback of half an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import contextlib
import functools
import logging
import os
import re
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from db.engine import engine_kwargs, parse_url, redact_url
from db.errors import again_after_races
from db.store import SqlStore, open_store
from nas.config import COST_OBJECTIVES, SearchConfig
from nas.errors import InvalidInputError, NasError, SearchAbortedError
from nas.finalists.plan import MIN_SEEDS, Finals, choose_finalists, final_front_faults, full_training, run_finals
from nas.pareto.history import history_of
from nas.pareto.picks import EXPECTED, pick_study, pick_trial, pick_trials
from nas.pareto.targets import on_target, target_text, untimed
from nas.protocols import SearchSpace
from nas.records import JSON, Latency, StudyRecord, TrialFacts
from nas.reports import fronts as report
from nas.reports.dashboard import drawings_folder, make_drawings_folder, serve
from nas.reports.exports import exports_text
from nas.reports.final_fronts import final_front_text, full_training_text
from nas.reports.views import final_view, front_view, history_view
from nas.samplers.registry import SAMPLERS, check_sampler
from nas.search.establish import Identity, already_done, check_study, establish
from nas.search.loop import INTERRUPTED, Outcome, Search
from nas.search.ownership import Ownership, owned
from nas.search.progress import Progress
from nas.search.retiming import latest, places, retimings_text, time_again, unsettled
from nas.search.study import open_optuna_storage, recorded_genotypes, recorded_values
from nas.search.weights import read_weights
from nas.signals import StopSignals
from nas.tabular.problems import PROBLEMS, open_problem
from nas.text import cost_text
from nas.version import code_version
from nas.workspace import study_folder

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from workers.cluster.pool import RayPool

STORAGE_VARIABLE = "NAS_STORAGE"
DEFAULT_STORAGE = "sqlite:///runs/nas.db"
EXIT_INTERRUPTED = 130
LINE_S = 10.0
"""Between two lines of a command that counts, where there is no terminal."""

_log = logging.getLogger("nas")

storage_option = click.option(
    "--storage",
    envvar=STORAGE_VARIABLE,
    default=DEFAULT_STORAGE,
    help=f"Database URL; {STORAGE_VARIABLE} or {DEFAULT_STORAGE} by default.",
)
study_option = click.option("--study", help="Name of the study; may be left out where the database has only one.")
artifacts_option = click.option("--artifacts", help="Folder of weights and drawings; beside the database by default.")


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--space", help="Search space; `launch.py spaces` lists them.")
@click.option("--budget", type=int, help="Distinct architectures to evaluate in the study, earlier runs included.")
@click.option("--study", help="Name of the study, SPACE-SCALE-DATA by default; the same name continues it.")
@storage_option
@artifacts_option
@click.option(
    "--data", default="digits", show_default=True, help="digits, cifar10:DIR, cifar100:DIR, folder:DIR or beton:FILE."
)
@click.option("--scale", default="nano", show_default=True, help="nano, mobile, tiny, small or base.")
@click.option(
    "--objectives", default="top1,latency_ms", show_default=True, help=f"top1 and one of {', '.join(COST_OBJECTIVES)}."
)
@click.option(
    "--latency-target",
    "latency_targets",
    multiple=True,
    help=(
        "What latency is measured on, such as cpu:threads=1,batch=1 or onnxruntime:threads=2; repeatable, the first "
        "is the objective."
    ),
)
@click.option("--workers", type=int, help="Concurrent evaluations; one per GPU, else one per core, by default.")
@click.option("--gpus-per-worker", type=float, help="Share of a GPU for each worker; 1 with GPUs, else 0, by default.")
@click.option("--sampler", default="ehvi", show_default=True, help=f"{', '.join(SAMPLERS)}.")
@click.option("--seed", default=0, show_default=True, help="Of the sampler and of every training.")
@click.option("--max-latency-ms", type=float, help="Reject slower candidates before training.")
@click.option("--max-params", type=int, help="Reject larger candidates before training.")
@click.option("--max-macs", type=int, help="Reject costlier candidates before training.")
@click.option("--recipe", help="How candidates are trained: a name, or a JSON file; by default what suits the data.")
@click.option(
    "--rungs",
    default=1,
    show_default=True,
    help="Scores in each training; at all but the last, the worse candidates are stopped.",
)
@click.option(
    "--keep",
    default=0.5,
    show_default=True,
    help="With more than one rung, share of the candidates that goes on from each.",
)
@click.option("--max-hours", type=float, help="Stop after this time; the same command continues.")
@click.option("--patience", type=int, help="Stop when this many evaluations in a row added nothing to the hypervolume.")
@click.option(
    "--trial-timeout-s",
    default=3600.0,
    show_default=True,
    help="Replace a worker that makes no progress for this long.",
)
@click.option(
    "--warm-start",
    default="presets",
    show_default=True,
    help="presets: published layouts; study:NAME: what that one found; none.",
)
@click.option("--ray-address", help="Running Ray cluster to use; a local one is started by default.")
@click.option("--quiet", is_flag=True, help="Print errors and the end only.")
@click.pass_context
def cli(context: click.Context, /, quiet: bool, **options: Any) -> None:
    """Search hybrid attention/convolution vision backbones for accuracy against latency on your device."""
    if context.invoked_subcommand is not None:
        return
    if options["space"] is None and options["budget"] is None:
        click.echo(context.get_help())
        return
    for name in ("space", "budget"):
        if options[name] is None:
            raise click.UsageError(f"a search needs --{name}; for example: --space hybrid_layout --budget 200")
    sys.exit(run_search(options, quiet, context.obj).exit_code)


def run_search(options: dict[str, Any], quiet: bool, signals: StopSignals) -> Outcome:
    """Validate everything, then search in the study under its lease, and say how it ended."""
    config = _search_config(options)

    from search_spaces.registry import make_space
    from workers.data.registry import open_data
    from workers.latency.target import LatencyTarget, default_target
    from workers.processes import end_processes
    from workers.recipe import search_recipe

    source = open_data(config.data)
    space = make_space(config.space, config.scale, source.image_size, source.in_chans, source.num_classes)
    target = LatencyTarget.parse(config.latency_target or default_target()) if config.needs_latency else None
    parsed = [LatencyTarget.parse(text) for text in config.other_targets]
    others = tuple(map(str, parsed))
    if len({str(target), *others}) <= len(others):
        raise InvalidInputError(
            f"--latency-target names one target twice: {', '.join([str(target), *others])}; give each once"
        )
    targets = [timed.fingerprint(source.input_shape) for timed in (target, *parsed) if timed is not None]
    study = options["study"] or f"{space.name}-{space.scale}-{source.name}"
    config = replace(
        config,
        study=study,
        data=source.text,
        latency_target=None if target is None else str(target),
        other_targets=others,
    )
    identity = Identity(
        data=source.name,
        data_fingerprint=source.fingerprint,
        num_classes=source.num_classes,
        recipe=search_recipe(config.recipe, source, config.rungs).to_json(),
        target=targets[0] if targets else None,
        code_version=code_version(),
        config={**config.to_json(), "storage": redact_url(config.storage)},
    )
    say: Callable[[str], None] = (lambda text: None) if quiet else click.echo
    with _open_databases(config.storage) as (store, storage), owned(store, study, end_processes, say) as ownership:
        recorded = check_study(store, storage, config, space, identity)
        _log_to_file(_log_file(config.storage, config.study))
        make_drawings_folder(Path(config.artifacts))
        if recorded is not None and recorded.code_version != identity.code_version:
            say(f"note: the study was created by version {recorded.code_version}, this is {identity.code_version}")
        if recorded is not None:
            _note_missing_weights(config, recorded, store, say)
        outcome = already_done(config, space, recorded, store, storage) if recorded is not None else None
        # A kill may have come before the front was timed again, and that needs workers.
        if recorded is not None and outcome is not None and not unsettled(recorded, targets, store):
            click.echo("\n".join(_last_lines(config, store, outcome)))
            return outcome
        say(f"study {config.study}: starting {config.workers} workers")
        with signals.closing(lambda: _make_pool(config, identity)) as pool:
            ownership.note_session(lambda: (pool.session_processes, pool.session_folder))
            return _search(config, space, identity, targets, recorded, pool, store, storage, ownership, signals, quiet)


def _note_missing_weights(
    config: SearchConfig, recorded: StudyRecord, store: SqlStore, say: Callable[[str], None]
) -> None:
    """A folder may have been moved, so other --artifacts are no error; but `export` would not find what stays
    elsewhere."""
    front = store.front(config.study)
    folder = Path(config.artifacts)
    members = {member.trial_number for member in front.members} if front is not None else set()
    kept = [
        trial.weights.path for trial in store.facts(config.study) if trial.trial_number in members and trial.weights
    ]
    missing = sum(not (folder / path).is_file() for path in kept)
    if missing:
        say(
            f"note: the weights of {missing} members of the front are not in {folder}; the study began with "
            "--artifacts "
            f"{recorded.artifacts}. Give that, or move its content, or `export` will not find them"
        )


def _search_config(options: dict[str, Any]) -> SearchConfig:
    from workers.cluster.pool import default_gpus_per_worker, default_num_workers

    check_sampler(options["sampler"])
    engine_kwargs(options["storage"])
    given = {name: value for name, value in options.items() if value is not None}
    targets = given.pop("latency_targets")
    given["latency_target"] = targets[0] if targets else None
    given["other_targets"] = targets[1:]
    given.setdefault("workers", default_num_workers())
    given.setdefault("gpus_per_worker", default_gpus_per_worker(max(1, given["workers"])))
    given["objectives"] = tuple(name.strip() for name in options["objectives"].split(","))
    given["artifacts"] = str(_artifacts_folder(options["artifacts"], options["storage"]))
    given["study"] = (
        options["study"] or "(no name yet)"
    )  # the default name needs the data, which take longer to check than all of this
    return SearchConfig(**given)


def _search(
    config: SearchConfig,
    space: SearchSpace,
    identity: Identity,
    targets: list[JSON],
    recorded: StudyRecord | None,
    pool: "RayPool",
    store: SqlStore,
    storage: "RDBStorage",
    ownership: Ownership,
    signals: StopSignals,
    quiet: bool,
) -> Outcome:
    parts = establish(
        config=config,
        space=space,
        identity=identity,
        recorded=recorded,
        evaluator=pool,
        store=store,
        storage=storage,
        sampling=_sampling_guard(config),
    )
    with (
        signals.deferred() as stop_requested,
        Progress(config.study, config.budget, parts.evaluated, quiet, cost_objective=config.cost_objective) as progress,
    ):
        progress.plan(parts.plan)
        search = Search(
            config=config,
            space=space,
            evaluator=pool,
            store=store,
            study=parts.study,
            proposer=parts.proposer,
            keeper=parts.keeper,
            weights=parts.weights,
            target=parts.record.target,
            progress=progress,
            check_owner=ownership.check,
            stop_requested=stop_requested,
        )
        outcome = search.run()
        if outcome.complete and not time_again(
            unsettled(parts.record, targets, store),
            seed=config.seed,
            evaluator=pool,
            store=store,
            check_owner=ownership.check,
            stop_requested=stop_requested,
            note=progress.note,
        ):
            outcome = INTERRUPTED
        progress.finish(_last_lines(config, store, outcome))
    return outcome


def _make_pool(config: SearchConfig, identity: Identity) -> "RayPool":
    from workers.cluster.pool import RayPool
    from workers.evaluate import EvaluationConfig
    from workers.processes import environment
    from workers.recipe import Recipe

    evaluation = EvaluationConfig(
        data=config.data,
        recipe=Recipe.from_json(identity.recipe),
        data_fingerprint=identity.data_fingerprint,
        latency_target=config.latency_target,
        other_targets=config.other_targets,
        device="cuda:0" if config.gpus_per_worker else "cpu",
    )
    # The URL may hold a password, and every process of Ray inherits the environment.
    with environment({STORAGE_VARIABLE: None}):
        return RayPool(
            evaluation,
            num_workers=config.workers,
            trial_timeout_s=config.trial_timeout_s,
            ray_address=config.ray_address,
            gpus_per_worker=config.gpus_per_worker,
            target=identity.target,
            log_file=_log_file(config.storage, config.study),
        )


def _sampling_guard(config: SearchConfig) -> Callable[[], contextlib.AbstractContextManager[object]]:
    """Nothing is timed on the CPU while the sampler computes there."""
    from workers.latency.device_lock import DeviceLock, device_identity

    if all(target is None or target.startswith("cuda") for target in (config.latency_target, *config.other_targets)):
        return contextlib.nullcontext
    return DeviceLock(device_identity("cpu")).shared


def _last_lines(config: SearchConfig, store: SqlStore, outcome: Outcome) -> list[str]:
    """The front, where things are, and what to type next."""
    _log.info("%s", outcome.reason)
    search = store.study(config.study)
    front = store.front(config.study)
    lines = []
    if search is not None and front is not None:
        facts = list(store.facts(config.study))
        retimings = store.retimings(config.study)
        again = places(front, facts, latest(retimings, search.target))
        lines = ["", report.front_text(front, facts, search, again), ""]
        if outcome.complete:
            lines += retimings_text(search, facts, store.timings(config.study), retimings)
        if outcome.complete and config.cost_objective != "latency_ms":
            lines.append(f"the front is not timed again: its cost, {config.cost_objective}, is counted")
    lines += [
        outcome.reason,
        (
            f"database {redact_url(config.storage)}, artifacts {config.artifacts}, log "
            f"{_log_file(config.storage, config.study)}"
        ),
    ]
    if not outcome.complete:
        lines.append("the same command continues")
    study = _study_words(config.study, config.storage)
    database = _storage_words(config.storage)
    own_folder = Path(config.artifacts) != _artifacts_folder(None, config.storage)
    artifacts = f" --artifacts {shlex.quote(config.artifacts)}" if own_folder else ""
    steps = f"pareto {study}", f"export {study}{artifacts} --pick knee --zoo zoo", f"dashboard{database}{artifacts}"
    return [*lines, "next: " + " | ".join(f"launch.py {step}" for step in steps)]


def _study_words(study: str, url: str) -> str:
    """The options that name the same study in another command."""
    return f"--study {shlex.quote(study)}{_storage_words(url)}"


def _storage_words(url: str) -> str:
    """The option that names the same database in another command."""
    return (
        "" if url == os.environ.get(STORAGE_VARIABLE, DEFAULT_STORAGE) else f" --storage {shlex.quote(redact_url(url))}"
    )


@cli.command()
@study_option
@storage_option
def status(study: str | None, storage: str) -> None:
    """List the studies, or say how one of them stands."""
    with _reading(storage) as store:
        if study is None:
            click.echo(report.studies_text([_summary(store, search) for search in store.studies()]))
            return
        search = pick_study(study, store.studies())
        click.echo(report.status_text(_summary(store, search)))
        again = retimings_text(
            search, list(store.facts(search.name)), store.timings(search.name), store.retimings(search.name)
        )
        for line in again:
            click.echo(f"again         {line}")
        for line in exports_text(store.exports(search.name)):
            click.echo(f"exported      {line}")
        problems = store.check_fronts(search.name)
        final = store.final_front(search.name)
        if final is not None:
            click.echo(final_front_text(final, {t.trial_number: t for t in store.facts(search.name)}, search) + "\n")
            problems += final_front_faults(final, store.final_trainings(search.name))
        click.echo("\n".join(problems) if problems else "front check   the recorded front equals the facts")
        if problems:
            sys.exit(1)


def _summary(store: SqlStore, study: StudyRecord) -> report.StudySummary:
    return report.summarize(study, store.facts(study.name), store.front(study.name), store.lease(study.name))


@cli.command()
@study_option
@storage_option
@click.option(
    "--latency-target", help="Give the front on this target, from what `profile` timed; the study's own by default."
)
@click.option(
    "--final",
    is_flag=True,
    help="Give the final front of `finalize`, with spread, intervals and probability of all finalists.",
)
@click.option("--history", is_flag=True, help="Give how the hypervolume grew, instead of the front.")
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value="-",
    help="Give it as JSON, to a file or without one to the output.",
)
@click.option(
    "--csv", "csv_file", is_flag=False, flag_value="-", help="Give it as CSV, to a file or without one to the output."
)
@click.option(
    "--plot", "plot_file", type=click.Path(dir_okay=False, path_type=Path), help="Draw it: .png, .svg or .pdf."
)
@click.option(
    "--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write it as one interactive page."
)
def pareto(
    study: str | None,
    storage: str,
    latency_target: str | None,
    final: bool,
    history: bool,
    json_file: str | None,
    csv_file: str | None,
    plot_file: Path | None,
    html_file: Path | None,
) -> None:
    """Show the Pareto front of a study, its final front or its history, as a table, data or a picture."""
    if final and (history or latency_target is not None):
        raise InvalidInputError(
            f"--final and {'--history' if history else '--latency-target'} are both given; give one of them"
        )
    with _reading(storage) as store:
        search = pick_study(study, store.studies())
        front = store.front(search.name)
        facts = list(store.facts(search.name))
        finals = store.final_front(search.name)
        retimings = store.retimings(search.name)
        ended = tuple(facts)
        if latency_target is not None:
            from workers.latency.target import LatencyTarget

            timed = on_target(search, facts, store.timings(search.name), LatencyTarget.read(latency_target).settings())
            search = timed.study
            front = timed.front
            facts = list(timed.facts)
            ended = timed.history
    words = _study_words(search.name, storage)
    if history:
        view = history_view(history_of(ended, search.cost_objective, search.reference_point), search)
    elif front is None:
        raise NasError(
            f"study {search.name!r} has no front yet: no trial has finished; look at `launch.py status {words}`"
        )
    elif not final:
        view = front_view(front, facts, search, places(front, facts, latest(retimings, search.target)))
    elif finals is None:
        raise NasError(f"study {search.name!r} has no final front yet; `launch.py finalize {words}` makes one")
    else:
        view = final_view(finals, facts, search)
    for file, make, suffix in ((json_file, view.json, ".json"), (csv_file, view.csv, ".csv")):
        if file is not None:
            _give(file, make(), suffix)
    for path, draw in ((plot_file, view.plot), (html_file, view.html)):
        if path is not None:
            draw(path)
            click.echo(f"wrote {path}", err=True)
    if not (json_file or csv_file or plot_file or html_file):
        click.echo(view.text())


@cli.command("bench")
@click.option("--problem", required=True, help=f"{', '.join(PROBLEMS)}; synthetic needs no data.")
@click.option(
    "--data",
    "folder",
    default="tabular",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Its folder.",
)
@click.option("--sampler", "samplers", multiple=True, help=f"{', '.join(SAMPLERS)}; repeat it, all by default.")
@click.option(
    "--cost", default="known", show_default=True, help="known before training, or modelled from what was trained."
)
@click.option("--seeds", default=20, show_default=True, help="Searches of each sampler.")
@click.option("--budget", default=200, show_default=True, help="Distinct architectures in each.")
@click.option("--workers", default=1, show_default=True, help="Simulated workers, asynchronous.")
@click.option(
    "--failures",
    default=0.0,
    show_default=True,
    help="Share of the evaluations that fail, half of them with their worker.",
)
@click.option(
    "--rungs",
    default=1,
    show_default=True,
    help="Scores in each training; at all but the last, the worse half is stopped.",
)
@click.option("--no-replay", is_flag=True, help="Train repeats again, instead of answering them from the record.")
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value="-",
    help="Give it as JSON, to a file or without one to the output.",
)
def bench_samplers(
    problem: str,
    folder: Path,
    samplers: tuple[str, ...],
    cost: str,
    failures: float,
    no_replay: bool,
    json_file: str | None,
    **counts: int,
) -> None:
    """Compare samplers on recorded results, with simulated workers; a search uses the same loop."""
    from nas.tabular.bench import Conditions, SamplerResult, bench, bench_json, bench_text

    if cost not in ("known", "modelled"):
        raise InvalidInputError(f"--cost is {cost!r}; expected known or modelled")
    conditions = Conditions(failure_rate=failures, replay=not no_replay, **counts)
    chosen = list(dict.fromkeys(samplers or SAMPLERS))
    for sampler in chosen:
        check_sampler(sampler)
    recorded = open_problem(problem, folder, cost == "known")
    if json_file not in (None, "-"):
        report.check_file(Path(json_file), (".json",))  # before hours of work
    results: list[SamplerResult] = []
    try:
        for number, sampler in enumerate(chosen, 1):
            results.append(bench(recorded, sampler, conditions))
            click.echo(f"{sampler}: done, {number} of {len(chosen)}", err=True)
    except SearchAbortedError as error:
        raise SearchAbortedError(f"a search by {sampler} stopped itself: {error}; give a smaller --failures") from error
    except KeyboardInterrupt:
        click.echo(
            f"interrupted; the same command begins again. Done: {', '.join(chosen[: len(results)]) or 'nothing'}",
            err=True,
        )
        sys.exit(EXIT_INTERRUPTED)
    finally:  # hours of work are not lost with what follows them
        if results and json_file is not None:
            _give(json_file, bench_json(recorded, results, conditions), ".json")
        elif results:
            click.echo(bench_text(recorded, results, conditions))


@cli.command()
@study_option
@storage_option
@click.option("--trial", type=int, help="Also predict what changing one gene of this trial does.")
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value="-",
    help="Give it as JSON, to a file or without one to the output.",
)
@click.option("--html", "html_file", type=click.Path(dir_okay=False, path_type=Path), help="Write it as one page.")
def explain(study: str | None, storage: str, trial: int | None, json_file: str | None, html_file: Path | None) -> None:
    """Say which genes drive a study's top1 and cost, and how its front came about."""
    from nas.analysis.explain import explain as explain_study
    from nas.reports import explanations as explain_report
    from search_spaces.recorded import as_recorded

    with _reading(storage) as store, _optuna_storage(storage) as optuna_storage:
        search = pick_study(study, store.studies())
        front = store.front(search.name)
        facts = list(store.facts(search.name))
        genotypes = recorded_genotypes(optuna_storage, search.name)
        values = recorded_values(optuna_storage, search.name)
    if not facts:
        raise NasError(
            f"study {search.name!r} has no trials yet; look at `launch.py status {_study_words(search.name, storage)}`"
        )
    space = as_recorded(_space_of(search, facts[0]), search, values, facts, genotypes)
    explanation = explain_study(space, search, facts, front, genotypes, trial)
    if json_file is not None:
        _give(json_file, explain_report.explanation_json(explanation), ".json")
    if html_file is not None:
        explain_report.html_explanation(html_file, explanation)
        click.echo(f"wrote {html_file}", err=True)
    if json_file is None and html_file is None:
        click.echo(explain_report.explanation_text(explanation))


def _space_of(study: StudyRecord, trial: TrialFacts) -> SearchSpace:
    """The space that a study searched; images and classes are taken from a trial, so that the data need not be here."""
    from search_spaces.registry import make_space

    image_size, in_chans, num_classes = (int(trial.spec[name]) for name in ("image_size", "in_chans", "num_classes"))
    return make_space(study.space, study.scale, image_size, in_chans, num_classes)


def _give(file: str, text: str, suffix: str) -> None:
    if file == "-":
        click.echo(text.removesuffix("\n"))
        return
    report.write_file(Path(file), text, (suffix,))
    click.echo(f"wrote {file}", err=True)


@cli.command()
@study_option
@storage_option
@artifacts_option
@click.option("--count", default=12, show_default=True, help="Architectures of all ranks to train.")
@click.option("--times", type=int, help="Length of the final training in those of the search; 8 by default.")
@click.option("--recipe", help="Train by this recipe instead: a name, or a JSON file.")
@click.option("--seed", type=int, help="Of the final trainings; the search's plus 1000 by default.")
@click.option("--workers", type=int, help="Trainings at a time; one per GPU, else one per core, by default.")
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value="-",
    help="Give it as JSON, to a file or without one to the output.",
)
def audit(study: str | None, storage: str, artifacts: str | None, json_file: str | None, **options: Any) -> None:
    """Train a sample of a study's architectures fully, and say how well the search ranks them."""
    from nas.analysis.audit import audit_json, audit_text
    from nas.analysis.audit_log import AuditLog
    from workers.audit import AuditConfig, audit_study
    from workers.processes import environment

    config = AuditConfig(**options)
    with _reading(storage) as store:
        search = pick_study(study, store.studies())
        facts = list(store.facts(search.name))
    log = AuditLog(_artifacts_folder(artifacts, storage), study_folder(search))
    with environment({STORAGE_VARIABLE: None}):
        result = audit_study(search, facts, config, log, lambda line: click.echo(line, err=True))
    if json_file is None:
        click.echo(audit_text(result))
    else:
        _give(json_file, audit_json(result), ".json")
        click.echo("\n".join(result.warnings), err=True, nl=bool(result.warnings))


@cli.command()
@click.option("--space", help="Show one space; all by default.")
@click.option("--scale", default="nano", show_default=True, help="nano, mobile, tiny, small or base.")
@click.option("--data", default="digits", show_default=True, help="Image size and classes depend on it.")
def spaces(space: str | None, scale: str, data: str) -> None:
    """List the search spaces with their genes."""
    from search_spaces.registry import make_space, space_names
    from workers.data.registry import open_data

    source = open_data(data)
    names = space_names() if space is None else [space]
    made = [make_space(name, scale, source.image_size, source.in_chans, source.num_classes) for name in names]
    click.echo("\n\n".join(report.space_text(space) for space in made))


@cli.command()
@storage_option
@artifacts_option
@click.option("--port", default=8080, show_default=True, help="On 127.0.0.1; 0 takes any free one.")
def dashboard(storage: str, artifacts: str | None, port: int) -> None:
    """Show the studies of a database in the Optuna dashboard, on this machine only."""
    drawings = drawings_folder(_artifacts_folder(artifacts, storage))
    with _reading(storage), _optuna_storage(storage) as optuna_storage:
        if not drawings.is_dir():
            raise InvalidInputError(f"no drawings under {drawings}; give the --artifacts of the search")
        serve(optuna_storage, drawings, port, click.echo)


@cli.command()
@study_option
@storage_option
@artifacts_option
@click.option(
    "--top", default=8, show_default=True, type=click.IntRange(1), help="How many members of the front to train."
)
@click.option("--recipe", help="A recipe's name or a JSON file; eight times the search's steps by default.")
@click.option(
    "--teacher",
    help="Learn from it too: a folder that `export` wrote, or a pretrained model of timm with the same classes.",
)
@click.option(
    "--seeds",
    default=3,
    show_default=True,
    type=click.IntRange(MIN_SEEDS),
    help="Trainings of each at its best settings.",
)
@click.option(
    "--samples", default=8, show_default=True, type=click.IntRange(1), help="Settings of the recipe to try for each."
)
@click.option(
    "--workers", type=click.IntRange(1), help="Concurrent trainings; one per GPU, else one per core, by default."
)
@click.option(
    "--gpus-per-worker",
    type=click.FloatRange(0),
    help="Share of a GPU for each worker; 1 with GPUs, else 0, by default.",
)
@click.option("--ray-address", help="Running Ray cluster to use; a local one is started by default.")
@click.pass_obj
def finalize(
    signals: StopSignals,
    study: str | None,
    storage: str,
    artifacts: str | None,
    top: int,
    recipe: str | None,
    teacher: str | None,
    seeds: int,
    samples: int,
    workers: int | None,
    gpus_per_worker: float | None,
    ray_address: str | None,
) -> None:
    """Train the best of a study fully with several seeds, and score them on test images."""
    from workers.cluster.pool import default_gpus_per_worker, default_num_workers
    from workers.data.registry import open_same_data
    from workers.evaluate import EvaluationConfig
    from workers.finalists.tune import FinalistTrainer
    from workers.processes import end_processes, environment
    from workers.training.distillation import locate
    from workers.training.recipes import final_recipe, variants

    workers = workers or default_num_workers()
    gpus = default_gpus_per_worker(workers) if gpus_per_worker is None else gpus_per_worker
    folder = _artifacts_folder(artifacts, storage).resolve()
    with _reading(storage) as store:
        search = pick_study(study, store.studies())
        facts = {trial.trial_number: trial for trial in store.facts(search.name)}
        finalists = choose_finalists(search, store.front(search.name), facts, top)
        source = open_same_data(search.data_location, search.data_fingerprint)
        chosen = final_recipe(recipe, search.recipe, source, teacher)
        finals = Finals(
            search,
            finalists,
            variants(chosen, samples, search.seed),
            seeds,
            "test" if source.num_test else "validation",
        )
        evaluation = EvaluationConfig(
            data=source.text,
            recipe=chosen,
            data_fingerprint=search.data_fingerprint,
            device="cuda:0" if gpus else "cpu",
            teacher=locate(teacher) if teacher else None,
        )
        with owned(store, search.name, end_processes, click.echo) as ownership, contextlib.ExitStack() as opened:
            _log_to_file(_log_file(storage, search.name))

            @functools.cache
            def trainer() -> FinalistTrainer:
                options = {"num_workers": workers, "gpus_per_worker": gpus, "ray_address": ray_address}
                make = functools.partial(FinalistTrainer, evaluation, folder, study_folder(search), **options)
                with environment(
                    {STORAGE_VARIABLE: None}
                ):  # it may hold a password, and every process of Ray inherits the environment
                    made = opened.enter_context(signals.closing(make))
                ownership.note_session(lambda: (made.session_processes, made.session_folder))
                return made

            click.echo("\n".join(finals.plan(source.num_test, workers)))
            front = run_finals(finals, store, lambda *jobs: trainer().train(*jobs), click.echo, ownership.check)
    click.echo(final_front_text(front, facts, search))
    knee = f"export {_study_words(search.name, storage)} --pick knee --zoo zoo"
    click.echo(f"next: launch.py {knee}")


@cli.command()
@study_option
@storage_option
@artifacts_option
@click.option("--pick", default="knee", show_default=True, help=f"Which trial: {EXPECTED.removeprefix('expected ')}.")
@click.option(
    "--zoo",
    default="zoo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the zoo.",
)
@click.option("--name", help="Of the model; STUDY-tN by default.")
@click.option("--onnx", is_flag=True, help="Add a checked ONNX file.")
@click.option("--retrain", is_flag=True, help="Train it again as the search did, where its weights were not kept.")
@click.option("--overwrite", is_flag=True, help="Replace a model of that name.")
def export(
    study: str | None,
    storage: str,
    artifacts: str | None,
    pick: str,
    zoo: Path,
    name: str | None,
    onnx: bool,
    retrain: bool,
    overwrite: bool,
) -> None:
    """Write a trial to a model zoo that plain timm loads."""
    from search_spaces.zoo.card import CardFacts, FoundBySearch
    from search_spaces.zoo.export import check_export, export_model
    from workers.data.registry import open_data
    from workers.retrain import retrain as train_again

    with _reading(storage) as store:
        search = pick_study(study, store.studies())
        facts = {trial.trial_number: trial for trial in store.facts(search.name)}
        final = None if retrain else store.final_front(search.name)
        trial = pick_trial(pick, final or store.front(search.name), facts, search.cost_objective)
        full = full_training(final, store.final_trainings(search.name), trial.trial_number)
        name = name or re.sub(r"[^A-Za-z0-9_-]", "-", f"{search.name}-t{trial.trial_number}")
        in_study = _study_words(search.name, storage)
        again = f"{in_study} --pick trial:{trial.trial_number} --retrain"
        command = f"python launch.py export {again}" if full is None else f"python launch.py finalize {in_study}"
        check_export(zoo=zoo, name=name, spec=trial.spec, onnx=onnx, overwrite=overwrite)
        kept = trial.weights if full is None else full.training.weights
        if not retrain and kept is None:
            raise InvalidInputError(
                f"the weights of trial {trial.trial_number} were not kept, as it is not on the front; retrain it: "
                f"{command}"
            )
        source = open_data(search.data_location)
        if retrain:
            trial, weights = train_again(search, trial, source.text)
        else:
            assert kept is not None, "what has no weights was refused"
            weights = read_weights(_artifacts_folder(artifacts, storage), kept)
        card = CardFacts(
            origin=FoundBySearch(search, trial, full, source.num_test),
            mean=source.mean,
            std=source.std,
            interpolation="bilinear",
            crop_pct=1.0,
            label_names=(),
            command=command,
            created=datetime.now(UTC),
        )
        folder = export_model(
            zoo=zoo, name=name, spec=trial.spec, weights=weights, card=card, onnx=onnx, overwrite=overwrite
        )
        store.record_export(search.name, trial.trial_number, name, str(folder.resolve()))
    top1 = f"top1 {trial.top1:.4f}" if full is None else full_training_text(full)
    click.echo(f"wrote {folder}: trial {trial.trial_number}, {top1}, {trial.layout}")
    click.echo(
        f'load it: timm.create_model("local-dir:{folder}", pretrained=True) '
        "after importing hybrid_backbone from that folder"
    )


@cli.command()
@study_option
@storage_option
@click.option("--latency-target", help="What to time on; the GPU, else one CPU thread, by default.")
@click.option(
    "--trials", default="front", show_default=True, help="front, all (finished ones), or numbers separated by commas."
)
def profile(study: str | None, storage: str, latency_target: str | None, trials: str) -> None:
    """Time the networks of a study on this machine, without training; `pareto --latency-target` then gives their
    front."""
    from workers.latency.target import LatencyTarget, default_target
    from workers.profile import input_shape
    from workers.profile import profile as time_trials

    target = LatencyTarget.parse(latency_target or default_target())
    with _reading(storage) as store:
        search = pick_study(study, store.studies())
        facts = {trial.trial_number: trial for trial in store.facts(search.name)}
        picked = pick_trials(trials, store.front(search.name), facts)
        fingerprint = target.fingerprint(input_shape(picked[0].spec))
        todo = untimed(picked, store.timings(search.name), fingerprint)
        click.echo(
            (
                f"{search.name}: {len(picked) - len(todo)} of {len(picked)} trials are timed on "
                f"{target_text(fingerprint)}"
            ),
            err=True,
        )

        def record(trial: TrialFacts, latency: Latency) -> None:
            store.record_latency(search.name, trial.trial_number, latency)
            click.echo(f"trial {trial.trial_number}: {cost_text('latency_ms', latency.median_ms)}", err=True)

        failed = time_trials(todo, target, record, lambda text: click.echo(text, err=True))
    options = f"{_study_words(search.name, storage)} --latency-target {target}"
    click.echo(f"{len(todo) - failed} timed, {failed} failed; next: launch.py pareto {options}")
    if failed:
        sys.exit(1)


@cli.command("import-weights")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--preset", required=True, help="Which network the weights are of, for example groupmixformer_tiny.")
@click.option(
    "--zoo",
    default="zoo",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the zoo.",
)
@click.option("--name", help="Of the model; the preset's by default.")
@click.option("--onnx", is_flag=True, help="Add a checked ONNX file.")
@click.option("--overwrite", is_flag=True, help="Replace a model of that name.")
def import_weights(file: Path, preset: str, zoo: Path, name: str | None, onnx: bool, overwrite: bool) -> None:
    """Put a published checkpoint of a preset, FILE, into a model zoo."""
    from search_spaces.zoo.import_weights import import_checkpoint

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
    click.echo(f"wrote {folder}: {preset}, every entry of {file.name} used once")
    click.echo(
        f'load it: timm.create_model("local-dir:{folder}", pretrained=True) '
        "after importing hybrid_backbone from that folder"
    )


@cli.command()
@click.argument("source")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--max-size",
    default=256,
    show_default=True,
    help="Longest side of an image in the file, pixels; larger ones are reduced.",
)
@click.option("--workers", type=int, help="Processes that decode and encode; one per core by default.")
@click.option("--force", is_flag=True, help="Replace FILE if there is one.")
def pack(source: str, file: Path, max_size: int, workers: int | None, force: bool) -> None:
    """Write the images of SOURCE (folder:DIR, cifar10:DIR or cifar100:DIR) to FILE.beton, for --data
    beton:FILE.beton."""
    from workers.data.beton.pack import pack_images

    try:
        with _counting("packing") as show:
            packed = pack_images(source, file, max_size=max_size, workers=workers, force=force, show=show)
    except KeyboardInterrupt:
        click.echo(f"interrupted; {file} was not written, the same command begins again", err=True)
        sys.exit(EXIT_INTERRUPTED)
    images = (
        f"{packed.num_train:,} images for training and {packed.num_validation:,} for validation in "
        f"{len(packed.class_names)} classes"
    )
    click.echo(f"wrote {file} and {file}.json: {images}, {packed.file_bytes / 1e6:,.1f} MB, verified")
    click.echo(f"use it: --data {shlex.quote(f'beton:{file}')}")


@contextlib.contextmanager
def _counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Takes the number of images done and of all: a bar on a terminal, elsewhere a line now and then. Output cannot
    fail the work."""
    shown_at = time.monotonic()
    bar = None
    with contextlib.ExitStack() as stack:

        def show(done: int, total: int) -> None:
            nonlocal shown_at, bar
            with contextlib.suppress(OSError):
                if sys.stderr.isatty():
                    bar = bar or stack.enter_context(click.progressbar(length=total, label=what, file=sys.stderr))
                    bar.update(done - bar.pos)
                elif time.monotonic() - shown_at >= LINE_S:
                    shown_at = time.monotonic()
                    click.echo(f"{what}: {done:,} of {total:,} images", err=True)

        yield show


def _runs_folder(storage: str) -> Path:
    """Where a search keeps its files: beside a SQLite database, else runs/ here."""
    url = parse_url(storage)
    return Path(url.database or "").parent if url.get_backend_name() == "sqlite" else Path("runs")


def _artifacts_folder(given: str | None, storage: str) -> Path:
    return Path(given) if given else _runs_folder(storage) / "artifacts"


def _log_file(storage: str, study: str) -> Path:
    return _runs_folder(storage) / "logs" / f"{study}.log"


def _log_to_file(file: Path) -> None:
    logging.raiseExceptions = False  # a full disk must not print tracebacks over the display
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InvalidInputError(
            f"cannot write the log file {file} ({error.strerror}); search in a folder that you may write"
        ) from error
    log_format = "%(asctime)s %(levelname)s coordinator %(name)s: %(message)s"
    logging.basicConfig(handlers=[handler], level=logging.INFO, format=log_format, force=True)


@contextlib.contextmanager
def _open_databases(url: str) -> "Iterator[tuple[SqlStore, RDBStorage]]":
    with contextlib.closing(open_store(url)) as store, _optuna_storage(url) as storage:
        yield store, storage


@contextlib.contextmanager
def _optuna_storage(url: str) -> "Iterator[RDBStorage]":
    storage = again_after_races(lambda: open_optuna_storage(url, engine_kwargs(url)), parse_url(url))
    try:
        yield storage
    finally:
        storage.engine.dispose()


@contextlib.contextmanager
def _reading(url: str) -> Iterator[SqlStore]:
    with contextlib.closing(open_store(url, create=False)) as store:
        yield store


def main() -> None:
    """Run the command line; every outcome becomes an exit code and at most one line."""
    with StopSignals() as signals:
        try:
            cli(standalone_mode=False, obj=signals)
        except click.ClickException as error:
            click.echo(f"error: {error.format_message()}", err=True)
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted; the state is saved, the same command continues", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except NasError as error:
            if _log.hasHandlers():
                _log.error("%s", error)
            click.echo(f"error: {error}", err=True)
            sys.exit(error.exit_code)
        except Exception as error:
            details = "the log of the study has the details"
            if _log.hasHandlers():
                _log.exception("unexpected error")
            else:
                details = "the lines above are the details"
                traceback.print_exc()
            click.echo(f"error: unexpected {type(error).__name__}; this is a fault of ours, {details}", err=True)
            sys.exit(1)


if __name__ == "__main__":
    main()
