"""The supernet: choice blocks, sampled paths and the scores of candidates."""
