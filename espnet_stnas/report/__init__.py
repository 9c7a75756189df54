"""Figures and tables from search experiments, without torch or ESPnet."""
