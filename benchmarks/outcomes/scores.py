"""Scores of masks: of pixels by class, and of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from outcomes.data import VOID

Labels = NDArray[Any]


def scores(predictions: Sequence[Labels], labels: Sequence[Labels], classes: int) -> dict[str, Any]:
    """Returns the Dice score of each class over all pixels, and the scores of foreground objects.

    A true object is a connected component of the foreground. It is found if the intersection with
    its best predicted component is more than half of their union. Small objects are those up to the
    lower quartile of the areas.

    Args:
        predictions: The predicted classes (H, W) of each image.
        labels: The true classes of each image; pixels of `VOID` do not count.
        classes: The number of classes.
    """
    confusion = np.zeros((classes, classes), dtype=np.int64)
    areas, found, predicted = [], [], 0
    for prediction, truth in zip(predictions, labels, strict=True):
        counts = truth != VOID
        pairs = classes * truth[counts].astype(np.int64) + prediction[counts]
        confusion += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        of_image, is_found, count = objects((prediction > 0) & counts, (truth > 0) & counts)
        areas += of_image
        found += is_found
        predicted += count
    hits = np.diag(confusion)
    totals = confusion.sum(0) + confusion.sum(1)
    size, hit = np.array(areas), np.array(found)
    small = size <= np.quantile(size, 0.25)
    return {
        "dice": (2 * hits / np.maximum(totals, 1)).tolist(),
        "objects_f1": float(2 * hit.sum() / (len(hit) + predicted)),
        "objects_found": float(hit.mean()),
        "small_objects_found": float(hit[small].mean()),
    }


def objects(prediction: Labels, truth: Labels) -> tuple[list[int], list[bool], int]:
    """Returns the areas of true objects, whether each is found, and the number of predicted ones.

    Args:
        prediction: The predicted foreground (H, W), booleans.
        truth: The true foreground (H, W), booleans.
    """
    true_ids, true_count = ndimage.label(truth)
    ids, count = ndimage.label(prediction)
    areas, predicted = (
        np.bincount(each.ravel(), minlength=n + 1)
        for each, n in ((true_ids, true_count), (ids, count))
    )
    pairs, hits = np.unique((true_ids * (count + 1) + ids)[truth & prediction], return_counts=True)
    of_true, of_predicted = np.divmod(pairs, count + 1)
    union = areas[of_true] + predicted[of_predicted] - hits
    found = np.isin(np.arange(1, true_count + 1), of_true[2 * hits > union])
    return areas[1:].tolist(), found.tolist(), count
