"""Straight-through neural architecture search for ESPnet speech encoders.

Importing this package makes ``encoder: stnas`` known to ESPnet. It imports neither
torch nor ESPnet.
"""

from espnet_stnas.host.registry import register
from espnet_stnas.version import __version__

__all__ = ["__version__", "register"]

register()
