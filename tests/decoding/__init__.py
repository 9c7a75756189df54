"""Tests of espnet_stnas.decoding."""
