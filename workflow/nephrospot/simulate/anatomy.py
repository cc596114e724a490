"""Sizes (µm) and densities of the kidney of a species, as a pathologist would measure them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from nephrospot.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Anatomy:
    """Lengths in µm, shares between 0 and 1; the defaults are those of an adult mouse."""

    species: str = "mouse"
    glomerulus_um: float = 82.0  # diameter of the sphere; a section cuts it off-centre, hence smaller
    glomerulus_spread: float = 0.10  # standard deviation of the natural logarithm
    glomerulus_share: float = 0.06  # of the cortex' area, Bowman's space included
    bowman_um: float = 4.5  # mean width of Bowman's space
    proximal_um: float = 38.0  # outer diameter of proximal tubules
    proximal_wall_um: float = 14.5  # height of their epithelium, brush border included
    distal_um: float = 30.0
    distal_wall_um: float = 8.0
    collecting_um: float = 27.0
    collecting_wall_um: float = 6.5
    thin_um: float = 15.0  # thin limbs and vasa recta of the medulla
    thin_wall_um: float = 1.8
    gap_um: float = 1.2  # interstitium between the walls of two neighbouring cortical tubules
    capillary_um: float = 7.0  # peritubular capillaries
    artery_um: tuple[float, float] = (40.0, 150.0)  # outer diameter
    artery_wall: float = 0.22  # wall thickness as a share of the outer diameter
    artery_share: float = 0.022  # of the cortex' area, wall and lumen
    nucleus_um: float = 6.2  # diameter of a proximal nucleus in the section
    erythrocyte_um: float = 5.6
    capsule_um: float = 5.0
    cortex_depth: float = 0.38  # share of the way from the capsule to the papilla
    outer_medulla_depth: float = 0.27
    distal_share: float = 0.10  # of the tubules of the cortical labyrinth, by number
    collecting_share: float = 0.02


SPECIES = {
    "mouse": Anatomy(),
    "human": Anatomy(
        species="human",
        glomerulus_um=205.0,
        bowman_um=9.0,
        proximal_um=58.0,
        proximal_wall_um=21.5,
        distal_um=42.0,
        distal_wall_um=9.5,
        collecting_um=40.0,
        collecting_wall_um=9.0,
        thin_um=22.0,
        thin_wall_um=2.4,
        gap_um=2.6,
        capillary_um=10.0,
        artery_um=(60.0, 300.0),
        nucleus_um=7.0,
        erythrocyte_um=7.2,
        capsule_um=12.0,
    ),
}


def anatomy(species: str, **overrides) -> Anatomy:
    """Sizes of ``species`` ("mouse" or "human"), single ones replaced by ``overrides``.

    Raises
    ------
    InputError
        For an unknown species or an unknown size.
    """
    if species not in SPECIES:
        raise InputError(f"species is {species!r}; {did_you_mean(species, SPECIES)}")
    known = [field.name for field in fields(Anatomy)]
    unknown = [name for name in overrides if name not in known]
    if unknown:
        raise InputError(
            "\n".join(f"The anatomy has no size {name!r}; {did_you_mean(name, known)}" for name in unknown)
        )
    return replace(SPECIES[species], **overrides)
