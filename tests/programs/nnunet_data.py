"""A data set for nnU-Net as its planner and preprocessor leave it: tiny images, hand-written plans.

Images are noisy, with a square of class 1 that holds one of class 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

NAME = "Dataset001_Squares"
SIDE = 32

LABELS: dict[str, dict[str, Any]] = {
    "plain": {"background": 0, "outer": 1, "inner": 2},
    "ignore": {"background": 0, "outer": 1, "inner": 2, "ignore": 3},
    "regions": {"background": 0, "whole": [1, 2], "inner": [2]},
    "regions and ignore": {"background": 0, "whole": [1, 2], "inner": [2], "ignore": 3},
    "many": {"background": 0, **{f"class {i}": i for i in range(1, 40)}},
}
"""The labels of a data set in each of nnU-Net's settings."""


def dataset_json(setting: str) -> dict[str, Any]:
    regions = {"regions_class_order": [1, 2]} if "regions" in setting else {}
    return {
        "channel_names": {"0": "grey"},
        "labels": LABELS[setting],
        "numTraining": 5,
        "file_ending": ".png",
        **regions,
    }


def plans(dims: int = 2, batch_size: int = 2, batch_dice: bool = True) -> dict[str, Any]:
    """Plans of a U-Net with four stages, so three scales, in the form that nnU-Net writes."""
    resampling = {
        f"resampling_fn_{what}": "resample_data_or_seg_to_shape"
        for what in ("data", "seg", "probabilities")
    }
    options = {"order": 1, "order_z": 0, "force_separate_z": None}
    resampling |= {
        f"{name}_kwargs": {"is_seg": name.endswith("seg"), **options} for name in list(resampling)
    }
    configuration = {
        "data_identifier": f"nnUNetPlans_{dims}d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": batch_size,
        "patch_size": [SIDE] * dims,
        "median_image_size_in_voxels": [SIDE] * dims,
        "spacing": [1.0] * dims,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        **resampling,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 4,
                "features_per_stage": [8, 8, 16, 16],
                "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
                "kernel_sizes": [[3] * dims] * 4,
                "strides": [[1] * dims, *[[2] * dims] * 3],
                "n_conv_per_stage": [1] * 4,
                "n_conv_per_stage_decoder": [1] * 3,
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": batch_dice,
    }
    return {
        "dataset_name": NAME,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [999.0, 1.0, 1.0],
        "original_median_shape_after_transp": [1, SIDE, SIDE],
        "image_reader_writer": "NaturalImage2DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {f"{dims}d": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
    }


def picture(case: int, setting: str) -> tuple[np.ndarray, np.ndarray]:
    """An image and its label map, (SIDE, SIDE)."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[3 + case : 21 + case, 5:25] = 1
    labels[8 + case : 15 + case, 10:20] = 2
    noise = np.random.default_rng(case).integers(0, 60, labels.shape)
    image = (labels * 80 + noise).astype(np.uint8)
    if "ignore" in setting:
        labels[:, : 4 + case] = 3
    return image, labels


def write_dataset(root: Path, setting: str) -> None:
    """Writes five cases, preprocessed by nnU-Net's own preprocessor."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    from PIL import Image

    raw, folder = root / "raw" / NAME, root / "preprocessed" / NAME
    described, planned = dataset_json(setting), plans()
    manager = PlansManager(planned)
    configuration = manager.get_configuration("2d")
    cases = folder / configuration.data_identifier
    for each in (raw / "imagesTr", folder / "gt_segmentations", cases, root / "results"):
        each.mkdir(parents=True, exist_ok=True)
    for case in range(5):
        image, labels = picture(case, setting)
        paths = [
            raw / "imagesTr" / f"case{case}_0000.png",
            folder / "gt_segmentations" / f"case{case}.png",
        ]
        for array, path in zip((image, labels), paths, strict=True):
            Image.fromarray(array).save(path)
        DefaultPreprocessor(verbose=False).run_case_save(
            str(cases / f"case{case}"),
            [str(paths[0])],
            str(paths[1]),
            manager,
            configuration,
            described,
        )
    for name, content in {
        "dataset.json": described,
        "nnUNetPlans.json": planned,
        "dataset_fingerprint.json": {},
    }.items():
        (folder / name).write_text(json.dumps(content))


def label_maps(setting: str, dims: int, samples: int = 3) -> torch.Tensor:
    """Random label maps (N, 1, *spatial) in which a third of the pixels is ignored, if any are."""
    classes = len(LABELS[setting])
    size = (SIDE,) * 2 if dims == 2 else (8, 8, 16)
    return torch.randint(0, classes, (samples, 1, *size))
