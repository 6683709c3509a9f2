"""Training-free scores of one network for a search: each is computed by itself, so that one that fails costs no
other."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import nn

from nas.errors import first_line
from nas.surrogates.proxies import AZ_NAS
from search_spaces.network.backbone import HybridBackbone
from workers.data.batches import Batch
from workers.memory import free_memory, is_out_of_memory
from workers.training.zero_cost import MAX_IMAGES, az_nas, synflow, zico

TOGETHER = (("synflow",), ("zico",), AZ_NAS)
"""Proxies that one computation gives."""


def network_scores(
    model: nn.Module,
    batches: Sequence[Batch],
    proxies: Sequence[str],
    computing: Callable[[], AbstractContextManager[object]],
) -> tuple[Mapping[str, float], Mapping[str, str]]:
    """Compute what is wanted of an untrained network.

    Args:
        model: on the device of the batches; it stays as it is.
        batches: training images and labels, two or more.
        proxies: some of nas.surrogates.proxies.PROXIES.
        computing: entered for each computation.

    Returns:
        Proxy -> its finite value, and proxy -> why it has none.

    Raises:
        RuntimeError: for a CUDA error; the process should not compute on that device again.
    """
    batches = [(images[:MAX_IMAGES], labels[:MAX_IMAGES]) for images, labels in batches]
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for together in TOGETHER:
        wanted = [proxy for proxy in together if proxy in proxies]
        if not wanted:
            continue
        with computing():
            found = _computed(model, batches, together)
        if isinstance(found, str):
            reasons |= dict.fromkeys(wanted, found)
            free_memory(batches[0][0].device)
            continue
        values |= {proxy: found[proxy] for proxy in wanted if math.isfinite(found[proxy])}
        reasons |= {proxy: f"{proxy} is {found[proxy]}" for proxy in wanted if proxy not in values}
    return values, reasons


def _computed(model: nn.Module, batches: Sequence[Batch], together: Sequence[str]) -> Mapping[str, float] | str:
    """Proxy -> value, which may not be finite; or why there is none."""
    try:
        if "zico" in together:
            return {"zico": zico(model, batches)}
        if not isinstance(model, HybridBackbone):
            return f"the network is a {type(model).__name__}, and this score knows our own networks only"
        shape = batches[0][0].shape
        return {"synflow": synflow(model, shape[1:])} if "synflow" in together else az_nas(model, shape)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]  # of numbers that are not finite
        return first_line(error)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return f"out of memory: {first_line(error, 'Python')}"
