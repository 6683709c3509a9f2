"""Training-free proxies: what an untrained network tells about how well it will train. All take convolutions and
attention alike.

Each is read by its order only, larger is better; whether that order means anything on a study's data is what `launch.py
audit` measures. None changes the model that it is given.
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pixel_unshuffle

from search_spaces.network.backbone import HybridBackbone
from workers.data.batches import Batch

NUM_BATCHES = 4
"""For ZiCo. The paper says that two suffice, but the deviation of a weight over two comes arbitrarily close to zero."""
MAX_IMAGES = 64
"""Images taken of each batch; more would need more memory than the training, which has half as many bytes per number on
a GPU."""
NORMS = nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm
ACTIVATIONS = nn.ReLU, nn.GELU, nn.Hardswish, nn.SiLU


def zero_cost_scores(model: HybridBackbone, batches: Sequence[Batch]) -> Mapping[str, float]:
    """Every proxy of this module by its name; one without a finite value is left out.

    Args:
        model: untrained, on the device of the batches.
        batches: training images and labels, two or more.
    """
    batches = [(images[:MAX_IMAGES], labels[:MAX_IMAGES]) for images, labels in batches]
    shape = batches[0][0].shape
    scores = {"synflow": synflow(model, shape[1:]), "zico": zico(model, batches), **az_nas(model, shape)}
    return {name: score for name, score in scores.items() if math.isfinite(score)}


def synflow(model: HybridBackbone, image_shape: Sequence[int]) -> float:
    """ln sum |w dR/dw| over all weights, where R is the sum of the logits of an image of ones and every weight has its
    absolute value.

    Norms, activations (near the identity for what is positive) and biases are passed over, in float64. Group-mix and
    large kernel attention multiply activations with each other, so that the plain product would grow doubly
    exponentially with the depth and overflow; therefore the input of each block is divided by its mean, which the
    gradient takes for a constant, and the logarithms of the means are added at the end. Where every block is linear the
    result is exactly that of the definition.

    Args:
        image_shape: (channels, height, width).

    Source: Tanaka et al., "Pruning Neural Networks without Any Data by Iteratively Conserving Synaptic Flow", NeurIPS
    2020; summed to a score of the network in Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS", ICLR 2021.
    """
    network = _linearised(model)
    log_scales: list[Tensor] = []

    def rescale(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        mean = inputs[0].detach().abs().mean()
        log_scales.append(mean.log())
        return inputs[0] / mean

    for part in (*_trunk(network), network.head):
        part.register_forward_pre_hook(rescale)
    device = next(network.parameters()).device
    network(torch.ones(1, *image_shape, dtype=torch.float64, device=device)).sum().backward()
    flow = torch.stack(
        [(weight.grad * weight).abs().sum() for weight in network.parameters() if weight.grad is not None]
    ).sum()
    return float(flow.detach().log() + torch.stack(log_scales).sum())


def _linearised(model: HybridBackbone) -> HybridBackbone:
    """A copy in float64 with absolute weights, without norms, activations and biases."""
    network = copy.deepcopy(model).double().train()
    for name, module in list(network.named_modules()):
        if isinstance(module, NORMS + ACTIVATIONS):
            network.set_submodule(name, nn.Identity())
    with torch.no_grad():
        for name, weight in network.named_parameters():
            weight.zero_() if name.rpartition(".")[2] == "bias" else weight.abs_()
    return network


def _trunk(model: HybridBackbone) -> Iterator[nn.Module]:
    """Downsamplings and blocks in the order in which an image passes them; a serial pair of blocks counts as two."""
    stage: nn.Module
    for stage in model.stages:
        yield stage.get_submodule("downsample")
        for block in stage.get_submodule("blocks").children():
            yield from block.children() if isinstance(block, nn.Sequential) else (block,)


def zico(model: nn.Module, batches: Sequence[Batch]) -> float:
    """Sum over layers of ln sum_w mean |g_w| / std(g_w), where g_w is the gradient of a weight and mean and std are
    over batches.

    A layer is a parameter with two or more axes. One whose gradients do not differ between the batches counts nothing.

    Args:
        batches: two or more, of equal size.

    Source: Li et al., "ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients", ICLR 2023; the deviation
    is that of the signed gradient as in the authors' code (their formula has the absolute one's).
    """
    network = copy.deepcopy(model).train()
    layers = [weight for weight in network.parameters() if weight.ndim >= 2]
    mean = [torch.zeros_like(weight, dtype=torch.float64) for weight in layers]
    mean_abs = [torch.zeros_like(weight, dtype=torch.float64) for weight in layers]
    squares = [torch.zeros_like(weight, dtype=torch.float64) for weight in layers]
    for number, (images, labels) in enumerate(batches, start=1):
        network.zero_grad()
        cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        for index, weight in enumerate(layers):
            if weight.grad is not None:
                gradient = weight.grad.double()
                change = gradient - mean[index]
                mean[index] += change / number
                squares[index] += change * (gradient - mean[index])
                mean_abs[index] += (gradient.abs() - mean_abs[index]) / number
    sums = []
    for size, square in zip(mean_abs, squares, strict=True):
        deviation = (square / len(batches)).sqrt()
        sums.append(torch.where(deviation != 0, size / deviation, 0.0).sum())  # a NaN stays one
    return float(sum(total.log() for total in sums if total != 0))


def az_nas(model: HybridBackbone, shape: Sequence[int], seed: int = 0) -> Mapping[str, float]:
    """Three of the four scores of AZ-NAS (the fourth is macs), from one pass of noise through the network, block after
    block.

    expressivity: sum over the outputs of stem and blocks of the entropy of their channels' principal components.
    progressivity: the smallest rise of that entropy from one to the next. trainability: mean over blocks of 2 - s - 1 /
    s, at most 0, where s is the spectral norm of the block's Jacobian as a random sign vector sees it, averaged over
    images and positions.

    Args:
        shape: of the noise, (images, channels, height, width).
        seed: of noise and signs.

    Source: Lee & Ham, "AZ-NAS: Assembling Zero-Cost Proxies for Network Architecture Search", CVPR 2024, and the
    authors' code.
    """
    network = copy.deepcopy(model).train()
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    features = network.stem(torch.randn(*shape, generator=generator).to(device)).detach()
    entropies = [_entropy(features)]
    train = []
    for stage in network.stages:
        before: nn.Module = stage.get_submodule("downsample")
        for block in stage.get_submodule("blocks").children():
            given = features.requires_grad_()
            result = block(before(given))
            signs = torch.randint(2, result.shape, generator=generator).to(result) * 2 - 1
            (pulled,) = torch.autograd.grad(result, given, signs)
            train.append(_trainability(signs, pulled))
            features = result.detach()
            before = nn.Identity()
            entropies.append(_entropy(features))
    rises = [after - entropy for entropy, after in pairwise(entropies)]
    return {"expressivity": sum(entropies), "progressivity": min(rises), "trainability": sum(train) / len(train)}


def _entropy(features: Tensor) -> float:
    """Entropy of the shares of variance along the principal components of the channels: (images, channels, height,
    width) -> nats."""
    channels = features.transpose(0, 1).flatten(1).double()
    variances = torch.linalg.eigvalsh(torch.cov(channels)).clamp(min=0)
    return float(torch.special.entr(variances / variances.sum()).sum())


def _trainability(signs: Tensor, pulled: Tensor) -> float:
    """Signs at a block's output and what the Jacobian pulls them back to, both (images, channels, height, width)."""
    pulled = pixel_unshuffle(pulled, pulled.shape[-1] // signs.shape[-1])
    norm = torch.linalg.matrix_norm(torch.einsum("bihw,bohw->io", pulled, signs) / signs[:, 0].numel(), ord=2)
    return float(2 - norm - 1 / norm)
