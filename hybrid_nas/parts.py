"""The only place where store, Optuna's storage, space, data and workers meet.

The command line (launch.py) and the Python API (hybrid_nas/api.py) are its callers. torch and Ray are imported by what
needs them: a search with a function of the caller's needs neither.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.engine import engine_kwargs, may_write, parse_url, reading_kwargs, redact_url
from db.errors import again_after_races, let_outages_through
from db.look import require_whole
from db.store import SqlStore, open_store, require_writable
from hybrid_nas.password import with_password
from nas.backoff import NO_WAITING, Backoff
from nas.caller import Caller
from nas.config import SearchConfig, default_study
from nas.errors import InvalidInputError
from nas.files import check_folder, user_folder
from nas.protocols import SearchSpace, mixers_of
from nas.records import JSON, Genotype, StudyRecord, TrialFacts, Value
from nas.reports.status import closing_lines
from nas.samplers.registry import check_sampler
from nas.search.attributes import drawings_folder
from nas.search.establish import Identity
from nas.search.events import OnEvent, Step, ignore
from nas.search.given_scores import given_scores
from nas.search.inline import DATA, RECIPE, TARGET, Evaluate, InlineEvaluator
from nas.search.loop import Outcome
from nas.search.progress import ACTIVITY_VARIABLE, Progress
from nas.search.proposals import require_reachable
from nas.search.run import SearchParts, Surroundings, run_search
from nas.search.steps import Steps
from nas.search.study import open_optuna_storage, optuna_schema
from nas.search.weights import WEIGHTS
from nas.text import workers_text
from nas.version import code_version
from nas.workspace import DEFAULT_FOLDER, DEFAULT_STORAGE, STORAGE_VARIABLE, Workspace, storage_url

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from workers.cluster.pool import RayPool
    from workers.data.source import DataSource
    from workers.latency.target import LatencyTarget
    from workers.recipe import Recipe

UNNAMED = "(no name yet)"
"""The default name of a study needs the data, which take longer to check than all options."""
SHORTEST_LIMIT_S = 1.0
"""A time limit below this is a mistake."""
SHORTEST_LATENCY_MS = 1e-3
"""A limit below this is a mistake: torch needs longer for a single operation."""
WITHOUT_WORKERS = {
    "data": "digits",
    "recipe": None,
    "rungs": 1,
    "latency_target": (),
    "cache": None,
    "workers": None,
    "gpus_per_worker": None,
    "ray_address": None,
}
"""Options that say how workers train and time, at the defaults that a search without workers leaves them at."""


def default_storage() -> str:
    """URL of the database where none is given."""
    return os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE


def located(storage: str | None, artifacts: str | Path | None = None) -> tuple[str, str | None]:
    """Database and artifacts as a user gave them, with absolute paths: every call of ours begins here.

    Args:
        storage: URL of the database; None for the default.
        artifacts: folder of weights and drawings; None for the one beside the database.

    Raises:
        InvalidInputError: if nothing can lie there.
    """
    url = with_password(storage_url(storage or default_storage()))
    return url, None if artifacts is None else str(user_folder(artifacts))


def workspace_of(storage: str, artifacts: str | None = None) -> Workspace:
    """Where the files of a database's studies lie; the arguments are those that `located` gives.

    Raises:
        InvalidInputError: if the URL cannot be used.
    """
    url = parse_url(storage)
    folder = Path(url.database or "").parent if url.get_backend_name() == "sqlite" else user_folder(DEFAULT_FOLDER)
    return Workspace(folder, redact_url(storage), _is_default(storage), artifacts)


def _is_default(storage: str) -> bool:
    with contextlib.suppress(InvalidInputError):  # the default may be unusable where another one is given
        return storage == located(None)[0]
    return False


@contextlib.contextmanager
def existing(storage: str, backoff: Backoff = NO_WAITING, *, writes: bool = False) -> Iterator[SqlStore]:
    """The store of a database that exists.

    Args:
        storage: URL of the database.
        backoff: how long an outage is waited for.
        writes: refuse a database that can only be read, before any work is done.
    """
    beside = [optuna_schema()]
    with contextlib.closing(open_store(storage, create=False, beside=beside, backoff=backoff)) as store:
        if writes:
            require_writable(storage)
        yield store


@contextlib.contextmanager
def optuna_storage(storage: str, *, writes: bool = False) -> "Iterator[RDBStorage]":
    """Optuna's storage in a database that exists.

    Args:
        storage: URL of the database.
        writes: whether notes are to be written too, where that is allowed.

    Raises:
        InvalidInputError: if Optuna's tables are not there.
    """
    require_whole(storage, optuna_schema())
    arguments = engine_kwargs(storage) if writes and may_write(storage) else reading_kwargs(storage)
    with _closing(open_optuna_storage(storage, arguments, create=False)) as opened:
        yield opened


@contextlib.contextmanager
def _new_optuna_storage(storage: str) -> "Iterator[RDBStorage]":
    """Optuna's storage for a search, whose tables are made if they are missing."""
    opened = again_after_races(lambda: open_optuna_storage(storage, engine_kwargs(storage)), parse_url(storage))
    let_outages_through(opened.engine)
    with _closing(opened):
        yield opened


@contextlib.contextmanager
def _closing(opened: "RDBStorage") -> "Iterator[RDBStorage]":
    try:
        yield opened
    finally:
        opened.engine.dispose()


def search(
    given: Mapping[str, Any],
    caller: Caller,
    *,
    quiet: bool,
    silent: bool = False,
    evaluate: Evaluate | None = None,
    on_event: OnEvent = ignore,
) -> tuple[str, Outcome]:
    """Validate everything, then search.

    Args:
        given: every option of a search by its name on the command line; None for what is not given. The space may be
            one itself, where `evaluate` is given.
        caller: who asks for it.
        quiet: show the end only.
        silent: show nothing.
        evaluate: evaluates candidates in this process; None lets workers train them.
        on_event: hears what happens.

    Returns:
        Name of the study, and how the search ended.

    Raises:
        InvalidInputError: if an option cannot be used.
        NasError: as nas.search.run.run_search.
    """
    parts = _search_parts(given, evaluate)
    config = parts.config
    if quiet:
        caller = replace(caller, say=lambda text: None)
    steps = Steps(caller.say, quiet=quiet or silent)
    caller = replace(caller, say=steps.say)

    def step(text: str) -> None:
        steps.show(text)
        on_event(Step(text))

    workspace = workspace_of(config.storage, config.artifacts)
    backoff = Backoff(config.storage_timeout_s, caller.say)

    def make_progress(evaluated: int) -> Progress:
        steps.close()
        return Progress(
            config.study,
            config.budget,
            evaluated,
            quiet,
            silent=silent,
            cost_objective=config.cost_objective,
            activity_file=_activity_file(),
        )

    with (
        contextlib.closing(steps),
        _telling(given.get("notify"), config.study, on_event, caller.say) as hear,
        contextlib.closing(open_store(config.storage, beside=[optuna_schema()], backoff=backoff)) as store,
        _new_optuna_storage(config.storage) as storage,
    ):
        around = Surroundings(
            caller=caller,
            log_file=partial(workspace.log_file, config.study),
            make_progress=make_progress,
            closing_lines=lambda outcome: _closing_lines(config, store, workspace, outcome),
            on_event=hear,
            step=step,
            backoff=backoff,
        )
        return config.study, run_search(parts, store, storage, around)


def _telling(
    url: str | None, study: str, on_event: OnEvent, say: Callable[[str], object]
) -> contextlib.AbstractContextManager[OnEvent]:
    if url is None:
        return contextlib.nullcontext(on_event)
    from hybrid_nas.notifying import notifying

    return notifying(url, study, on_event, say)


def _activity_file() -> Path | None:
    """Where a service wants to read what the workers do."""
    file = os.environ.get(ACTIVITY_VARIABLE)
    return Path(file) if file else None


def checked(given: Mapping[str, Any]) -> SearchConfig:
    """What a search by workers would do, all defaults filled in; arguments and errors are those of `search`."""
    return _search_parts(given, None).config


def _search_parts(given: Mapping[str, Any], evaluate: Evaluate | None) -> SearchParts:
    url, artifacts = located(given["storage"], given["artifacts"])
    if given.get("notify") is not None:
        from hybrid_nas.notifying import Receiver  # it imports HTTP, which most searches do not need

        Receiver.of(given["notify"])
    words = {name: value for name, value in given.items() if name != "notify"}  # free, and no part of the study
    config = _search_config({**words, "storage": url, "artifacts": artifacts}, evaluate is not None)
    if evaluate is not None:
        return _parts_in_process(config, given["space"], evaluate)
    return _parts_with_workers(config, given["space"])


def _search_config(given: Mapping[str, Any], in_process: bool) -> SearchConfig:
    """The options as one value, all defaults filled in but the name of the study."""
    if not in_process and not isinstance(given["space"], str):
        raise InvalidInputError(
            f"space is {given['space']!r}; workers build the networks of a space by its name: give the name, or "
            "evaluate, a function that evaluates architectures in this process"
        )
    check_sampler(given["sampler"])
    scores = _checked_scores(given, in_process)
    engine_kwargs(given["storage"])
    values = {name: value for name, value in given.items() if value is not None}
    targets = _words(given["latency_target"])
    del values["latency_target"]
    values["scores"] = scores
    values["other_targets"] = targets[1:]
    if targets:
        values["latency_target"] = targets[0]
    values["objectives"] = _words(given["objectives"], separator=",")
    workspace = workspace_of(given["storage"], given["artifacts"])
    values["artifacts"] = str(workspace.artifacts)
    values["cache"] = workspace.cache(given["cache"], given["ray_address"])
    values.setdefault("study", UNNAMED)
    if in_process:
        _refuse_words_for_workers(given)
        values["space"] = str(getattr(given["space"], "name", given["space"]))
    else:
        values |= _default_workers(given)
    return SearchConfig(**values)


def _checked_scores(given: Mapping[str, Any], in_process: bool) -> str | None:
    """The option, with the absolute path of its file."""
    if given.get("scores") is None:
        return None
    scores = given_scores(given["scores"])
    named = ", ".join(scores.names)
    if named and in_process:
        raise InvalidInputError(
            f"scores has {named}, which workers compute of the networks that they build, and evaluate is given, which "
            "calls no workers; leave the names out"
        )
    if given["sampler"] != "ehvi":
        raise InvalidInputError(
            f"--scores has {scores}, and the sampler {given['sampler']} uses no scores; leave them out, or give ehvi"
        )
    return str(scores)


def _words(given: str | Sequence[str], separator: str | None = None) -> tuple[str, ...]:
    if isinstance(given, str):
        given = given.split(separator) if separator else [given]
    return tuple(word.strip() for word in given)


def _default_workers(given: Mapping[str, Any]) -> dict[str, Any]:
    from workers.devices import default_gpus_per_worker, default_num_workers

    workers = default_num_workers() if given["workers"] is None else given["workers"]
    gpus = given["gpus_per_worker"]
    if gpus is None:
        gpus = default_gpus_per_worker(workers if isinstance(workers, int) and workers > 0 else 1)
    return {"workers": workers, "gpus_per_worker": gpus}


def _refuse_words_for_workers(given: Mapping[str, Any]) -> None:
    for name, default in WITHOUT_WORKERS.items():
        value = given[name]
        is_needed = name == "data" and isinstance(given["space"], str)
        if not is_needed and value != default and not (name == "workers" and value == 1):
            raise InvalidInputError(
                f"{name} is {value!r}, and evaluate is given, which calls no workers; leave {name} out"
            )


def _parts_in_process(config: SearchConfig, space: str | SearchSpace, evaluate: Evaluate) -> SearchParts:
    """A search whose candidates a function evaluates. The data give a named space its images and classes only."""
    from workers.cluster.session_processes import end_processes

    if isinstance(space, str):
        source = _open_data(config.data)
        space = make_space(space, config.scale, source, config.mixers)
    config = _named(replace(config, space=space.name, scale=space.scale, data=DATA), space, DATA)
    require_reachable(space, config.limits)
    identity = Identity(
        data=DATA,
        data_fingerprint=DATA,
        guessing_top1=0.0,
        recipe=RECIPE,
        target=TARGET if config.needs_latency else None,
        code_version=code_version(),
        config=_shown_config(config),
    )
    return SearchParts(
        config=config,
        space=space,
        identity=identity,
        describe=lambda: identity,
        sampling=contextlib.nullcontext,
        begin_text=lambda workers: f"study {config.study}: evaluating in this process",
        make_evaluator=lambda workers, log_file, recorded, step: InlineEvaluator(evaluate, times=config.needs_latency),
        end_session=end_processes,
    )


def _parts_with_workers(config: SearchConfig, space_name: str) -> SearchParts:
    """A search whose candidates Ray's workers time and train."""
    from workers.cluster.session_processes import end_processes
    from workers.data.outline import outline
    from workers.latency.guard import sampling_guard
    from workers.training.recipes import search_recipe

    config, notes = _fitting(config)
    # A node of a cluster may have other data, so there they are opened first.
    known = outline(config.data) if config.ray_address is None else None
    source = known or _open_data(config.data, config.cache)
    reading = f"for {source.num_train + source.num_validation:,} images"
    space = make_space(space_name, config.scale, source, config.mixers)
    config, targets = _with_targets(replace(config, data=source.text), source)
    for target in targets:
        target.check_mixers(mixers_of(space).split(","), "leave them out of --mixers, or give another --latency-target")
    config = _named(config, space, source.name)
    require_reachable(space, config.limits)
    check_folder(Path(config.artifacts) / WEIGHTS, "--artifacts")
    recipe = search_recipe(config.recipe, source, config.rungs)

    @cache
    def describe() -> Identity:
        opened = source if known is None else _open_data(config.data, config.cache)
        target = targets[0].fingerprint(source.input_shape) if targets else None
        return _identity(config, space_name, opened, recipe, target)

    return SearchParts(
        config=config,
        space=space,
        identity=_identity(config, space_name, source, recipe, None),
        describe=describe,
        targets=lambda: [target.fingerprint(source.input_shape) for target in targets],
        sampling=sampling_guard((config.latency_target, *config.other_targets)),
        trial_timeout_s=config.trial_timeout_s,
        notes=notes,
        prepare=partial(_prepare, config, source),
        begin_text=lambda workers: f"study {config.study}: starting {workers_text(workers)}, {reading}",
        make_evaluator=partial(_make_pool, config, space_name, source, recipe, describe),
        end_session=end_processes,
    )


def _prepare(config: SearchConfig, source: "DataSource", say: Callable[[str], object]) -> None:
    """Decode the images here, where this is the node of the workers."""
    from workers.data.registry import prepare_data

    if config.ray_address is None:
        prepare_data(source, config.cache, say)


def _identity(
    config: SearchConfig, space_name: str, source: "DataSource", recipe: "Recipe", target: JSON | None
) -> Identity:
    from search_spaces.registry import find_own

    own = find_own(space_name)
    return Identity(
        data=source.name,
        data_fingerprint=source.fingerprint,
        guessing_top1=1 / source.num_classes,
        recipe=recipe.to_json(),
        target=target,
        code_version=code_version(),
        config=_shown_config(config),
        space_module="" if own is None else own.origin,
        data_facts=source.facts,
        passed_over=source.passed_over,
    )


def _fitting(config: SearchConfig) -> tuple[SearchConfig, list[str]]:
    """The options with as many workers as this host has room for, and lines about what was changed.

    Raises:
        InvalidInputError: if it has not the GPUs, or no evaluation can be as short as the time limit.
    """
    from workers.devices import fitting_workers, room_text

    if config.trial_timeout_s < SHORTEST_LIMIT_S:
        raise InvalidInputError(
            f"--trial-timeout-s is {config.trial_timeout_s:g}; expected at least {SHORTEST_LIMIT_S:g}, as no training "
            "is done in less"
        )
    if config.max_latency_ms is not None and config.max_latency_ms < SHORTEST_LATENCY_MS:
        raise InvalidInputError(
            f"--max-latency-ms is {config.max_latency_ms:g}; expected at least {SHORTEST_LATENCY_MS:g}, as no network "
            "is faster"
        )
    if config.ray_address is not None:  # its nodes are asked when it is joined
        return config, []
    workers = fitting_workers(config.workers, config.gpus_per_worker)
    if workers == config.workers:
        return config, []
    return replace(config, workers=workers), [f"note: --workers is {config.workers}, and {room_text()}"]


def _with_targets(config: SearchConfig, source: "DataSource") -> "tuple[SearchConfig, list[LatencyTarget]]":
    """The latency targets, and the options with their canonical texts."""
    from workers.latency.target import LatencyTarget, default_target

    target = LatencyTarget.parse(config.latency_target or default_target()) if config.needs_latency else None
    others = [LatencyTarget.parse(text) for text in config.other_targets]
    texts = [str(target), *map(str, others)]
    if len(set(texts)) < len(texts):
        raise InvalidInputError(f"--latency-target names one target twice: {', '.join(texts)}; give each once")
    targets = [*([] if target is None else [target]), *others]
    for timed in targets:
        timed.check_memory(source.input_shape)
    own = None if target is None else str(target)
    return replace(config, latency_target=own, other_targets=tuple(texts[1:])), targets


def _named(config: SearchConfig, space: SearchSpace, data: str) -> SearchConfig:
    _require_printable(space)
    return replace(config, study=default_study(space.name, space.scale, data)) if config.study == UNNAMED else config


def _require_printable(space: SearchSpace) -> None:
    """Refuse a space of a user's own whose words no database takes."""
    words = [space.name, space.scale]
    for gene in space.genes:
        words += [gene.name, *map(str, gene.values)]
    for word in words:
        if not word.isprintable():
            raise InvalidInputError(f"the space {space.name!r} says {word!r}; expected printable characters alone")


def _shown_config(config: SearchConfig) -> JSON:
    return {**config.to_json(), "storage": redact_url(config.storage)}


def _make_pool(
    config: SearchConfig,
    space_name: str,
    source: "DataSource",
    recipe: "Recipe",
    describe: Callable[[], Identity],
    workers: int,
    log_file: Path,
    recorded: StudyRecord | None,
    step: Callable[[str], None],
) -> "RayPool":
    """On this host a new study is described beside its workers, and what these find is what it has."""
    from search_spaces.registry import find_own
    from workers.cluster.pool import RayPool
    from workers.devices import device_of_worker
    from workers.evaluation import EvaluationConfig

    own = find_own(space_name)
    expected = None if recorded is None and config.ray_address is None else describe()
    evaluation = EvaluationConfig(
        data=config.data,
        recipe=recipe,
        data_fingerprint=source.fingerprint or None if expected is None else expected.data_fingerprint,
        data_facts=source.facts if expected is None else expected.data_facts,
        latency_target=config.latency_target,
        other_targets=config.other_targets,
        device=device_of_worker(config.gpus_per_worker),
        cache=config.cache,
        space_module=own if own is not None and own.builds() else None,
    )
    return RayPool(
        evaluation,
        num_workers=workers,
        trial_timeout_s=config.trial_timeout_s,
        ray_address=config.ray_address,
        gpus_per_worker=config.gpus_per_worker,
        target=None if expected is None else expected.target,
        log_file=log_file,
        step=step,
    )


def _closing_lines(config: SearchConfig, store: SqlStore, workspace: Workspace, outcome: Outcome) -> list[str]:
    """The front, where things are, and what to type next."""
    study = store.study(config.study)
    assert study is not None, "a search that ended was established"
    words = workspace.study_words(config.study)
    log_file = workspace.log_file(study.name, study.uid)
    steps = [f"pareto {words}"]
    if not is_own(study):
        steps.append(f"export {words}{workspace.artifacts_words} --pick knee --zoo zoo")
    steps.append(f"dashboard{workspace.storage_words}{workspace.artifacts_words}")
    return closing_lines(
        study,
        store.front(config.study),
        list(store.facts(config.study)),
        store.timings(config.study),
        store.retimings(config.study),
        reason=outcome.reason,
        is_complete=outcome.complete,
        where=f"database {workspace.url}, artifacts {config.artifacts}, log {log_file}",
        next_steps=steps,
    )


def _open_data(text: str, cache: str | None = None) -> "DataSource":
    from workers.data.registry import open_data

    return open_data(text, cache)


def make_space(name: str, scale: str, source: "DataSource", mixers: str | None) -> SearchSpace:
    """The space of that name for the images and classes of the data.

    Raises:
        InvalidInputError: if the name, the scale or a mixer is unknown, or the images do not fit.
    """
    from search_spaces.registry import make_space as make

    return make(name, scale, source.image_size, source.in_chans, source.num_classes, mixers)


def spaces(
    name: str | None, scale: str, data: str, mixers: str | None, say: Callable[[str], object]
) -> Iterator[SearchSpace]:
    """The space of that name, or every one that has a name, for some data; with mixers, those that offer a choice.

    Args:
        name: of a space, a FILE.py or a package.module; None for all.
        scale: how large its networks are.
        data: what gives size and classes of the images.
        mixers: what a space may choose among.
        say: hears of an installed space that cannot be made; the others are shown all the same.

    Raises:
        InvalidInputError: if the name, the scale or a mixer is unknown, or the data cannot be used.
    """
    from search_spaces.registry import installed_spaces, offers_mixers, space_names

    source = _open_data(data)
    names = [name] if name is not None else [each for each in space_names() if mixers is None or offers_mixers(each)]
    for each in names:
        yield make_space(each, scale, source, mixers)
    for each in sorted(installed_spaces()) if name is None and mixers is None else ():
        try:
            yield make_space(each, scale, source, None)
        except InvalidInputError as error:
            say(f"the installed space {each!r} is left out: {error}")


def recorded_space(
    study: StudyRecord,
    values: Mapping[str, Sequence[Value]],
    facts: Sequence[TrialFacts],
    genotypes: Mapping[int, Genotype],
) -> SearchSpace:
    """The space that a study searched, with the genes and values that it had then; the data need not be here.

    Args:
        study: the study.
        values: gene -> its values when the study was created.
        facts: its trials, at least one.
        genotypes: recorded genotype of every one of them, by number.

    Raises:
        InvalidInputError: if the space cannot be made again, or gives other architectures now.
    """
    from search_spaces.recorded import as_recorded
    from search_spaces.registry import open_space, space_names

    if is_own(study) and study.space not in space_names():
        raise InvalidInputError(
            f"study {study.name!r} searched {study.space!r}, a space of the program that asked; give the space "
            "itself, to hybrid_nas.api.open_study"
        )
    return as_recorded(open_space(study, facts[0].spec), study, values, facts, genotypes)


def is_own(study: StudyRecord) -> bool:
    """Whether a function of the caller's evaluated the study, so that there are neither data nor trained weights."""
    return study.recipe == RECIPE


def require_networks(study: StudyRecord) -> None:
    """Refuse what builds and trains networks, for a study that has none.

    Raises:
        InvalidInputError: if a function of the caller's evaluated the study.
    """
    if is_own(study):
        raise InvalidInputError(
            f"study {study.name!r} was evaluated by a function of its own, and not trained on data; "
            "only a study of workers has networks to time, train or export"
        )


def show_dashboard(storage: str, artifacts: str | None, port: int, say: Callable[[str], None]) -> None:
    """Show the studies of a database in the Optuna dashboard until Ctrl-C. Runs in the main thread.

    Raises:
        InvalidInputError: if there is no database, no drawings, or the port cannot be used.
    """
    from nas.reports.dashboard import serve  # it brings a server of HTTP, which a search does not need

    storage, artifacts = located(storage, artifacts)
    drawings = drawings_folder(workspace_of(storage, artifacts).artifacts)
    with existing(storage), optuna_storage(storage, writes=True) as opened:
        if not drawings.is_dir():
            raise InvalidInputError(f"no drawings under {drawings}; give the --artifacts of the search")
        serve(opened, drawings, port, say)
