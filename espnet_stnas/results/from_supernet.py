"""Derives an architecture and its network from a supernet in memory."""

from __future__ import annotations

import torch

from espnet_stnas.network.network import Network, NetworkLayer, build_network
from espnet_stnas.results.architecture import Architecture
from espnet_stnas.results.provenance import search_provenance
from espnet_stnas.supernet.supernet import find_supernet


def derive(
    model: torch.nn.Module, *, epoch: int, seed: int
) -> tuple[Architecture, Network]:
    """Return the most probable architecture of a supernet, and its network.

    Args:
        model: A supernet, or a module that contains one.
        epoch: Finished epochs of the search, for the architecture file.
        seed: Seed of the search, for the architecture file.

    Returns:
        The architecture, and a new network on the same device with the weights that its
        operations have in the supernet.
    """
    supernet = find_supernet(model)
    space = supernet.architecture()
    first = supernet.layers[0]
    assert isinstance(first, NetworkLayer)
    input_size = first.operations[0].input_width
    provenance = search_provenance(
        supernet.space,
        [pi.tolist() for pi in supernet.probabilities()],
        epoch=epoch,
        seed=seed,
        searching=True,
        input_size=input_size,
    )
    network = build_network(space, input_size)
    for new, layer in zip(network.layers, supernet.layers, strict=True):
        assert isinstance(new, NetworkLayer) and isinstance(layer, NetworkLayer)
        k = layer.layer.candidates.index(new.layer.candidates[0])
        new.operations[0].load_state_dict(layer.state_of(k))
    network.to(supernet.logits[0].device)
    return Architecture(space, provenance), network
