"""The ESPnet tasks that a search can train. No torch."""

from __future__ import annotations

# For each task, its module below espnet2.tasks and its class.
TASKS = {
    "asr": ("asr", "ASRTask"),
    "st": ("st", "STTask"),
    "slu": ("slu", "SLUTask"),
    "s2t": ("s2t", "S2TTask"),
    "s2t_ctc": ("s2t_ctc", "S2TTask"),
    "s2st": ("s2st", "S2STTask"),
    "cls": ("cls", "CLSTask"),
    "diar": ("diar", "DiarizationTask"),
}
