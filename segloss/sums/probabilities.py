r"""Accurate probabilities of logits, and cross-entropies of pixels, under autograd.

The reference kernel and the top-k loss compute with these functions. From logits, they never
compute q = 1 - p as a difference if p is above 1/2. The errors of a well-trained model are in the
last digits of that difference, and float32 drops them (at a logit of 17, 1 - p is 0). So

- with sigmoid, p and q are exp(log sigmoid(x)) and exp(log sigmoid(-x)), whose derivatives PyTorch
  computes as products;
- with softmax, the likeliest class of each pixel, the pivot, is compared with all other classes.
  With its margin m = x_pivot - logsumexp(x_others), it has p = sigmoid(m) and q = sigmoid(-m). No
  other class has a p above 1/2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Probabilities(NamedTuple):
    """Probabilities p and q = 1 - p, and their logarithms, (N, C, P)."""

    p: Tensor
    q: Tensor
    log_p: Tensor
    log_q: Tensor


def sigmoid_probabilities(logits: Tensor) -> Probabilities:
    """Computes the probabilities of independent channels."""
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    return Probabilities(log_p.exp(), log_q.exp(), log_p, log_q)


def softmax_probabilities(logits: Tensor) -> Probabilities:
    """Computes the probabilities of classes that exclude each other, over dimension 1."""
    largest, pivot = logits.detach().max(1, keepdim=True)
    logits = logits - largest  # else large logits would swallow log C
    logits = logits.clamp(min=torch.finfo(logits.dtype).min)  # where the difference overflowed
    others = logits.scatter(1, pivot, -torch.inf)
    margin = logits.gather(1, pivot) - others.logsumexp(1, keepdim=True)
    log_q_pivot = F.logsigmoid(-margin)
    log_p = logits.log_softmax(1).scatter(1, pivot, F.logsigmoid(margin))
    p = log_p.exp()
    q = (1 - p).scatter(1, pivot, log_q_pivot.exp())
    log_q = torch.log1p(-p.scatter(1, pivot, 0.0)).scatter(1, pivot, log_q_pivot)
    return Probabilities(p, q, log_p, log_q)


def times_log(factor: Tensor | float, log: Tensor) -> Tensor:
    """Computes a factor times a logarithm, which may be -infinity; 0 where the factor is 0.

    In place of -infinity it takes the lowest finite number.
    """
    log = log.clamp(min=torch.finfo(log.dtype).min)
    if isinstance(factor, Tensor):
        log = log * (factor.detach() != 0).to(log.dtype)  # or the slope in the factor overflows
    return factor * log


def binary_cross_entropy(
    log_p: Tensor, log_q: Tensor, target: Tensor, pos_weight: Tensor | float, smoothing: float
) -> Tensor:
    """Computes the binary cross-entropy of each pixel and channel, (N, C, P)."""
    target = target * (1 - smoothing) + smoothing / 2
    return -times_log(pos_weight * target, log_p) - times_log(1 - target, log_q)


def cross_entropy(log_p: Tensor, target: Tensor, class_weights: Tensor, smoothing: float) -> Tensor:
    """Computes the cross-entropy of each pixel, (N, P).

    Args:
        log_p: The logarithms of the probabilities, (N, C, P).
        target: Labels (N, P) of an integer dtype, or dense (N, C, P).
        class_weights: The weights of the classes, (1, C or 1, 1).
        smoothing: The smoothing of the targets, in [0, 1].
    """
    weighted_nll = -times_log(class_weights, log_p)
    if target.ndim < log_p.ndim:
        entropy = weighted_nll.gather(1, target.unsqueeze(1)).squeeze(1)
    else:
        entropy = -times_log(target * class_weights, log_p).sum(1)
    if smoothing > 0:
        entropy = torch.lerp(entropy, weighted_nll.mean(1), smoothing)
    return entropy
