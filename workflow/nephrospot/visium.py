"""Space Ranger folders: where the spots are, and what their lattice says about µm per pixel.

Spots sit on a hexagonal lattice with 100 µm between neighbours; two steps of
``array_col`` are one such distance. Positions are (x, y) in full-resolution
pixels of the image that Space Ranger saw, which may be negative, mirrored or rotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from nephrospot.errors import InputError, tell_cause
from nephrospot.files import parse_json, unpack
from nephrospot.lattice import SPOT_PITCH_UM, Lattice, fit_lattice
from nephrospot.positions import MAX_TEXT_BYTES, check_positions, read_csv, read_lines, read_parquet

# 90 µm is the printed fiducial; Space Ranger itself writes the theoretical 105 µm.
FIDUCIAL_UM = (105.0, 90.0)
# Space Ranger's "spot diameter" by version and slide type; before 1.3 it was the printed 55 µm.
SPOT_DIAMETER_UM = (55.0, 60.0, 65.0, 70.0)
DIAMETER_TOLERANCE = 0.03
POSITION_FILES = ("tissue_positions.parquet", "tissue_positions.csv", "tissue_positions_list.csv")
FACTORS = (1e-9, 1e9)  # beyond them a scale factor or a diameter in pixels means nothing


@dataclass(frozen=True)
class VisiumGrid:
    """The spots of one capture area.

    Attributes
    ----------
    table : DataFrame
        barcode, in_tissue (bool), array_row, array_col (int), x_px, y_px (float,
        full-resolution pixels of Space Ranger's image), in the file's order.
    scalefactors : dict
        Content of scalefactors_json.json.
    hires_path : Path or None
        tissue_hires_image.png, where it is there.
    layout : str
        "v1 list", "csv with header" or "parquet".
    where : str
        How messages name the folder.
    """

    table: pd.DataFrame
    scalefactors: dict
    hires_path: Path | None
    layout: str
    where: str

    @property
    def in_tissue(self) -> pd.DataFrame:
        """The rows of the table that lie on tissue."""
        return self.table[self.table["in_tissue"]].reset_index(drop=True)

    @cached_property
    def lattice(self) -> Lattice:
        """The lattice fitted to all spots; raises `InputError` where they form none."""
        return fit_lattice(self.table, self.where)

    @property
    def pitch_px(self) -> float:
        """Full-resolution pixels between neighbouring spots."""
        return self.lattice.pitch_px

    @property
    def mpp_from_pitch(self) -> float:
        """µm per full-resolution pixel, from the 100 µm between neighbouring spots."""
        return SPOT_PITCH_UM / self.pitch_px

    @property
    def fiducial_um(self) -> float:
        """What the fiducial diameter of this folder stands for: 105 µm unless only 90 fits the pitch."""
        implied = self.scalefactors.get("fiducial_diameter_fullres", np.nan) * self.mpp_from_pitch
        return next((um for um in FIDUCIAL_UM if abs(implied / um - 1) <= DIAMETER_TOLERANCE), FIDUCIAL_UM[0])

    @property
    def mpp_from_fiducial(self) -> float | None:
        """µm per full-resolution pixel, from the fiducials; None where their diameter isn't given."""
        diameter_px = self.scalefactors.get("fiducial_diameter_fullres")
        return self.fiducial_um / diameter_px if diameter_px else None

    def notes(self) -> list[str]:
        """Sentences on what is odd about this folder but no reason to refuse it."""
        sentences = []
        strays = self.lattice.strays
        if strays:
            sentences.append(
                f"{self.where}: {len(strays)} spots such as {strays[0]} lie off the lattice; "
                "check their positions if the file was edited."
            )
        if self.mpp_from_fiducial and self.fiducial_um != FIDUCIAL_UM[0]:
            sentences.append(
                f"{self.where}: fiducial_diameter_fullres stands for {self.fiducial_um:g} µm, "
                "where Space Ranger writes 105 µm."
            )
        spot_px = self.scalefactors.get("spot_diameter_fullres")
        if spot_px:
            spot_um = spot_px * self.mpp_from_pitch
            if not any(abs(spot_um / um - 1) <= DIAMETER_TOLERANCE for um in SPOT_DIAMETER_UM):
                known = ", ".join(f"{um:g}" for um in SPOT_DIAMETER_UM)
                sentences.append(
                    f"{self.where}: spot_diameter_fullres stands for {spot_um:.1f} µm, which no slide type "
                    f"has ({known} µm); the spot pitch is used, check that scalefactors and positions belong together."
                )
        return sentences


def find_outs(folder: str | Path) -> Path:
    """The Space Ranger folder that holds ``spatial/``: the given one, its ``outs`` or its parent.

    Raises
    ------
    InputError
        When there is none, or when it is a Visium HD folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; correct the path in column visium.")
    for outs in (folder, folder / "outs"):
        if (outs / "binned_outputs").is_dir() or any(outs.glob("square_*um")):
            raise InputError(_hd_sentence(outs))
        if (outs / "spatial").is_dir():
            return outs
    if folder.name == "spatial":
        return folder.parent
    raise InputError(
        f"{folder}: there is no folder spatial/ in it; give Space Ranger's folder outs, or a folder whose "
        "subfolder spatial/ holds the tissue positions and scalefactors_json.json."
    )


def read_positions(folder: str | Path) -> VisiumGrid:
    """Read the spots of a Space Ranger folder of any version.

    The header is looked for, not guessed from the file's name.

    Raises
    ------
    InputError
        When a file is missing, cut short or contradicts itself, with every reason at once
        where more than one can be told.
    """
    path = _find_positions(folder)
    scalefactors = _read_scalefactors(path.parent / "scalefactors_json.json")
    raw, layout = read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    hires = path.parent / "tissue_hires_image.png"
    return VisiumGrid(
        table=check_positions(raw, path),
        scalefactors=scalefactors,
        hires_path=hires if hires.is_file() else None,
        layout=layout,
        where=str(path),
    )


def read_barcodes(folder: str | Path) -> set[str]:
    """Barcodes of all spots of a folder that was checked before: the rest of its positions isn't looked at.

    Raises
    ------
    InputError
        When the file is missing or can't be read.
    """
    path = _find_positions(folder)
    if path.suffix == ".parquet":
        return set(read_parquet(path)[0]["barcode"].astype(str))
    lines = read_lines(path)
    header = [cell.strip().strip('"').lower() for cell in lines[0].split(",")]
    at = header.index("barcode") if "barcode" in header else 0
    return {line.split(",", at + 1)[at].strip().strip('"') for line in lines[1 if "barcode" in header else 0 :]}


def _find_positions(folder: str | Path) -> Path:
    spatial = find_outs(folder) / "spatial"
    for name in POSITION_FILES:
        if (spatial / name).is_file():
            return spatial / name
    raise InputError(
        f"{spatial}: the spot positions are missing; copy tissue_positions.csv or tissue_positions_list.csv "
        "there from the Space Ranger run."
    )


def _hd_sentence(folder: Path) -> str:
    return (
        f"{folder}: this is a Visium HD folder, whose squares have no 55 µm spots; give the folder of a "
        "6.5 mm or 11 mm Visium slide."
    )


def _read_scalefactors(path: Path) -> dict:
    if not path.is_file():
        raise InputError(f"{path}: the file is missing; copy it from the Space Ranger run.")
    try:
        content = parse_json(unpack(path, MAX_TEXT_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: the file is cut short or isn't JSON ({tell_cause(error)}); copy it again."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: scale factors by name were expected; copy it again from the Space Ranger run.")
    if "bin_size_um" in content or "microns_per_pixel" in content:
        raise InputError(_hd_sentence(path.parent.parent))
    for name, value in content.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name.endswith(("fullres", "scalef")) and not (number and FACTORS[0] < value < FACTORS[1]):
            raise InputError(f"{path}: {name} is {value!r}; a positive number was expected, copy the file again.")
    return content
