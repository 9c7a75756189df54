"""The notation: from text to a search space or an architecture, without torch."""
