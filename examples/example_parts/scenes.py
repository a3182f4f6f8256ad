"""Synthetic aerial scenes: buildings on textured ground, with exact truth for every pixel.

Buildings are rectangles and L-shapes, turned at random, with shadows. Their corners determine the
masks of interiors, walls and corners, the angle of the nearest wall, and the distances and sizes
for the weights of pixels. Coordinates are (row, column), in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WALL_WIDTH = 2.0
"""The width of walls in their mask."""

CORNER_RADIUS = 2.5
"""The radius of corners in their mask."""

_GAP = 3.0
"""The minimum distance between two buildings."""

_TRIES = 200
"""The number of places tried for the buildings of a scene."""


@dataclass
class Scene:
    """An image with its truth.

    Attributes:
        image: RGB, (height, width, 3).
        masks: Interior, wall and corner, (3, height, width), 0 or 1.
        angle: The direction of the nearest wall as atan2(column, row), (height, width).
        distances: The sum of the distances to the two nearest buildings, over height + width.
        sizes: The area of the building at a pixel as a share of the image, and 1 on the ground.
    """

    image: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    angle: NDArray[np.float32]
    distances: NDArray[np.float32]
    sizes: NDArray[np.float32]


class Building(NamedTuple):
    """The position of every pixel relative to a building.

    Attributes:
        inside: True if the centre of the pixel is inside.
        distance: The distance to the nearest wall.
        angle: The direction of that wall.
        corner: The distance to the nearest corner.
    """

    inside: NDArray[np.bool_]
    distance: Array
    angle: Array
    corner: Array


def make_scene(side: int, buildings: int, seed: int) -> Scene:
    """Returns a square scene with about as many buildings; a seed always gives the same scene."""
    random = np.random.default_rng(seed)
    outlines = place_buildings(side, buildings, random)
    pixels = np.stack(np.mgrid[:side, :side], -1) + 0.5
    surveyed = [survey(outline, pixels) for outline in outlines]
    image = paint(outlines, surveyed, pixels, random)
    inside = np.array([building.inside for building in surveyed])
    distance = np.array([building.distance for building in surveyed])
    nearest = distance.argmin(0)[None]
    angle = np.take_along_axis(np.array([b.angle for b in surveyed]), nearest, 0)[0]
    corner = np.min([building.corner for building in surveyed], 0)
    masks = np.array([inside.any(0), distance.min(0) <= WALL_WIDTH / 2, corner <= CORNER_RADIUS])
    outside = np.sort(np.where(inside, 0, distance), 0)
    areas = inside.sum((1, 2), keepdims=True) / side**2
    return Scene(
        image,
        masks.astype(np.uint8),
        angle.astype(np.float32),
        (outside[:2].sum(0) / (2 * side)).astype(np.float32),
        np.where(inside.any(0), (areas * inside).sum(0), 1).astype(np.float32),
    )


def place_buildings(side: int, buildings: int, random: np.random.Generator) -> list[Array]:
    """Returns outlines (corners, 2) of at least two buildings with a minimum distance."""
    placed: list[tuple[Array, float]] = []
    outlines: list[Array] = []
    for _ in range(_TRIES):
        outline = make_outline(random)
        radius = float(np.linalg.norm(outline, axis=1).max())
        centre = random.uniform(radius, side - radius, 2)
        free = all(np.linalg.norm(centre - c) > radius + r + _GAP for c, r in placed)
        if free and len(placed) < max(2, buildings):
            placed.append((centre, radius))
            outlines.append(outline + centre)
    return outlines


def make_outline(random: np.random.Generator) -> Array:
    """Returns the corners of a rectangle or an L around the origin, turned at random."""
    height, width = random.uniform(12, 34, 2)
    corners = np.array([[0, 0], [0, width], [height, width], [height, 0]])
    if random.random() < 0.5:
        cut_height, cut_width = random.uniform(0.3, 0.6, 2) * (height, width)
        bay = [[height - cut_height, width], [height - cut_height, width - cut_width]]
        corners = np.array([[0, 0], [0, width], *bay, [height, width - cut_width], [height, 0]])
    turn = random.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.asarray((corners - (height / 2, width / 2)) @ rotation.T)


def survey(outline: Array, pixels: Array) -> Building:
    """Returns the position of pixels (height, width, 2) relative to an outline."""
    walls = list(zip(outline, np.roll(outline, -1, 0), strict=True))
    distances = np.array([distance_to_wall(pixels, start, end) for start, end in walls])
    angles = np.array([np.arctan2(*(end - start)[::-1]) for start, end in walls])
    corners = np.linalg.norm(pixels[..., None, :] - outline, axis=-1)
    return Building(
        is_inside(outline, pixels), distances.min(0), angles[distances.argmin(0)], corners.min(-1)
    )


def distance_to_wall(pixels: Array, start: Array, end: Array) -> Array:
    """Returns the distance of pixels from the segment between two corners."""
    wall = end - start
    along = np.clip((pixels - start) @ wall / (wall @ wall), 0, 1)
    return np.asarray(np.linalg.norm(pixels - start - along[..., None] * wall, axis=-1))


def is_inside(outline: Array, pixels: Array) -> NDArray[np.bool_]:
    """Returns whether each pixel is inside: a ray along its row crosses the outline oddly often."""
    row, column = pixels[..., 0], pixels[..., 1]
    inside = np.zeros(row.shape, dtype=bool)
    for (row_a, column_a), (row_b, column_b) in zip(outline, np.roll(outline, -1, 0), strict=True):
        crosses = (row_a > row) != (row_b > row)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = column_a + (row - row_a) * (column_b - column_a) / (row_b - row_a)
        inside ^= crosses & (column < crossing)
    return inside


def paint(
    outlines: list[Array], surveyed: list[Building], pixels: Array, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Returns the image: ground, shadows, roofs lit from one side, and noise."""
    side = len(pixels)
    ground = random.uniform((60, 80, 40), (130, 125, 90))
    image = ground * (1 + 0.5 * texture(side, 8, random) + 0.3 * texture(side, 32, random))
    shift = random.uniform(3, 7) * np.array([1, random.choice([-1, 1])])
    for outline in outlines:
        image[is_inside(outline + shift, pixels)] *= 0.45
    for building in surveyed:
        roof = random.uniform(70, 215) + random.uniform(-25, 25, 3)
        light = 1 + 0.15 * np.cos(building.angle - random.uniform(0, 2 * np.pi))
        image[building.inside] = (roof * light[..., None])[building.inside]
    image += 18 * texture(side, side, random) + random.normal(0, 6, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def texture(side: int, cells: int, random: np.random.Generator) -> Array:
    """Returns smooth noise of mean 0 with `cells` bumps along a side, (side, side, 1)."""
    grid = random.normal(0, 0.5, (cells + 1, cells + 1))
    position = np.linspace(0, cells, side)
    first = np.minimum(position.astype(int), cells - 1)
    fraction = position - first
    rows = grid[first] * (1 - fraction[:, None]) + grid[first + 1] * fraction[:, None]
    return np.asarray(rows[:, first] * (1 - fraction) + rows[:, first + 1] * fraction)[..., None]
