"""A fixed encoder: layers, how they are wired, and its weights. No search code."""
