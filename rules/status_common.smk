"""The jobs of every slide, by the rules that do them."""

STEPS = {
    "check_slide": (SLIDES, None),
    "find_tiles": (SLIDES if NETWORKS else [], None),
    "predict_masks": (SLIDES, NETWORKS),
    "stitch_masks": (SLIDES, NETWORKS),
    "import_masks": (SLIDES, DROP_INS),
    "export_geojson": (SLIDES, DETAILED),
    "measure_objects": (SLIDES, DETAILED),
    "draw_overlay": (SLIDES, DETAILED),
    "evaluate_masks": (SLIDES, EVALUATED),
    "measure_spots": (WITH_SPOTS, METHODS),
    "deconvolve_spots": (DECONVOLVED, None),
    "try_spots": (WITH_SPOTS if LOOKED_AT else [], None),
}


def fill_in(path, slide, method):
    """A rule's path for one slide and method; its wildcards carry their constraints."""
    return re.sub(r"\{(slide|method)(,[^}]*)?\}", lambda found: slide if found[1] == "slide" else method, path)


def list_steps():
    """Every slide's jobs in the order of the work, with their first output, log and benchmark."""
    found = []
    for rule, (slides, methods) in STEPS.items():
        made = getattr(rules, rule).rule
        patterns = [str(path) for path in (made.output[0], made.log[0], made.benchmark or "")]
        for slide in slides:
            for method in [""] if methods is None else methods:
                found.append(Step(rule, slide, method, *(fill_in(path, slide, method) for path in patterns)))
    return found
