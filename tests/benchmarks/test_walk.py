"""An architecture step can be followed in a handful of files."""

from __future__ import annotations

from itertools import groupby

from benchmarks.walk import walk


def test_a_step_of_the_search_is_in_three_files():
    """Batches, gates, forward, scores and update; the rest is model and estimator."""
    files = [file for file, _ in groupby(file for file, _ in walk())]
    search = {f for f in files if f.startswith("search/")}
    assert search == {"search/epoch.py", "search/skips.py", "search/step_log.py"}
    assert {"supernet/steps.py", "supernet/scores.py"} < set(files)
