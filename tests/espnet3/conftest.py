"""Trainings with ESPnet's next generation, where it is installed."""

from __future__ import annotations

import pytest

from tests.espnet3.recipe import SPACE, Recipe
from tests.search.conftest import corpus  # noqa: F401


@pytest.fixture(scope="session")
def recipe(corpus, tmp_path_factory) -> Recipe:  # noqa: F811
    """A recipe with statistics."""
    recipe = Recipe(tmp_path_factory.mktemp("espnet3") / "recipe", corpus)
    recipe.run("stats", recipe.config(SPACE), "collect_stats")
    return recipe


@pytest.fixture(scope="session")
def searched(recipe):
    """The directory of a search of three epochs, the first of them warm-up."""
    return recipe.run("searched", recipe.search())
