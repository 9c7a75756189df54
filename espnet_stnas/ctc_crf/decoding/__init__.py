"""Decoding of CTC outputs with a lexicon and a word n-gram LM, by flashlight-text."""
