"""CTC against CTC-CRF: error rates of the same derived encoder, trained with both.

    egs2/digits/asr_stnas1/run.sh --decoder lexicon --exp EXP ...
    egs2/digits/asr_stnas1/run.sh --decoder lexicon --exp EXP --criterion ctc_crf \
        --stage 5 --stop_stage 7 ...
    python benchmarks/criteria.py EXP ...

EXP are experiments of the digits recipe, say, of several seeds. Words are decoded with
the recipe's lexicon, all equally likely, once without a word score and once with the
one that is best on the development set. Outputs of CTC-CRF leave to decoding what the
label LM knew in training, and with it the price of a word: a word score stands for it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

import jiwer
import numpy as np
import yaml
from measure import markdown_table

from espnet_stnas.ctc_crf.decoding.beam import BeamOptions, BeamSearch
from espnet_stnas.ctc_crf.decoding.data import find_utterances
from espnet_stnas.ctc_crf.decoding.experiment import Experiment
from espnet_stnas.ctc_crf.lexicon import Lexicon, read_lexicon
from espnet_stnas.files import read_kaldi_text

CRITERIA = {"CTC": "derived", "CTC-CRF": "derived_ctc_crf"}


class Decoder:
    """Decodes one set with one model, whose outputs are computed once.

    Args:
        experiment: The trained model.
        data_dir: Kaldi data directory with the reference.
        lexicon: Words and their units.
    """

    def __init__(
        self, experiment: Experiment, data_dir: Path, lexicon: Lexicon
    ) -> None:
        self._experiment, self._lexicon = experiment, lexicon
        self._reference = read_kaldi_text(data_dir / "text", "text file")
        utterances = find_utterances(str(data_dir), [], None)
        self._outputs: Mapping[str, np.ndarray] = dict(experiment.outputs(utterances))

    def error_rate(self, word_score: float) -> float:
        """The word error rate, percent."""
        search = BeamSearch(
            self._lexicon,
            self._experiment.tokens,
            blank=self._experiment.blank,
            lm=None,
            options=BeamOptions(word_score=word_score),
        )
        pairs = [
            (self._reference[name], " ".join(search(output)[0].words))
            for name, output in self._outputs.items()
        ]
        return 100 * jiwer.wer(*map(list, zip(*pairs, strict=True)))


def compare(training: Path, word_scores: Sequence[float]) -> tuple[float, float, float]:
    """Error rates of a training on the test set.

    Args:
        training: The directory of a training of the digits recipe.
        word_scores: The word scores to choose from.

    Returns:
        Error rate without a word score, the word score with the fewest errors on the
        development set, and the error rate with that.
    """
    print(training, file=sys.stderr, flush=True)
    config = training / "config.yaml"
    sources = yaml.safe_load(config.read_text())["valid_data_path_and_name_and_type"]
    dev = Path(sources[0][0]).parent
    experiment = Experiment(config, training / "valid.loss.ave.pth")
    lexicon = read_lexicon([training / "decode_lexicon" / "lexicon.txt"])
    decoder = Decoder(experiment, dev, lexicon)
    rates = {word_score: decoder.error_rate(word_score) for word_score in word_scores}
    # Of equal ones, the one that changes least.
    best = min(rates, key=lambda word_score: (rates[word_score], abs(word_score)))
    test = Decoder(experiment, dev.with_name("test"), lexicon)
    return test.error_rate(0.0), best, test.error_rate(best)


def rows(
    results: Mapping[str, Sequence[tuple[float, float, float]]],
) -> list[tuple[str, ...]]:
    """Mean and standard deviation over experiments, for each criterion."""
    table = []
    for criterion, found in results.items():
        plain, scores, tuned = zip(*found, strict=True)
        cells = [
            f"{statistics.mean(rates):.2f} ± "
            f"{statistics.stdev(rates) if len(rates) > 1 else 0.0:.2f} "
            f"({', '.join(f'{rate:.2f}' for rate in rates)})"
            for rates in (plain, tuned)
        ]
        table.append((criterion, *cells, ", ".join(f"{score:g}" for score in scores)))
    return table


def main(cmd: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("experiments", nargs="+", type=Path)
    parser.add_argument(
        "--word_scores", nargs="+", type=float, default=[0, -1, -2, -3, -4, -6, -8]
    )
    args = parser.parse_args(cmd)
    results = {
        criterion: [compare(exp / name, args.word_scores) for exp in args.experiments]
        for criterion, name in CRITERIA.items()
    }
    columns = ("criterion", "WER %", "WER %, word score", "word scores")
    print(markdown_table(columns, rows(results)))


if __name__ == "__main__":
    main()
