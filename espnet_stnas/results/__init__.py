"""Results of searches: architecture files, curves, certainty, baselines."""
