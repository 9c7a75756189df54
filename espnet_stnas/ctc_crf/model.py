"""The ESPnet model `ctc_crf`: ESPnet's ASR model with CTC-CRF in place of CTC."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import torch
from espnet2.asr.ctc import CTC
from espnet2.asr.espnet_model import ESPnetASRModel
from espnet2.torch_utils.device_funcs import force_gatherable

from espnet_stnas.ctc_crf.criterion import Criterion
from espnet_stnas.ctc_crf.loss import LossTerms
from espnet_stnas.errors import ConfigError
from espnet_stnas.messages import quote


class CTCCRF(CTC):
    """ESPnet's CTC module with another loss; all else, and its weights, are the same.

    Args:
        ctc: The module to replace.
        criterion: The loss.
    """

    def __init__(self, ctc: CTC, criterion: Criterion) -> None:
        # CTC's own would draw weights for a layer that is not needed.
        super(CTC, self).__init__()
        self.__dict__.update(vars(ctc))
        self.criterion = criterion
        self.utterances: Optional[Sequence[str]] = None
        # The first loss that is computed after this was set to None.
        self.terms: Optional[LossTerms] = None

    def forward(
        self,
        hs_pad: torch.Tensor,
        hlens: torch.Tensor,
        ys_pad: torch.Tensor,
        ys_lens: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the loss.

        Args:
            hs_pad: Outputs of the encoder (B, T, D).
            hlens: Valid frames (B,).
            ys_pad: Labels (B, L).
            ys_lens: Number of labels (B,).

        Returns:
            The mean over the batch; without ``reduce``, the losses (B,) divided by B.
        """
        with torch.autocast(hs_pad.device.type, enabled=False):
            if hs_pad.dtype in (torch.float16, torch.bfloat16):
                hs_pad = hs_pad.float()
            return super().forward(hs_pad, hlens, ys_pad, ys_lens)

    def loss_fn(
        self,
        th_pred: torch.Tensor,
        th_target: torch.Tensor,
        th_ilen: torch.Tensor,
        th_olen: torch.Tensor,
    ) -> torch.Tensor:
        """Compute the loss from logits, instead of ESPnet's function.

        Args:
            th_pred: Logits (T, B, V).
            th_target: Labels, one utterance after the other (sum of labels,).
            th_ilen: Valid frames (B,).
            th_olen: Number of labels (B,).
        """
        terms = self.criterion.terms(
            th_pred.log_softmax(2),
            th_ilen,
            th_target,
            th_olen,
            utterances=self.utterances,
            training=self.training,
        )
        if self.terms is None:
            self.terms = LossTerms(*(values.detach() for values in terms))
        loss = terms.loss / th_pred.size(1)
        return loss.sum() if self.reduce else loss


class ESPnetCTCCRFModel(ESPnetASRModel):
    """ESPnet's ASR model, trained with CTC-CRF (arXiv:1904.03296) instead of CTC.

    Attention decoders, intermediate CTC and all other parts work as in ``model:
    espnet``. Only training differs: inference uses the log-probabilities of CTC, and
    all weights have the same names.

    Args:
        token_list: All symbols, the blank first.
        ctc: The CTC module of ESPnet, with ``ctc_type: builtin``.
        crf_lm: The label LM: an ARPA file, or a packed one (``inline_arpa``).
        ctc_crf_lambda: Weight of the CTC loss beside the CTC-CRF loss: 0.01 (WSJ) and
            0.1 (Switchboard) in the papers.
        conf: The arguments of ESPnet's model.

    Raises:
        ConfigError: If an option cannot be honoured.
    """

    def __init__(
        self,
        *,
        token_list: list[str] | tuple[str, ...],
        ctc: CTC,
        crf_lm: Any = None,
        ctc_crf_lambda: Any = 0.01,
        **conf: Any,
    ) -> None:
        super().__init__(token_list=token_list, ctc=ctc, **conf)
        if self.ctc_weight == 0.0:
            raise ConfigError(
                "model_conf: ctc_weight is 0, so that model 'ctc_crf' has nothing to "
                "train; accepted is a number above 0, up to 1"
            )
        if self.blank_id != 0:
            raise ConfigError(
                f"the token list has <blank> in place {self.blank_id}; model "
                "'ctc_crf' accepts it only in place 0"
            )
        if ctc.ctc_type != "builtin":
            raise ConfigError(
                f"ctc_conf: ctc_type is {quote(ctc.ctc_type)}; model 'ctc_crf' "
                "accepts only 'builtin'"
            )
        if self.aux_ctc is not None:
            raise ConfigError(
                "model_conf: aux_ctc is given, whose labels the label LM does not "
                "know; model 'ctc_crf' accepts only none"
            )
        self.ctc: Any = CTCCRF(ctc, Criterion(crf_lm, ctc_crf_lambda, token_list))

    def forward(
        self,
        speech: torch.Tensor,
        speech_lengths: torch.Tensor,
        text: torch.Tensor,
        text_lengths: torch.Tensor,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        """Compute the loss of a batch.

        Args:
            speech: Samples or features (B, T, ...).
            speech_lengths: Their lengths (B,).
            text: Labels (B, L).
            text_lengths: Number of labels (B,).
            kwargs: The rest of the batch; ``utt_id`` is for messages.

        Returns:
            Loss, values to report, and number of utterances. The values are ESPnet's,
            where ``loss_ctc`` is the loss of CTC alone, and those of :func:`report`.
        """
        self.ctc.terms, self.ctc.utterances = None, kwargs.get("utt_id")
        loss, stats, weight = super().forward(
            speech, speech_lengths, text, text_lengths, **kwargs
        )
        # ESPnet reports the loss of this module by that name.
        stats["loss_ctc_crf"] = stats.pop("loss_ctc")
        # The first loss is of the encoder's output; others would be of inner layers.
        found = report(self.ctc.terms, self.ctc.criterion.ctc_weight)
        stats.update(force_gatherable(found, loss.device))
        return loss, stats, weight


def report(terms: LossTerms, ctc_weight: float) -> dict[str, torch.Tensor | float]:
    """Average the parts of the loss over a batch: natural logarithms.

    Args:
        terms: The parts of the loss.
        ctc_weight: lambda.

    Returns:
        ``loss_ctc``; ``crf_numerator`` (log of the probability of the labels' paths
        times p_LM), ``crf_denominator`` (log Z) and ``crf_lm`` (log p_LM), over the
        utterances that count; ``crf_skipped``, the share of the utterances that do not
        count, since their loss would be infinite; and ``crf_lambda``.
    """
    valid = terms.valid

    def mean(values: torch.Tensor) -> torch.Tensor:
        counted = torch.where(valid, values.double(), 0.0)
        return counted.sum() / valid.sum().clamp(min=1)

    return {
        "loss_ctc": terms.ctc.mean(),
        "crf_numerator": mean(terms.numerator),
        "crf_denominator": mean(terms.denominator),
        "crf_lm": mean(terms.lm),
        "crf_skipped": 1.0 - valid.double().mean(),
        "crf_lambda": ctc_weight,
    }
