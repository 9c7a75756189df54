"""Refuses networks whose output cannot depend on their input. No torch."""

from __future__ import annotations

from dataclasses import replace

from espnet_stnas.errors import ConfigError
from espnet_stnas.notation.space import SearchSpace


def refuse_zero(space: SearchSpace, input_size: int) -> None:
    """Refuse a network whose output cannot depend on its input.

    A supernet may have a ``zero`` among the candidates of a layer without a skip;
    see :func:`refuse_zero_candidates`.

    Args:
        space: A search space or an architecture.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If a fixed ``zero`` has no skip around it.
    """
    index = space.sizes(input_size).zero
    if index is not None:
        raise ConfigError(
            f"encoder_conf: {space.layer_name(index)} is "
            f"'{space.layers[index].candidates[0]}' without a skip around it, so "
            "the output of the encoder does not depend on its input; accepted is "
            "another operation there, 'residual: true', or a residual block"
        )


def refuse_zero_candidates(space: SearchSpace, input_size: int) -> None:
    """Refuse a search that could find a network without a use for its input.

    Args:
        space: A search space.
        input_size: Dimensions of an input frame.

    Raises:
        ConfigError: If a candidate ``zero`` has no skip around it.
    """
    for number, choice in enumerate(space.choices):
        for op in choice.candidates:
            # All other choices keep all of their candidates.
            fixed = replace(choice, candidates=(op,))
            layers = tuple(
                fixed if own == number else layer
                for layer, own in zip(space.layers, space.choice_numbers, strict=True)
            )
            if replace(space, layers=layers).sizes(input_size).zero is not None:
                raise ConfigError(
                    f"encoder_conf: {space.layer_name(space.first_layers[number])} "
                    f"has the candidate '{op}' without a skip "
                    "around it, so a search could find an encoder whose output "
                    "does not depend on its input; accepted is another candidate, "
                    "'residual: true', or a residual block"
                )
