"""The ESPnet task and trainer that train a supernet."""
