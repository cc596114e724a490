"""Codes of the structure raster, the tissues a pathologist annotates, and the simulated cell types."""

GLASS, INTERSTITIUM, PT, DT, CD, THIN, BOWMAN, TUFT, ARTERY, VEIN, PTC, CAPSULE = range(12)

# Tubules and vessels are annotated as whole cross sections: wall and lumen.
TISSUES = {
    "CAP": (BOWMAN, TUFT),
    "TUFT": (TUFT,),
    "PT": (PT,),
    "DT": (DT,),
    "VES": (ARTERY,),
    "PTC": (PTC,),
}

CELL_TYPES = (
    "PT-S1",
    "PT-S2",
    "PT-S3",
    "TAL",
    "DCT",
    "CD-PC",
    "CD-IC",
    "Podo",
    "Mesangial",
    "Endo",
    "SMC",
    "Fib",
    "Macro",
)
