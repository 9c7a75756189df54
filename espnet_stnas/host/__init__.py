"""All that touches ESPnet and is no search: encoder, registry, checkpoints."""
