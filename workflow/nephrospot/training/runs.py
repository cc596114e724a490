"""Which trainings a configuration asks for: methods (Table I), an ablation (Table III), data fractions (Fig. 10)."""

from __future__ import annotations

from nephrospot.errors import Problems, did_you_mean

PARTS = ("training", "validation", "test")


def list_runs(training: dict) -> dict[str, dict]:
    """Every training by name.

    Parameters
    ----------
    training
        The section ``training`` of the configuration, complete.

    Returns
    -------
    dict
        By name: table ("table1", "table3" or "fig10"), label, network, options, recipe (what all share with what is its
        own), semi (dict, or None for none), initial (weights to start from, or ""), weights (those that are measured as
        they are, or "" for a training), share (of the data, in Fig. 10), fraction (the share of the labelled regions),
        rates_of (the name of the training whose learning-rate check it goes by), twin (the name of a training before
        that would give the same weights, such as a method that is a row of the ablation, or ""), published.

    Names: the methods' own; ``ablation-{name}``; ``{method}-{percent}-percent`` for a data fraction.
    """
    runs = {name: _complete(content, training, "table1", name) for name, content in training["methods"].items()}
    by_network = {run["network"]: name for name, run in reversed(runs.items()) if not run["weights"]}
    for name, content in training["ablation"].items():
        run = _complete(content, training, "table3", f"ablation-{name}")
        # Trials learn from labels alone, so trainings that differ in the rest share one.
        if not run["weights"]:
            run["rates_of"] = by_network.setdefault(run["network"], run["rates_of"])
            run["twin"] = next((other for other, given in runs.items() if _same_training(run, given)), "")
        runs[f"ablation-{name}"] = run
    for method in training["fractions"]["methods"]:
        for share in training["fractions"]["shares"]:
            run = runs[method] | {"table": "fig10", "share": share}
            # The paper's curve is over the unlabelled regions; a method without them can only have fewer labels.
            less = {"fraction": share} if run["semi"] is None else {"semi": {**run["semi"], "share": share}}
            runs[f"{method}-{100 * share:g}-percent"] = run | less
    return runs


def check_training(training: dict, where: str, problems: Problems) -> None:
    """What one key of the section ``training`` demands of another, a sentence each.

    Parameters
    ----------
    training
        The section, complete.
    where
        How sentences begin, such as "config, training".
    """
    methods, total = training["methods"], sum(training["split"][part] for part in PARTS)
    if abs(total - 1) > 1e-6:
        told = ", ".join(f"{part} {training['split'][part]:g}" for part in PARTS)
        problems.add(f"{where}.split: the shares ({told}) add up to {total:g}; make them add up to 1.")
    folds, fold = training["split"]["folds"], training["split"]["fold"]
    if folds and (folds == 1 or fold > folds):
        problems.add(f"{where}.split.fold: {fold} of {folds} can't be; give two folds or more, and one of them.")
    for index, method in enumerate(training["fractions"]["methods"]):
        if method not in methods:
            remedy = did_you_mean(method, methods) if methods else "add it there."
            problems.add(f"{where}.fractions.methods.{index}: {method!r} isn't under training.methods; {remedy}")
        elif methods[method]["weights"]:
            problems.add(
                f"{where}.fractions.methods.{index}: {method!r} has weights, so it isn't trained; leave it out here."
            )
    if training["patches"] and not training["data"]:
        problems.add(
            f"{where}.data: the key is empty; say what the patches are, for the weights' cards and the tables."
        )
    seen: dict[str, str] = {}
    for section, prefix in (("methods", ""), ("ablation", "ablation-")):
        for name, content in training[section].items():
            file, place = f"{prefix}{name}", f"{section}.{name}"
            if other := seen.get(file.lower()):
                problems.add(f"{where}.{place}: its files would be those of training.{other}; rename one.")
            seen[file.lower()] = place
            idle = [key for key in ("options", "recipe", "semi", "initial") if content.get(key)]
            if content["weights"] and idle:
                problems.add(
                    f"{where}.{place}: weights are measured as they are, so {', '.join(idle)} would change nothing; "
                    "remove either, or call the weights initial to train on from them."
                )
            semi = content.get("semi")
            pseudo = semi is not None and {"pseudo": True, **training["semi"], **semi}["pseudo"]
            if pseudo and training["patches"] and not training["rois"]:
                problems.add(
                    f"{where}.{place}.semi: pseudo-labels need whole regions; give training.rois, or set pseudo: false."
                )


def _complete(content: dict, training: dict, table: str, name: str) -> dict:
    semi = content.get("semi")
    return {
        "table": table,
        "label": content["label"],
        "network": content["network"],
        "options": content["options"],
        "recipe": {**training["recipe"], **content["recipe"]},
        "semi": None if semi is None else {**training["semi"], **semi},
        "initial": content["initial"],
        "weights": content["weights"],
        "share": 1.0,
        "fraction": 1.0,
        "rates_of": name,
        "twin": "",
        "published": content["published"],
    }


def _same_training(one: dict, other: dict) -> bool:
    keys = ("network", "options", "recipe", "semi", "initial", "weights", "fraction", "rates_of")
    return all(one[key] == other[key] for key in keys)
