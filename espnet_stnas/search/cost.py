"""The cost of a search: checks of its options, and values to report."""

from __future__ import annotations

import logging
from typing import Any, Optional

from espnet_stnas.cost.goal import CostOptions, CostTerm, build_term
from espnet_stnas.cost.lookahead import LookAheadTable
from espnet_stnas.cost.table import with_unit
from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import Estimator
from espnet_stnas.results.provenance import COST_UNITS, FoundCost
from espnet_stnas.supernet.steps import LogitLearner
from espnet_stnas.supernet.supernet import Supernet


def check_cost_options(conf: Any, estimator: Estimator) -> None:
    """Check ``cost_conf`` before anything is built.

    Args:
        conf: The option; empty if the search ignores costs.
        estimator: Name of the search's estimator.

    Raises:
        ConfigError: If the option cannot be honoured.
    """
    if not conf:
        return
    options = CostOptions.from_conf(conf)
    if options.weight > 0 and not estimator.learns:
        raise ConfigError(
            f"cost_conf: weight is {options.weight}, but the estimator of this search "
            "does not train the logits; with it, only 0 is accepted"
        )


def check_cost(supernet: Supernet, conf: Any) -> None:
    """Count or read all costs before the training starts.

    Args:
        supernet: The supernet.
        conf: The option ``cost_conf``; empty if the search ignores costs.

    Raises:
        ConfigError: If a cost is not available, or no architecture meets the target.
    """
    term = cost_term(supernet, conf)
    if term is None:
        return
    table = term.table
    logging.info(
        f"Cost of the architectures of this space: {COST_UNITS[table.kind]} from "
        f"{table.minimum:,.0f} to {table.maximum:,.0f}; target: "
        + ("none" if term.target is None else f"{term.target:,.0f}")
    )
    if term.target is not None and term.target >= table.maximum:
        logging.warning(
            f"cost_conf: target: all architectures of this space have at most "
            f"{with_unit(table.kind, table.maximum)}, so the cost steers nothing"
        )


def cost_term(supernet: Supernet, conf: Any) -> Optional[CostTerm]:
    """Build the cost term of a search; None if the search ignores costs.

    Args:
        supernet: The supernet.
        conf: The option ``cost_conf``.
    """
    if not conf:
        return None
    options = CostOptions.from_conf(conf)
    return build_term(supernet.space, input_size(supernet), options)


def input_size(supernet: Supernet) -> int:
    """Return the dimensions of an input frame of a supernet, from its first layer."""
    return supernet.layers[0].operations[0].input_width  # type: ignore[union-attr, index]


def add_cost(learner: LogitLearner, term: CostTerm) -> dict[str, float]:
    """Add the gradients of the cost to the accumulated gradients of the logits.

    This comes before clipping, which keeps the direction of the sum. Added later, the
    cost would gain weight whenever the rest is clipped.

    Args:
        learner: Accumulates the gradients.
        term: The cost term.

    Returns:
        The loss as ``arch_cost_loss``.
    """
    loss, gradients = term.gradients(learner.logits)
    # The cost moves all candidates of a choice, even without a gate.
    learner.accumulate(
        gradients, [frozenset(range(len(g) * bool(g.any()))) for g in gradients]
    )
    return {"arch_cost_loss": loss}


def cost_report(supernet: Supernet, term: Optional[CostTerm]) -> dict[str, float]:
    """Return the expected cost and the cost of the most probable architecture.

    Args:
        supernet: The supernet.
        term: The cost term, or None.

    Returns:
        Values in units of the kind, by the names of their curves.
    """
    if term is None:
        return {}
    pi = supernet.probabilities()
    return {
        "cost": float(term.table.expected_cost(pi)),
        "cost_argmax": term.table.of([int(p.argmax()) for p in pi]),
    }


def found_cost(supernet: Supernet, term: Optional[CostTerm]) -> Optional[FoundCost]:
    """Return the cost for an architecture file.

    Args:
        supernet: The supernet.
        term: The cost term, or None.
    """
    if term is None:
        return None
    report = cost_report(supernet, term)
    return FoundCost(
        kind=term.table.kind,
        value=report["cost_argmax"],
        expected=round(report["cost"], 3),
        weight=term.weight,
        target=term.target,
        frames=term.frames,
        frame_shift=(
            term.table.frame_shift if isinstance(term.table, LookAheadTable) else None
        ),
    )
