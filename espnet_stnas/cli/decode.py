"""Decode with CTC, a lexicon and a word n-gram LM.

Reads a training of ESPnet's ASR and writes what ESPnet's asr_inference writes.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from tqdm import tqdm

from espnet_stnas.ctc_crf.decoding.beam import (
    BeamOptions,
    BeamSearch,
    Hypothesis,
    require_flashlight,
)
from espnet_stnas.ctc_crf.decoding.data import Source, Utterances, find_utterances
from espnet_stnas.ctc_crf.decoding.output import write_recognition
from espnet_stnas.ctc_crf.decoding.word_lm import words_of_lm
from espnet_stnas.ctc_crf.lexicon import Lexicon, read_lexicon
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import read_kaldi_text
from espnet_stnas.messages import one_line, quote
from espnet_stnas.results.error_rates import error_rates

_DEFAULTS = BeamOptions()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "experiment", metavar="TRAIN_EXP", help="Directory of the training"
    )
    parser.add_argument(
        "--model_file",
        help="Weights, a file in it (default: valid.acc.ave.pth, valid.loss.ave.pth or "
        "the like)",
    )
    parser.add_argument("--output", required=True, help="Directory to write to")
    parser.add_argument("--ngpu", type=int, default=0, choices=(0, 1), help="GPUs")
    group = parser.add_argument_group("What is decoded")
    source = group.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--data_dir", help="Kaldi data directory with wav.scp or feats.scp"
    )
    source.add_argument(
        "--data_path_and_name_and_type",
        type=_source,
        help="As in asr_inference: dump/raw/test/wav.scp,speech,sound",
    )
    group.add_argument(
        "--key_file", help="File whose first column names the utterances to decode"
    )
    group.add_argument(
        "--num_workers", type=int, default=1, help="Processes that read speech"
    )
    group.add_argument(
        "--allow_pipes",
        action="store_true",
        help="Run entries of wav.scp or feats.scp that are commands ('gunzip -c x |')",
    )
    group.add_argument("--ref", help="text file of the test set, to score with")
    group = parser.add_argument_group("Words")
    group.add_argument(
        "--lexicon",
        nargs="+",
        required=True,
        help="Words and their units, as Kaldi's lexicon.txt or as CMUdict",
    )
    group.add_argument(
        "--strip_stress",
        action="store_true",
        help="Take the stress off the lexicon's units: AH0 becomes AH",
    )
    group.add_argument(
        "--word_lm",
        help="ARPA file (plain or with gzip) or KenLM's binary; without, all words are "
        "equally likely",
    )
    group = parser.add_argument_group("Search")
    group.add_argument(
        "--beam_size",
        type=int,
        default=_DEFAULTS.beam_size,
        help="Hypotheses that are kept",
    )
    group.add_argument(
        "--beam_threshold",
        type=float,
        default=_DEFAULTS.beam_threshold,
        help="Drop hypotheses whose score is lower than the best one's by more",
    )
    group.add_argument(
        "--beam_size_token",
        type=int,
        default=_DEFAULTS.beam_size_token,
        help="Units that are considered in each frame",
    )
    group.add_argument(
        "--lm_weight",
        type=float,
        default=_DEFAULTS.lm_weight,
        help="Weight of the word LM's natural logarithm",
    )
    group.add_argument(
        "--word_score",
        type=float,
        default=_DEFAULTS.word_score,
        help="Added to the score for each word",
    )
    group.add_argument(
        "--nbest", type=int, default=_DEFAULTS.nbest, help="Hypotheses to write"
    )


def run(args: argparse.Namespace) -> None:
    """Decode, and compute error rates if there is a reference."""
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    options = BeamOptions(
        beam_size=args.beam_size,
        beam_threshold=args.beam_threshold,
        beam_size_token=args.beam_size_token,
        lm_weight=args.lm_weight,
        word_score=args.word_score,
        nbest=args.nbest,
    )
    if args.num_workers < 0:
        raise ConfigError(
            f"num_workers is {args.num_workers}; accepted is an integer from 0 on"
        )
    require_flashlight()
    single = args.data_path_and_name_and_type
    utterances = find_utterances(
        args.data_dir,
        [] if single is None else [single],
        args.key_file,
        args.allow_pipes,
    )
    if args.ref is not None:
        _check_reference(args.ref, utterances)
    lexicon = read_lexicon(args.lexicon, args.strip_stress)
    if args.word_lm is not None:
        lexicon = words_of_lm(lexicon, args.word_lm)
    _decode(args, utterances, lexicon, options)
    if args.ref is not None:
        result = error_rates(args.ref, Path(args.output) / "1best_recog" / "text")
        print(result)


def _decode(
    args: argparse.Namespace,
    utterances: Utterances,
    lexicon: Lexicon,
    options: BeamOptions,
) -> None:
    # torch and ESPnet take seconds to import, so errors in files are found first.
    from espnet_stnas.ctc_crf.decoding.experiment import Experiment
    from espnet_stnas.host.trained import weights_file

    config = Path(args.experiment) / "config.yaml"
    experiment = Experiment(
        config,
        weights_file(args.experiment, args.model_file),
        "cuda" if args.ngpu else "cpu",
    )
    lexicon.require_units(experiment.tokens, f"the training ({one_line(config)})")
    search = BeamSearch(
        lexicon,
        experiment.tokens,
        blank=experiment.blank,
        lm=args.word_lm,
        options=options,
    )
    found: dict[str, list[Hypothesis]] = {}
    start = time.perf_counter()
    # The log of a job also shows progress, but less often than a terminal.
    with tqdm(
        experiment.outputs(utterances, args.num_workers),
        desc="decoding",
        total=len(utterances.ids),
        unit="utt",
        mininterval=0.1 if sys.stderr.isatty() else 10,
    ) as outputs:
        for name, emissions in outputs:
            found[name] = search(emissions)
            if not found[name][0].complete:
                logging.warning(
                    f"utterance {name}: no word ends where the speech does, and the "
                    "last one is missing; try a larger beam_size"
                )
    write_recognition(args.output, found, experiment.tokens)
    seconds = time.perf_counter() - start
    logging.info(f"decoded {len(found)} utterances in {seconds:.1f} s")


def _source(text: str) -> Source:
    fields = tuple(field.strip() for field in text.split(","))
    if len(fields) != 3:
        raise argparse.ArgumentTypeError("accepted is FILE,speech,TYPE")
    return fields


def _check_reference(path: str, utterances: Utterances) -> None:
    if find_spec("jiwer") is None:
        raise ConfigError(
            "--ref needs the package jiwer, which is not installed; pip install "
            "'espnet-stnas[decode]' has it"
        )
    reference = read_kaldi_text(path, "text file")
    missing = [name for name in utterances.ids if name not in reference]
    more = len(reference) - len(utterances.ids)
    if missing or more:
        what = f"lacks {quote(missing[0])}" if missing else f"has {more} more"
        raise ConfigError(
            f"ref {path} has other utterances than those to decode (it {what}); decode "
            "all of them, or score the parts together with stnas score"
        )
