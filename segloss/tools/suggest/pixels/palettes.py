"""Palettes: the colours of classes, from a name, a file, a mapping, or the masks themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segloss.foundation.arguments import shown
from segloss.foundation.printable import printable
from segloss.tools.suggest.pixels.colours import number_of

DATA = "data"
"""The name for the colours that occur in the masks."""

VOID_NAMES = (
    "void",
    "unlabelled",
    "unlabeled",
    "ignore",
    "ignored",
    "__ignore__",
    "unknown",
    "dontcare",
    "don't_care",
    "unclassified",
)
"""Names of pixels to be left out."""

_FEWEST = 4

_HEX = re.compile(r"#([0-9a-fA-F]{6})\b")
_NUMBERS = re.compile(
    r"(?<![\w.])(?:\d{1,3}[\s,;]+)*?((?:\d{1,3}[\s,;]+){2}\d{1,3})(?![\w.]|[\s,;]+\d)"
)
_BETWEEN = " \t,;:\"'|"


@dataclass(frozen=True)
class Palette:
    """The colours of classes.

    Attributes:
        title: The name of the palette.
        numbers: The numbers of the colours (see `pixels.colours`) by the names of the classes, in
            the order of the labels, with those to be left out.
    """

    title: str
    numbers: Mapping[str, int]

    @property
    def classes(self) -> dict[str, int]:
        """The colours of classes, without those to be left out."""
        return {name: n for name, n in self.numbers.items() if not is_void(name)}

    @property
    def void(self) -> tuple[int, ...]:
        """The colours of pixels to be left out."""
        return tuple(sorted(n for name, n in self.numbers.items() if is_void(name)))


def is_void(name: str) -> bool:
    """Returns whether a name is that of pixels to be left out."""
    return name.strip().lower().replace(" ", "_") in VOID_NAMES


def palette_of(colours: Any) -> Palette | None:
    """Returns the palette for the argument `colours`; None for the colours in the masks.

    Args:
        colours: None or "data", the name of a palette, a file, or a mapping from names to colours
            (R, G, B).

    Raises:
        FileNotFoundError: There is neither a palette nor a file of this name.
        TypeError: `colours` is something else.
        ValueError: The file or the mapping holds no colours, or a colour twice.
    """
    if colours is None or colours == DATA:
        return None
    if isinstance(colours, Mapping):
        return _checked("the mapping", [(str(name), c) for name, c in colours.items()])
    if not isinstance(colours, (str, Path)):
        raise TypeError(
            f"colours must be {DATA!r}, the name of a palette, a file, or a mapping from names to "
            f"(R, G, B), got {shown(colours)}."
        )
    if str(colours).lower() in KNOWN:
        return KNOWN[str(colours).lower()]
    path = Path(colours)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is neither a palette nor a file {str(colours)!r}: colours must be {DATA!r} "
            f"(the colours in the masks), {', '.join(KNOWN)}, or a file with a name and a colour, "
            "such as car,64,0,128, in each line."
        )
    return read_palette(path)


def read_palette(path: Path) -> Palette:
    """Reads a palette: a name and a colour in each line (CSV, CVAT, GIMP ...), or JSON.

    Raises:
        ValueError: The file holds no colours, or a colour twice.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".json":
        return _checked(str(path), _from_json(json.loads(text)))
    return _checked(str(path), [pair for line in text.splitlines() for pair in _from_line(line)])


def known_palette(numbers: Sequence[int]) -> Palette | None:
    """Returns the only known palette that holds all these colours; None if there is none.

    Fewer than four colours are too few to tell.
    """
    found = [p for p in KNOWN.values() if set(numbers) <= set(p.numbers.values())]
    return found[0] if len(found) == 1 and len(numbers) >= _FEWEST else None


def _from_json(found: Any) -> list[tuple[str, Sequence[int]]]:
    if isinstance(found, Mapping):
        return [(str(name), _colour(colour)) for name, colour in found.items()]
    return [
        (str(each.get("name", number)), _colour(each.get("color", each.get("colour"))))
        for number, each in enumerate(found)
    ]


def _colour(value: Any) -> Sequence[int]:
    """Returns a colour of JSON, [R, G, B] or "#rrggbb"."""
    if isinstance(value, str) and (match := _HEX.search(value)):
        return list(bytes.fromhex(match[1]))
    return list(value)[:3]


def _from_line(line: str) -> list[tuple[str, Sequence[int]]]:
    """Returns the name and the colour in a line; nothing for a heading or a comment."""
    if line.lstrip().startswith(("# ", "#\t")):
        return []
    if match := _HEX.search(line):
        colour: Sequence[int] = list(bytes.fromhex(match[1]))
    elif match := _NUMBERS.search(line):
        colour = [int(part) for part in re.findall(r"\d+", match[1])]
    else:
        return []
    name = f"{line[: match.start()]} {line[match.end() :]}".strip(_BETWEEN)
    return [(name or "#{:02x}{:02x}{:02x}".format(*colour), colour)]


def _checked(title: str, pairs: Sequence[tuple[str, Sequence[int]]]) -> Palette:
    numbers: dict[str, int] = {}
    for name, colour in pairs:
        if len(colour) != 3 or not all(0 <= int(part) <= 255 for part in colour):
            raise ValueError(
                f"A colour must be three numbers from 0 to 255, but in {printable(title, 60)}, "
                f"{printable(name, 60)} has {shown(list(colour))}."
            )
        number = number_of(colour)
        if number in numbers.values() or name in numbers:
            raise ValueError(
                f"Each class must have its own name and colour, but {printable(title, 60)} has "
                f"{printable(name, 60)} {tuple(colour)} a second time: delete one of the lines."
            )
        numbers[name] = number
    if len(numbers) < 2:
        raise ValueError(
            f"{printable(title, 60)} must hold at least two colours, such as car,64,0,128 in a "
            f"line, but holds {len(numbers)}."
        )
    return Palette(title, numbers)


def _voc_colours() -> list[tuple[int, int, int]]:
    """Returns the 21 colours of Pascal VOC: the bits of a label, spread over R, G and B."""
    colours = []
    for label in range(21):
        parts = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                parts[channel] |= (label >> (3 * bit + channel) & 1) << (7 - bit)
        colours.append((parts[0], parts[1], parts[2]))
    return colours


_VOC = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike
person pottedplant sheep sofa train tvmonitor
"""

_CAMVID = """
Animal 64 128 64; Archway 192 0 128; Bicyclist 0 128 192; Bridge 0 128 64; Building 128 0 0;
Car 64 0 128; CartLuggagePram 64 0 192; Child 192 128 64; Column_Pole 192 192 128;
Fence 64 64 128; LaneMkgsDriv 128 0 192; LaneMkgsNonDriv 192 0 64; Misc_Text 128 128 64;
MotorcycleScooter 192 0 192; OtherMoving 128 64 64; ParkingBlock 64 192 128; Pedestrian 64 64 0;
Road 128 64 128; RoadShoulder 128 128 192; Sidewalk 0 0 192; SignSymbol 192 128 128;
Sky 128 128 128; SUVPickupTruck 64 128 192; TrafficCone 0 0 64; TrafficLight 0 64 64;
Train 192 64 128; Tree 128 128 0; Truck_Bus 192 128 192; Tunnel 64 0 64;
VegetationMisc 192 192 0; Void 0 0 0; Wall 64 192 0
"""

_CITYSCAPES = """
road 128 64 128; sidewalk 244 35 232; building 70 70 70; wall 102 102 156; fence 190 153 153;
pole 153 153 153; traffic light 250 170 30; traffic sign 220 220 0; vegetation 107 142 35;
terrain 152 251 152; sky 70 130 180; person 220 20 60; rider 255 0 0; car 0 0 142; truck 0 0 70;
bus 0 60 100; train 0 80 100; motorcycle 0 0 230; bicycle 119 11 32; void 0 0 0
"""


def _listed(title: str, text: str) -> Palette:
    return _checked(
        title, [pair for line in text.replace("\n", " ").split(";") for pair in _from_line(line)]
    )


KNOWN = {
    "camvid": _listed("camvid", _CAMVID),
    "cityscapes": _listed("cityscapes", _CITYSCAPES),
    "voc": _checked(
        "voc", [*zip(_VOC.split(), _voc_colours(), strict=True), ("void", (224, 224, 192))]
    ),
}
"""The palettes of well-known data sets, by name."""
