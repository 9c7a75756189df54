"""Costs of architectures: parameters, multiply-accumulates, latency."""
