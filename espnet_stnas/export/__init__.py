"""Exports trained encoders for other runtimes."""
