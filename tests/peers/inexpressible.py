"""Cases of the peers' suites that can't be expressed with segloss, each with its reason."""

from __future__ import annotations

RANGE = (
    "The activation leaves [0, 1]. Predictions here are probabilities, whose range is checked; "
    "sums of other numbers are not overlaps, and their scores can be negative."
)
EROSIONS = (
    "The Hausdorff loss based on erosions is not the one based on distance transforms, which "
    "segloss has: its values and slopes are different."
)
NEIGHBOURS = (
    "Calibration by the labels of a pixel's neighbourhood, on logits: a function neither of the "
    "sums nor of a single pixel. Use it in a LossWrapper."
)
BI_TEMPERED = (
    "The bi-tempered logistic loss replaces logarithm and softmax, with an iterative "
    "normalisation: it is not a function of the softmax. Use it in a LossWrapper."
)
COSINE = (
    "A cosine distance between logits and one-hot targets: a loss of classifiers that looks at "
    "logits, not at probabilities. Use it in a LossWrapper."
)
UNBOUNDED = (
    "The Dice loss of logits without an activation: predictions here are logits with an "
    "activation, or probabilities in [0, 1]."
)


OF_HAUSDORFF = ["tanh", "log_softmax", "tanh, batch", "tanh, batch, again", "tanh, apart"]
ACTIVATIONS = {
    "DiceLoss": [
        "tanh",
        "log_softmax",
        "tanh, batch",
        "tanh, batch, smooth_nr=0",
        "tanh, smooth_nr=0",
        "log_softmax, weight",
    ],
    "GeneralizedDiceLoss": ["tanh", "log_softmax"],
    "TverskyLoss": ["tanh", "tanh, batch", "log_softmax"],
    "MCCLoss": ["tanh"],
    "BoundaryLoss": ["tanh"],
    "HausdorffDTLoss": OF_HAUSDORFF,
    "LogHausdorffDTLoss": OF_HAUSDORFF,
}
OF_NEIGHBOURS = ("", " batch of four", " gaussian", " gaussian, sigma", " l2", " alpha", " 3D")
OF_EROSIONS = (
    "numbers, 2D",
    "numbers of every erosion",
    "numbers, 3D",
    "slopes at a tie, 2D",
    "slopes at a tie, 3D",
)

INEXPRESSIBLE: dict[str, str] = {
    **{
        f"MONAI: {loss}, other_act={activation}": RANGE
        for loss, activations in ACTIVATIONS.items()
        for activation in activations
    },
    "MONAI: MaskedLoss of DiceFocalLoss of logits without an activation": UNBOUNDED,
    **{f"MONAI: NACLLoss{options}": NEIGHBOURS for options in OF_NEIGHBOURS},
    **{f"kornia: HausdorffERLoss, {case}": EROSIONS for case in OF_EROSIONS},
    "pytorch-toolbelt: BiTemperedLogisticLoss of a right prediction": BI_TEMPERED,
    "pytorch-toolbelt: BinaryBiTemperedLogisticLoss with ignored pixels": BI_TEMPERED,
    "pytorch-toolbelt: FocalCosineLoss of a right prediction": COSINE,
}
