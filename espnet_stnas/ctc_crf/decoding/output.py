"""Decodings in the files that ESPnet's scoring reads. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_stnas.ctc_crf.decoding.beam import Hypothesis
from espnet_stnas.files import PathLike, write_text


def write_recognition(
    output_dir: PathLike,
    found: Mapping[str, Sequence[Hypothesis]],
    tokens: Sequence[str],
) -> None:
    """Write the files of ESPnet's asr_inference.

    The files are text, token, token_int and score in ``1best_recog``, ``2best_recog``
    and so on. Utterances with fewer hypotheses are missing in the later ones.

    Args:
        output_dir: Folder to write to.
        found: Hypotheses of each utterance, the best first.
        tokens: Names of the columns of the emissions.

    Raises:
        WriteError: If a file cannot be written.
    """
    for number in range(max(map(len, found.values()))):
        hypotheses = {
            name: several[number]
            for name, several in found.items()
            if number < len(several)
        }
        columns: dict[str, dict[str, Sequence[str]]] = {
            "text": {name: h.words for name, h in hypotheses.items()},
            "token": {
                name: [tokens[unit] for unit in h.units]
                for name, h in hypotheses.items()
            },
            "token_int": {
                name: [str(unit) for unit in h.units] for name, h in hypotheses.items()
            },
            "score": {name: [f"{h.score:.6g}"] for name, h in hypotheses.items()},
        }
        directory = Path(output_dir) / f"{number + 1}best_recog"
        for file, rows in columns.items():
            lines = (" ".join([name, *fields]) for name, fields in rows.items())
            write_text(directory / file, "\n".join(lines) + "\n")
