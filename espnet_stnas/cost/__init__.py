"""What architectures cost: parameters, multiply-accumulates, latency."""
