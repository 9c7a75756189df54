"""Evaluates and selects architectures of a finished or running search."""
