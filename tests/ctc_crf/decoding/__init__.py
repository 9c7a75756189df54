"""Tests of espnet_stnas.ctc_crf.decoding."""
