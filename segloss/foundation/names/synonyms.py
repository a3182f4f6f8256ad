"""Names that other libraries give to arguments, values and losses, for "did you mean" in messages.

`meaning` looks them up, for every unknown name: of keywords, terms, losses, targets in configs, and
attributes of the package.
"""

from __future__ import annotations

NAMES_ELSEWHERE: dict[tuple[str, ...], tuple[str, ...]] = {
    # Arguments
    ("num_classes", "nb_classes", "num_labels", "classes", "out_channels", "channels"): (
        "n_classes",
    ),
    ("weight", "weights", "class_weight", "ce_weight", "class_coef"): (
        "class_weights",
        "region_class_weights",
        "pixel_weights",
        "weights",
        "coef",
        "coefs",
    ),
    ("coef", "coefficient", "factor", "lambda", "loss_weight", "weighting"): (
        "coef",
        "weight",
        "weights",
    ),
    ("pixel_weight", "weight_map", "mask"): ("pixel_weights",),
    ("ignore_label", "ignored_index", "ignore_value", "ignore", "void", "void_label"): (
        "ignore_index",
    ),
    ("eps", "epsilon", "smooth_nr", "smooth_dr", "smoothing"): ("smooth",),
    ("label_smooth",): ("label_smoothing", "use_label_smooth"),
    ("smooth_factor",): ("label_smoothing",),
    ("alpha",): ("tversky_alpha",),
    ("beta",): ("tversky_beta",),
    ("gamma",): ("tversky_gamma",),
    ("include_background", "do_bg"): ("region_classes", "classes"),
    ("batch", "batch_dice", "per_image"): ("region_reduction",),
    ("apply_nonlin", "other_act", "task"): ("mode", "activation"),
    ("mode",): ("activation",),
    ("softmax",): ("mode", "activation", "multiclass"),
    ("sigmoid",): ("mode", "activation", "binary"),
    ("multiclass",): ("softmax", "mode", "activation"),
    ("binary", "multilabel"): ("sigmoid", "mode", "activation"),
    ("avg", "average", "elementwise_mean"): ("mean", "sample"),
    ("mean",): ("sample",),
    ("cuda", "gpu"): ("triton",),
    ("target",): ("_target_",),
    ("logits", "with_logits", "use_sigmoid", "apply_sigmoid"): ("from_logits",),
    ("ce_coef", "lambda_ce", "lambda_bce", "weight_ce", "bce_weight"): ("bce_coef",),
    ("lambda_dice", "weight_dice", "dice_weight", "dice"): ("dice_coef",),
    ("iters", "iter_", "num_iter"): ("iterations",),
    ("losses", "loss_list", "loss_functions"): ("loss_funcs",),
    ("loss_weights", "coefs", "coefficients"): ("weights",),
    ("thresholds", "epochs", "milestones"): ("epoch_thresholds",),
    ("loss", "loss_fn", "criterion"): ("loss_func", "loss"),
    # Losses
    ("ce", "softmax_ce", "softmax_cross_entropy", "categorical_cross_entropy", "xent"): (
        "cross_entropy",
        "bce_coef",
        "compound",
    ),
    ("bce", "bce_with_logits", "sigmoid_ce"): (
        "bce_coef",
        "binary_cross_entropy",
        "cross_entropy",
        "compound",
    ),
    ("cross_entropy", "binary_cross_entropy"): ("cross_entropy", "bce_coef", "compound"),
    ("bce_dice", "dice_ce", "ce_dice", "dc_and_ce", "combo"): ("dice_bce", "compound"),
    ("dice_bce",): ("compound",),
    ("dice_loss", "generic_dice", "soft_dice_loss"): ("soft_dice",),
    ("iou", "soft_iou", "miou", "jaccard_index"): ("jaccard",),
    ("f1", "f_score", "soft_dice", "sorensen_dice"): ("dice",),
    ("gdl", "generalised_dice", "gdice"): ("generalized_dice",),
    ("tversky_focal",): ("focal_tversky",),
    ("hausdorff", "hausdorff_dt", "hd"): ("hausdorff_distance",),
    ("surface", "bd"): ("boundary",),
    ("soft_cldice", "centerline_dice"): ("cldice", "soft_cldice"),
    ("lovasz_softmax", "lovasz_hinge"): ("lovasz",),
    ("ohem", "ohem_ce"): ("ohem_cross_entropy",),
    ("topk", "topk_ce"): ("topk_cross_entropy",),
    ("matthews", "matthews_correlation"): ("mcc",),
    ("deep_supervision_wrapper",): ("deep_supervision",),
}
"""Names elsewhere, with those here that mean the same, best first."""
