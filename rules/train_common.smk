"""What the rules of training share: what is asked for, and where inputs come from."""

TRAINING = settings["training"]
# Own patches are called what training.data says; simulated ones always by their name.
SIMULATED = not TRAINING["patches"]
DATA = "simulated human-like kidney tissue (snakemake train)" if SIMULATED else TRAINING["data"]
PATCHES = TRAINING["patches"] or f"{settings['results']}/training/patches"
ROIS = TRAINING["rois"] or ([] if TRAINING["patches"] else f"{settings['results']}/training/rois")
TABLE1 = [name for name, run in RUNS.items() if run["table"] == "table1"]
FRACTIONS = [name for name, run in RUNS.items() if run["table"] == "fig10"]
OMNI_SEG = next((name for name in TABLE1 if RUNS[name]["network"].startswith("omni-seg")), "")
TRAINED = [name for name, run in RUNS.items() if not (run["weights"] or run["twin"])]
# One check of learning rates may serve several trainings.
RATED = list(dict.fromkeys(RUNS[name]["rates_of"] for name in TRAINED)) if TRAINING["rates"] else []


def run_of(*keys):
    """Params function: what a training is asked to do, in some of its keys."""
    return lambda wildcards: {key: RUNS[wildcards.run][key] for key in keys}


def trained_weights(name):
    """Path of a training's weights, of its twin's, or of those that it was given."""
    return RUNS[name]["weights"] or f"{settings['results']}/training/{RUNS[name]['twin'] or name}.safetensors"


def rois_if_any(wildcards):
    """Input function: the regions, for a training that makes pseudo-labels of them."""
    semi = RUNS[wildcards.run]["semi"]
    return ROIS if semi is not None and semi.get("pseudo", True) else []


def rates_if_any(wildcards):
    """Input function: the learning-rate check that a training goes by."""
    return f"{settings['results']}/training/{RUNS[wildcards.run]['rates_of']}.rates.tsv" if TRAINING["rates"] else []


def initial_if_any(wildcards):
    """Input function: the weights that a training starts from."""
    return RUNS[wildcards.run]["initial"] or []
