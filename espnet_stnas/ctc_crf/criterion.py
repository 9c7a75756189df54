"""The CTC-CRF loss of a training, from the options of its model."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import torch

from espnet_stnas.ctc_crf.arpa import is_inlined, parse_inlined, read_arpa
from espnet_stnas.ctc_crf.graph import build_graph
from espnet_stnas.ctc_crf.lm import LabelLM
from espnet_stnas.ctc_crf.loss import CTCCRFLoss, LossTerms
from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote


class Criterion:
    """CTC-CRF with a label LM that is read when the first loss is computed.

    A model that only infers needs no label LM, so its file may be gone by then.

    Args:
        crf_lm: An ARPA file, or the text that
            :func:`espnet_stnas.ctc_crf.arpa.inline_arpa` makes of one.
        ctc_weight: lambda, the weight of the CTC loss.
        token_list: The token list of ESPnet; the blank stands first.

    Raises:
        ConfigError: If an argument cannot be honoured.
    """

    def __init__(self, crf_lm: Any, ctc_weight: Any, token_list: Sequence[str]) -> None:
        if not isinstance(crf_lm, str) or not crf_lm:
            raise ConfigError(
                f"model_conf: crf_lm is {quote(crf_lm)}; accepted is a label LM: an "
                "ARPA file, as stnas label-lm makes it, or "
                "what its --train_output puts into a YAML"
            )
        number = type(ctc_weight) in (int, float) and math.isfinite(ctc_weight)
        if not number or ctc_weight < 0:
            raise ConfigError(
                f"model_conf: ctc_crf_lambda is {quote(ctc_weight)}; accepted is a "
                "number of 0 or more"
            )
        self.ctc_weight = float(ctc_weight)
        self.token_list = tuple(token_list)
        self._source = crf_lm

    @property
    def name(self) -> str:
        """The name of the label LM's file, for messages."""
        inlined = is_inlined(self._source)
        return "in model_conf" if inlined else str(Path(self._source))

    @functools.cached_property
    def lm(self) -> LabelLM:
        """The label LM.

        Raises:
            ConfigError: If it is missing, damaged, or of another token list.
        """
        read = functools.partial(parse_inlined, name=self.name)
        ngrams = (read if is_inlined(self._source) else read_arpa)(self._source)
        return LabelLM(ngrams, self.token_list, self.name)

    @functools.cached_property
    def loss(self) -> CTCCRFLoss:
        """The loss with this label LM."""
        return CTCCRFLoss(build_graph(self.lm, self.token_list), self.ctc_weight)

    def terms(
        self,
        log_probs: torch.Tensor,
        frames: torch.Tensor,
        targets: torch.Tensor,
        labels: torch.Tensor,
        *,
        utterances: Optional[Sequence[str]] = None,
        training: bool = True,
    ) -> LossTerms:
        """Compute the loss of a batch; see :mod:`espnet_stnas.ctc_crf.loss`.

        Args:
            log_probs: Log-probabilities of symbols (T, B, V).
            frames: Valid frames (B,).
            targets: Labels of all utterances, one after the other (sum of labels,).
            labels: Number of labels (B,).
            utterances: Names of the utterances, for messages.
            training: Refuse a text to which the label LM gives the probability 0.
                Without, such an utterance does not count.

        Raises:
            ConfigError: If a text has the probability 0 in training, or the label LM
                cannot be used.
        """
        texts = self._texts(targets, labels)
        log_probs_of_lm = [self.lm.score(text) for text in texts]
        for number, log_prob in enumerate(log_probs_of_lm):
            if training and log_prob == -math.inf:
                named = utterances is not None and len(utterances) == len(texts)
                # With several GPUs in one process, names are those of other parts.
                which = utterances[number] if named and utterances else "of a batch"
                reason = self.lm.why_impossible(texts[number])
                raise ConfigError(
                    f"utterance {which}: {reason}, which makes its loss infinite; the "
                    f"label LM ({self.name}) must know the texts of the training, from "
                    "which it is to be estimated"
                )
        lm = torch.tensor(log_probs_of_lm, dtype=torch.float64)
        return self.loss(log_probs, frames, targets, labels, lm)

    def _texts(self, targets: torch.Tensor, labels: torch.Tensor) -> list[list[str]]:
        ids, texts, start = targets.tolist(), [], 0
        for size in labels.tolist():
            texts.append([self.token_list[i] for i in ids[start : start + size]])
            start += size
        return texts
