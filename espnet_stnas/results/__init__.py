"""What a search leaves: architecture files, curves, certainty, baselines."""
