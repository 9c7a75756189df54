"""A fixed encoder: its layers, their wiring, and its weights. No search code."""
