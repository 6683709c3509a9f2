"""Data sets by their text: digits, cifar10:DIR, cifar100:DIR, folder:DIR, beton:FILE."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from nas.data_facts import DataFacts
from nas.errors import InvalidInputError
from nas.files import user_file, user_path
from nas.records import StudyRecord
from workers.data.source import DataSource, LabelledImages
from workers.recipe import Recipe

if TYPE_CHECKING:
    import torch

    from workers.data.batches import Batch, Batches


def _of(module: str, name: str) -> Callable[..., Any]:
    """A function of a module of this folder, which is imported when the function is called: the modules need torch,
    which takes seconds, and who looks up a kind's recipe needs none of them."""

    def call(*given: Any) -> Any:
        return getattr(import_module(f"workers.data.{module}"), name)(*given)

    return call


_open_folder = _of("image_folder", "open_folder")
_folder_images = _of("image_folder", "folder_images")
_open_beton = _of("beton.reader", "open_beton")
_open_digits = _of("digits", "open_digits")
_open_cifar = _of("cifar", "open_cifar")


@dataclass(kw_only=True, frozen=True, slots=True)
class DataKind:
    """One kind of data set: a module of this folder, and one entry of KINDS."""

    path: str | None
    """What stands after the colon, for people: DIR or FILE. None where nothing does."""
    open: Callable[[str, str, str], DataSource]
    """(text, kind, path) -> description of a set that is complete and readable. Raises InvalidInputError otherwise."""
    load: "Callable[[DataSource, Recipe, torch.device], Batches]"
    """Training and validation images on the device."""
    prepare: Callable[[DataSource], None] | None = None
    """Decodes into the cache of `caching` what workers map; None for a kind that is not decoded, or at once."""
    load_test: "Callable[[DataSource, Recipe, torch.device], Iterator[Batch]] | None" = None
    """Every test image once; None for a kind that never has test images."""
    images: Callable[[str, str, str], LabelledImages] | None = None
    """(text, kind, path) -> the images as they are, for `launch.py pack`; None for a kind that cannot be packed."""
    recipe: str
    """How a search trains that names no recipe: a name of RECIPES in workers/training/recipes.py. A name and not the
    recipe, because that room lies above this one."""
    recipe_of_many_rungs: str | None = None
    """The same for searches with many rungs; None for `recipe`."""


_CIFAR = DataKind(
    path="DIR",
    open=_open_cifar,
    load=_of("cifar", "load_cifar"),
    prepare=_of("cifar", "prepare_cifar"),
    load_test=_of("cifar", "cifar_test"),
    images=_of("cifar", "cifar_images"),
    recipe="cifar",
)
KINDS: Mapping[str, DataKind] = {
    "digits": DataKind(
        path=None,
        open=lambda text, kind, path: _open_digits(),
        load=_of("digits", "load_digits_batches"),
        load_test=_of("digits", "digits_test"),
        recipe="nano",
        recipe_of_many_rungs="nano-rungs",
    ),
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "folder": DataKind(
        path="DIR",
        open=lambda text, kind, path: _open_folder(text, path),
        load=_of("image_folder", "load_folder"),
        prepare=_of("image_folder", "prepare_folder"),
        load_test=_of("image_folder", "folder_test"),
        images=lambda text, kind, path: _folder_images(text, path),
        recipe="imagenet-proxy",
    ),
    "beton": DataKind(
        path="FILE",
        open=lambda text, kind, path: _open_beton(text, path),
        load=_of("beton.reader", "load_beton"),
        prepare=_of("beton.reader", "prepare_beton"),
        recipe="imagenet-proxy",
    ),
}
"""The part of a text before the colon -> what it means."""


def _listed(kinds: Sequence[str]) -> str:
    """The texts that these kinds have, for messages."""
    texts = [f"{kind}:{KINDS[kind].path}" if KINDS[kind].path else kind for kind in kinds]
    return f"{', '.join(texts[:-1])} or {texts[-1]}"


EXPECTED = _listed(list(KINDS))
PACKABLE = _listed([kind for kind, entry in KINDS.items() if entry.images is not None])


def open_data(text: str, cache: str | None = None) -> DataSource:
    """Find a data set, check that all of it can be used, and describe it. Writes nothing, but a note beside a large
    packed file.

    Args:
        cache: where decoded images are kept, see EvaluationConfig; what is noted there is not checked again.

    Raises:
        InvalidInputError: if the text is not understood, or the data are missing, damaged or useless (one class, an
            empty class).
    """
    kind, colon, path = text.partition(":")
    if kind not in KINDS:
        raise InvalidInputError(f"data {text!r} is unknown; expected {EXPECTED}")
    if colon and KINDS[kind].path is None:
        raise InvalidInputError(f"data {text!r}: {kind} takes no path; expected {EXPECTED}")
    if not path and KINDS[kind].path is not None:
        raise InvalidInputError(f"data {text!r}: the path is missing; expected {EXPECTED}")
    if not path:
        return KINDS[kind].open(text, kind, path)
    read = user_file if KINDS[kind].path == "FILE" else user_path
    lies = str(read(path).resolve())
    with _caching(kind, cache):
        source = KINDS[kind].open(text, kind, lies)
    return replace(source, text=f"{kind}:{lies}")


@contextmanager
def _caching(kind: str, cache: str | None, *, required: bool = False) -> Iterator[None]:
    """Let data of this kind use a cache, if they can."""
    if cache is None or KINDS[kind].prepare is None:
        yield
        return
    from workers.data.cache import cache_at, caching  # here, because it takes torch

    with caching(cache_at(cache, required=required)):
        yield


def prepare_data(source: DataSource, cache: str | None, say: Callable[[str], object]) -> None:
    """Decode what the workers of this node are to map, where it is not kept already.

    Args:
        cache: see EvaluationConfig.
        say: takes a line, if nothing can be kept there.

    Raises:
        InvalidInputError: if the data have become unreadable since they were opened.
    """
    prepare = KINDS[source.kind].prepare
    if cache is None or prepare is None:
        return
    from workers.data.cache import cache_at, not_kept_text

    try:
        with _caching(source.kind, cache, required=True):
            prepare(source)
    except OSError as error:
        say(f"note: {not_kept_text(cache_at(cache), error)}")


def open_same_data(
    text: str, expected: str | None, facts: DataFacts | None = None, cache: str | None = None
) -> DataSource:
    """open_data, for data that a study has used already.

    Args:
        expected: the study's fingerprint; None takes the data as they are.
        facts: what the study recorded of them, for the words of a difference.
        cache: see EvaluationConfig.

    Raises:
        InvalidInputError: as open_data, and if the data are not those of the fingerprint.
    """
    source = open_data(text, cache)
    if expected not in (None, source.fingerprint):
        how = "other contents or names of files" if facts is None else source.facts.differences(facts)
        raise InvalidInputError(
            f"data {text!r} on this host differ from those of the study ({how}); copy the same files to every node"
        )
    return source


def open_study_data(study: StudyRecord, given: str | None, cache: str | None = None) -> DataSource:
    """The data of a study, wherever they lie now.

    Args:
        given: what opens them here; None for what opened them when the study was created.
        cache: see EvaluationConfig.

    Raises:
        InvalidInputError: as open_same_data, and if test images have come or gone since.
    """
    facts = study.data_facts
    try:
        source = open_same_data(given or study.data_location, study.data_fingerprint, facts, cache)
    except InvalidInputError as error:
        if given is not None:
            raise
        raise InvalidInputError(f"{error}; if the data lie elsewhere now, name them with --data") from error
    if facts is not None and facts.num_test and source.num_test != facts.num_test:
        raise InvalidInputError(
            f"data {source.text!r} have {source.num_test:,} test images, expected the {facts.num_test:,} of the study; "
            "give the same files"
        )
    return source


def open_images(text: str) -> tuple[str, LabelledImages]:
    """The images of a data set as they are, for copying them into another form.

    Returns:
        The text with an absolute path, and the images.

    Raises:
        InvalidInputError: if it is of a kind that cannot be copied, missing, damaged or useless.
    """
    kind, _, path = text.partition(":")
    images = KINDS[kind].images if kind in KINDS else None
    if images is None or not path:
        raise InvalidInputError(f"source {text!r} cannot be packed; expected {PACKABLE}")
    lies = str(user_path(path).resolve())
    return f"{kind}:{lies}", images(text, kind, lies)


def load_data(source: DataSource, recipe: Recipe, device: "torch.device", cache: str | None = None) -> "Batches":
    """Make the data set ready for training on `device`.

    Args:
        cache: where decoded images are kept, see EvaluationConfig.

    Raises:
        InvalidInputError: if the data have become unreadable since they were opened.
    """
    with _caching(source.kind, cache):
        return KINDS[source.kind].load(source, recipe, device)


def load_test(source: DataSource, recipe: Recipe, device: "torch.device") -> "Iterator[Batch]":
    """Every test image of a data set that has some (`source.num_test`) once, unchanged.

    Raises:
        InvalidInputError: if the data have become unreadable since they were opened.
    """
    load = KINDS[source.kind].load_test
    assert source.num_test and load is not None, f"{source.text} has no test images"
    return load(source, recipe, device)
