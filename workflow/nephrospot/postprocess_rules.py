"""The configuration's rules for cleaning masks: which tissues, in which order. Light, so that a check costs nothing."""

from __future__ import annotations

from collections.abc import Iterable

from nephrospot.errors import Problems, did_you_mean


def order_rules(rules: dict[str, dict], tissues: Iterable[str]) -> list[str]:
    """The tissues with a rule, each after the one that it has to lie inside.

    Parameters
    ----------
    rules : ``postprocess`` of the configuration
    tissues : all tissues of the configuration

    Raises
    ------
    InputError
        When a tissue isn't one of the configuration's, or tissues lie inside one another in a circle.
    """
    problems, tissues, order = Problems(), list(tissues), []
    for tissue, rule in rules.items():
        outer = rule.get("inside")
        for name, key in ((tissue, tissue), (outer, f"{tissue}.inside")):
            if name is not None and name not in tissues:
                problems.add(f"config, postprocess.{key}: {name!r} isn't under tissues; {did_you_mean(name, tissues)}")
        chain = [tissue]
        while (outer := rules.get(chain[-1], {}).get("inside")) is not None and outer not in chain:
            chain.append(outer)
        if outer is not None:
            circle = chain[chain.index(outer) :]
            circle = circle[circle.index(min(circle)) :] + circle[: circle.index(min(circle))]  # one sentence a circle
            problems.add(
                f"config, postprocess.{circle[0]}.inside: {' lies inside '.join([*circle, circle[0]])}, "
                "which can't be; take one inside out."
            )
        order += [name for name in reversed(chain) if name in rules and name not in order]
    problems.raise_if_any()
    return order
