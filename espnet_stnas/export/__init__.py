"""Trained encoders for other runtimes."""
