"""All contact with ESPnet outside of the search: encoder, registry, checkpoints."""
