"""Trains a small U-Net to outline buildings, with a frame field that follows their walls.

`scenes.py` generates the scenes: rectangular and L-shaped buildings, turned at random, on textured
ground, with exact masks and directions of walls. The network predicts interior and walls, and a
frame field of two directions per pixel. The loss is a sum of seven losses from a YAML file. For
comparison, the same network is then trained without the frame-field losses.

The output folder gets metrics.json, a checkpoint of each network, losses.png and buildings.png. On
a CPU, the same settings give the same numbers.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from example_parts.configuration import command_line, load_config, mistakes_as_messages, parse
from example_parts.interruption import ended_by_ctrl_c
from example_parts.networks import ModelSettings, build_unet
from example_parts.output_folder import OutputFolder, output_folder
from example_parts.pictures import Footprint, plot_curves, plot_footprints
from example_parts.scenes import Scene, make_scene
from example_parts.training import (
    Batch,
    Run,
    TrainingSettings,
    check_at_least,
    new_run,
    predictions,
    seed_of,
    shuffled,
    take_norms,
    to_device,
    train,
)
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from segloss.frame_field.arithmetic import directions

HERE = Path(__file__).parent

FRAME_FIELD, MASKS_ALONE = "frame field", "masks alone"
"""The two runs: with all losses, and with only the loss of the masks."""


@dataclass
class DataSettings:
    """The scenes for training and test.

    Attributes:
        side: Height and width of a scene, in pixels.
        buildings: The number of buildings in a scene, if there is room.
        training_scenes: The number of scenes for training.
        test_scenes: The number of scenes for the test.
    """

    side: int
    buildings: int
    training_scenes: int
    test_scenes: int

    def __post_init__(self) -> None:
        if self.side < 96 or self.side % 16:
            raise ValueError(f"data.side must be a multiple of 16, at least 96, got {self.side}.")
        check_at_least("data.buildings", self.buildings, 2)
        check_at_least("data.training_scenes", self.training_scenes, 1)
        check_at_least("data.test_scenes", self.test_scenes, 1)


@dataclass
class BuildingSettings:
    """All settings in building_footprints.yaml."""

    seed: int
    data: DataSettings
    model: ModelSettings
    training: TrainingSettings
    loss_params: dict[str, Any]

    def __post_init__(self) -> None:
        check_at_least("seed", self.seed, 0)


class FrameFieldNet(nn.Module):
    """A U-Net that predicts the masks, as probabilities, and the frame field.

    The coefficients of the field are in [-2, 2], like those of directions of length 1.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.unet = build_unet(settings, in_channels=3, classes=6)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predicts "seg" (N, 2, H, W) and "crossfield" (N, 4, H, W) for images (N, 3, H, W)."""
        output = self.unet(image)
        return {"seg": output[:, :2].sigmoid(), "crossfield": 2 * output[:, 2:].tanh()}


class SceneDataset(Dataset[Batch]):
    """Scenes as batches for the losses."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.scenes = scenes
        self.frequencies = np.mean([scene.masks.mean((1, 2)) for scene in scenes], 0)

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Batch:
        scene = self.scenes[index]
        return {
            "image": torch.from_numpy(scene.image).permute(2, 0, 1).float() / 128 - 1,
            "gt_polygons_image": torch.from_numpy(scene.masks).float(),
            "gt_crossfield_angle": torch.from_numpy(scene.angle)[None],
            "distances": torch.from_numpy(scene.distances)[None],
            "sizes": torch.from_numpy(scene.sizes)[None],
            "class_freq": torch.from_numpy(self.frequencies).float(),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains twice, tests and draws with the options of the command line."""
    command = command_line(
        __doc__, HERE / "building_footprints.yaml", Path("runs/building_footprints")
    )
    options = parse(command, arguments)
    with ended_by_ctrl_c(), output_folder(options.output) as folder:
        run_example(options, folder)


def run_example(options: argparse.Namespace, folder: OutputFolder) -> None:
    """Trains with all losses and with the first alone, and compares the two."""
    with mistakes_as_messages():
        settings = load_config(BuildingSettings, options.config, options.overrides)
        runs = {name: start(settings, name) for name in (FRAME_FIELD, MASKS_ALONE)}
        checkpoints = {name: checkpoint_of(options.output, name) for name in runs}
        resumed = [name for name in runs if options.resume and checkpoints[name].is_file()]
        if options.resume:
            for name in resumed or [FRAME_FIELD]:
                runs[name].resume(checkpoints[name])
        folder.take()

    count = settings.data.training_scenes
    scenes = make_scenes(settings, count + settings.data.test_scenes)
    training, test = SceneDataset(scenes[:count]), SceneDataset(scenes[count:])

    def batches(epoch: int) -> DataLoader[Batch]:
        return shuffled(training, settings.training.batch_size, seed_of(settings.seed, epoch))

    seconds = 0.0
    for name, run in runs.items():
        print(f"training: {name}")
        if name not in resumed:
            run.started = time.perf_counter()  # without the time of the previous run
            take_norms(run.model, run.loss, batches(0))
            run.save(checkpoints[name])
        train(run, batches, settings.training, settings.seed, checkpoints[name])
        seconds += run.seconds

    outputs = {name: predict(run.model, test) for name, run in runs.items()}
    report: dict[str, Any] = {name: metrics(outputs[name], test) for name in runs}
    print_table(report)
    plot_curves(runs[FRAME_FIELD], options.output / "losses.png")
    plot_footprints(footprints(outputs[FRAME_FIELD], test), options.output / "buildings.png")
    report["seconds"] = round(seconds, 1)
    (options.output / "metrics.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{report['seconds']:.0f} seconds; the results are in {options.output}")


def start(settings: BuildingSettings, name: str) -> Run:
    """Returns a run before its first step, with all losses or only the first."""
    params = copy.deepcopy(settings.loss_params)
    if name == MASKS_ALONE:
        del params["compound_loss"]["loss_list"][1:]
    torch.manual_seed(settings.seed)
    all_settings = asdict(settings) | {"loss_params": params}
    return new_run(FrameFieldNet(settings.model), params, settings.training, all_settings)


def checkpoint_of(output: Path, name: str) -> Path:
    """Returns the path of a run's checkpoint."""
    return output / f"{name.replace(' ', '_')}.pt"


def make_scenes(settings: BuildingSettings, count: int) -> list[Scene]:
    """Returns the scenes; each depends only on the seed and its number."""
    data, seed = settings.data, settings.seed
    numbers = tqdm(range(count), "scenes", leave=False)
    return [make_scene(data.side, data.buildings, seed_of(seed, 1, number)) for number in numbers]


@torch.inference_mode()
def predict(model: nn.Module, scenes: SceneDataset) -> dict[str, Tensor]:
    """Returns the predictions of the model for all scenes."""
    model.eval()
    batches = DataLoader(scenes, batch_size=8)
    parts = [predictions(model, to_device(batch, model)) for batch in batches]
    return {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}


def metrics(output: dict[str, Tensor], scenes: SceneDataset) -> dict[str, float]:
    """Returns the IoU of the interior, and the mean angle between walls and field in degrees."""
    truth = [scene.masks for scene in scenes.scenes]
    interior = np.array([masks[0] for masks in truth], dtype=bool)
    walls = np.array([masks[1] > masks[2] for masks in truth])
    predicted = output["seg"][:, 0].numpy() > 0.5
    angles = np.array([scene.angle for scene in scenes.scenes])
    return {
        "interior_iou": float((predicted & interior).sum() / (predicted | interior).sum()),
        "field_angle": float(field_angles(output["crossfield"], angles)[walls].mean()),
    }


def field_angles(crossfield: Tensor, angle: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the angle between a direction and the nearest of the field, 0 to 90, (N, H, W)."""
    differences = []
    for direction in directions(crossfield):
        row, column = direction.numpy().transpose(1, 0, 2, 3)
        difference = np.abs(np.arctan2(column, row) - angle) % np.pi
        differences.append(np.minimum(difference, np.pi - difference))
    return np.degrees(np.minimum(*differences))


def print_table(report: dict[str, Any]) -> None:
    """Prints the two runs side by side."""
    print(f"{'on the test scenes':<20}{'interior IoU':>14}{'field to walls':>18}")
    for name, values in report.items():
        iou, angle = values["interior_iou"], values["field_angle"]
        print(f"{name:<20}{iou:>14.4f}{angle:>10.1f} degrees")


def footprints(output: dict[str, Tensor], scenes: SceneDataset) -> list[Footprint]:
    """Returns three test scenes with their predictions."""
    u, v = directions(output["crossfield"])
    count = min(3, len(scenes))
    return [
        Footprint(
            scenes.scenes[i].image,
            output["seg"][i, 0].numpy(),
            output["seg"][i, 1].numpy(),
            (u[i].numpy(), v[i].numpy()),
        )
        for i in range(count)
    ]


if __name__ == "__main__":
    main()
