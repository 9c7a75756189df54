"""Figures and tables of search experiments, without torch or ESPnet."""
