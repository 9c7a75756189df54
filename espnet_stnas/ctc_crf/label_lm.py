"""Label LMs for CTC-CRF from Kaldi text files, with the units of a training."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

from espnet_stnas.ctc_crf.arpa import Entry, Ngram, inline_arpa
from espnet_stnas.ctc_crf.estimate import EstimationOptions, estimate
from espnet_stnas.ctc_crf.lm import NO_LABELS, LabelLM
from espnet_stnas.errors import ConfigError
from espnet_stnas.files import (
    dump_yaml,
    read_kaldi_text,
    read_text,
    read_yaml_mapping,
    write_text,
)
from espnet_stnas.messages import one_line, quote

UNKNOWN = "<unk>"


@dataclass(frozen=True)
class Units:
    """How a training makes labels of a text.

    Args:
        token_list: File of the training, with a label on each line.
        token_type: Kind of the labels: ``char``, ``bpe``, ``word`` or ``phn``.
        bpemodel: Model of SentencePiece, for ``bpe``.
        g2p: Grapheme-to-phoneme method of ESPnet, for ``phn``.
        cleaner: Text cleaner of ESPnet.
        non_linguistic_symbols: File with one symbol per line.
        map_unknown: Take labels that are not in the token list for ``<unk>``, as the
            training does, instead of refusing them.
    """

    token_list: str
    token_type: str = "char"
    bpemodel: Optional[str] = None
    g2p: Optional[str] = None
    cleaner: Optional[str] = None
    non_linguistic_symbols: Optional[str] = None
    map_unknown: bool = False

    def tokens(self) -> list[str]:
        """The token list.

        Raises:
            ConfigError: If it cannot be read, or is empty.
        """
        text = read_text(self.token_list, "token list")
        if not text.strip():
            raise ConfigError(f"token list {self.token_list} is empty")
        # As ESPnet reads it.
        return [line.rstrip() for line in text.rstrip("\n").split("\n")]


def describe(lm: LabelLM, labels: Sequence[str]) -> str:
    """Sizes of a model, and the labels that it lacks.

    Args:
        lm: The model.
        labels: The labels it should have.
    """
    orders = Counter(map(len, lm.ngrams))
    sizes = ", ".join(f"{orders[n]} {n}-grams" for n in sorted(orders))
    text = f"label LM: {sizes}; {len(lm.states)} states"
    missing = [label for label in labels if label not in lm.labels]
    if missing:
        text += (
            f"\nwarning: {len(missing)} labels of the token list have probability 0, "
            f"such as {quote(missing[0])}"
        )
    return text


def estimate_lm(
    texts: Sequence[str], units: Units, options: EstimationOptions
) -> tuple[dict[Ngram, Entry], list[str]]:
    """Estimate n-grams of labels from texts.

    Args:
        texts: Kaldi text files.
        units: How their labels are made.
        options: Order and smoothing.

    Returns:
        The n-grams, and the labels that the model should have.

    Raises:
        ConfigError: If a file is missing, or has a label that is not in the token list.
    """
    labels = labels_of(units)
    found = [sentence for path in texts for sentence in sentences(path, units)]
    if any(UNKNOWN in sentence for sentence in found):
        labels = [*labels, UNKNOWN]
    return estimate(found, labels, options), labels


def labels_of(units: Units) -> list[str]:
    """The labels of a token list, without those that no text has."""
    return [t for t in units.tokens() if t not in (*NO_LABELS, UNKNOWN)]


def perplexity(lm: LabelLM, text: str, units: Units) -> tuple[float, str]:
    """The perplexity of a text by a model: as a number, and in words.

    Args:
        lm: The model.
        text: Kaldi text file.
        units: How its labels are made.

    Raises:
        ConfigError: If the file is missing, or has a label that is not in the token
            list.
    """
    value, number, zero = lm.perplexity(sentences(text, units))
    words = f"perplexity of {one_line(text)}: "
    words += f"{value:.3f} per label" if value < math.inf else "infinite"
    if zero:
        words += f", without {zero} of {number + zero} lines, which have probability 0"
    return value, words


def sentences(path: str, units: Units) -> Iterator[list[str]]:
    """The labels of each line of a Kaldi text file.

    Args:
        path: The file.
        units: How its labels are made.

    Raises:
        ConfigError: If it is missing, or has a label that is not in the token list.
    """
    tokenize = _tokenizer(units)
    known = {*units.tokens()} - {*NO_LABELS}
    for name, text in read_kaldi_text(path, "text").items():
        found = tokenize(text)
        strange = [token for token in found if token not in known]
        if strange and not (units.map_unknown and UNKNOWN in known):
            raise ConfigError(
                f"text {path}: utterance {quote(name)} has the label "
                f"{quote(strange[0])}, which is not in {units.token_list}; give the "
                f"units of the training (--token_type), or --map_unknown if it has "
                f"{UNKNOWN}"
            )
        yield [token if token in known else UNKNOWN for token in found]


def _tokenizer(units: Units) -> Callable[[str], list[str]]:
    # They take seconds to import; --help and --arpa do not need them.
    from espnet2.text.build_tokenizer import build_tokenizer
    from espnet2.text.cleaner import TextCleaner

    if units.token_type == "bpe" and units.bpemodel is None:
        raise ConfigError("token_type is 'bpe'; give its model with --bpemodel")
    clean = TextCleaner(None if units.cleaner is None else [units.cleaner])
    tokenizer = build_tokenizer(
        units.token_type,
        bpemodel=units.bpemodel,
        non_linguistic_symbols=units.non_linguistic_symbols,
        g2p_type=units.g2p,
    )
    return lambda text: list(tokenizer.text2tokens(clean(text)))


def write_training_config(ngrams: dict[Ngram, Entry], template: str, path: str) -> None:
    """Write a training YAML with CTC-CRF and a label LM inside.

    Args:
        ngrams: The model.
        template: ESPnet training YAML; its model is replaced, all else is kept.
        path: File to write, whole or not at all.

    Raises:
        ConfigError: If the template is damaged.
    """
    config = read_yaml_mapping(template, "training config")
    conf = config.get("model_conf") or {}
    if not isinstance(conf, dict):
        raise ConfigError(
            f"training config {template}: model_conf is {quote(conf)}; accepted is a "
            "mapping"
        )
    config["model"] = "ctc_crf"
    config["model_conf"] = {**conf, "crf_lm": inline_arpa(ngrams)}
    header = (
        f"# {one_line(template)} with CTC-CRF and its label LM.\n"
        "# Needs espnet_stnas: python3 -m espnet_stnas.run -m espnet2.bin.asr_train\n"
    )
    write_text(path, header + dump_yaml(config))
