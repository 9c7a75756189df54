r"""The CTC-CRF loss (Xiang and Ou, ICASSP 2019, arXiv:1904.03296, eq. 2 to 5).

Of labels l and frames with log-probabilities log p_t(k), blank included::

    loss = -(log sum_{paths of l} prod_t p_t + log p_LM(l) - log Z) + lambda CTC(l)
    Z = sum_{all l'} p_LM(l') sum_{paths of l'} prod_t p_t
    CTC(l) = -log sum_{paths of l} prod_t p_t

p_LM includes the end of the sentence, in l and in Z alike.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from espnet_stnas.ctc_crf.denominator import Denominator
from espnet_stnas.ctc_crf.graph import DenominatorGraph


class LossTerms(NamedTuple):
    """The loss of each utterance and its parts; all (B,), natural logarithms.

    Args:
        loss: CTC-CRF loss plus lambda times the CTC loss; 0 where not ``valid``.
        ctc: CTC loss; 0 where not ``valid``.
        lm: log p_LM(l).
        denominator: log Z.
        valid: False where the loss would be infinite, since the utterance has more
            labels than its frames hold, or labels of probability 0. A loss that is not
            a number (NaN) stays visible.
    """

    loss: torch.Tensor
    ctc: torch.Tensor
    lm: torch.Tensor
    denominator: torch.Tensor
    valid: torch.Tensor

    @property
    def numerator(self) -> torch.Tensor:
        """Log sum over the paths of l, times p_LM(l): at most log Z."""
        return self.lm - self.ctc


class CTCCRFLoss:
    """The CTC-CRF loss for a label LM, on the device of its inputs.

    Args:
        graph: The label LM, composed with the CTC topology.
        ctc_weight: lambda.

    >>> from espnet_stnas.ctc_crf.estimate import EstimationOptions, estimate
    >>> from espnet_stnas.ctc_crf.graph import build_graph
    >>> from espnet_stnas.ctc_crf.lm import LabelLM
    >>> tokens = ["<blank>", "a", "b", "<sos/eos>"]
    >>> ngrams = estimate(["ab", "aab"], ["a", "b"], EstimationOptions(order=2))
    >>> lm = LabelLM(ngrams, tokens)
    >>> loss = CTCCRFLoss(build_graph(lm, tokens), ctc_weight=0.1)
    >>> log_probs = torch.zeros(5, 1, 4).log_softmax(2)  # (T, B, V)
    >>> terms = loss(
    ...     log_probs,
    ...     frames=torch.tensor([5]),
    ...     targets=torch.tensor([1, 2]),
    ...     labels=torch.tensor([2]),
    ...     lm_log_probs=torch.tensor([lm.score("ab")]),
    ... )
    >>> bool(terms.numerator < terms.denominator), bool(terms.loss > 0)
    (True, True)
    """

    def __init__(self, graph: DenominatorGraph, ctc_weight: float = 0.01) -> None:
        self.graph = graph
        self.ctc_weight = ctc_weight
        # Not buffers of a module: those follow the type of the model's parameters,
        # and are saved with them.
        self._denominators: dict[torch.device, Denominator] = {}

    def _denominator(self, device: torch.device) -> Denominator:
        if device not in self._denominators:
            self._denominators[device] = Denominator(self.graph, device)
        return self._denominators[device]

    def __call__(
        self,
        log_probs: torch.Tensor,
        frames: torch.Tensor,
        targets: torch.Tensor,
        labels: torch.Tensor,
        lm_log_probs: torch.Tensor,
    ) -> LossTerms:
        """Compute the loss of a batch.

        Args:
            log_probs: Log-probabilities of symbols, the blank first (T, B, V). All is
                computed in float64: the sums of CTC grow with the frames, and what
                float32 rounds off them would be a relative error of the gradient.
            frames: Valid frames (B,).
            targets: Labels of all utterances, one after the other (sum of labels,).
            labels: Number of labels (B,).
            lm_log_probs: log p_LM of each utterance's labels (B,).
        """
        with torch.autocast(log_probs.device.type, enabled=False):
            log_probs = log_probs.double()
            ctc = torch.nn.functional.ctc_loss(
                log_probs, targets, frames, labels, reduction="none", zero_infinity=True
            )
            device = log_probs.device
            frames, lm = frames.to(device), lm_log_probs.to(device).double()
            log_z = self._denominator(device)(log_probs.transpose(0, 1), frames)
        fits = required_frames(targets, labels).to(device) <= frames
        valid = fits & ~lm.isneginf() & ~log_z.isneginf()
        # torch put 0 for infinite losses. No other loss is 0, unless it is certain.
        valid &= (ctc != 0) | ~log_probs.isneginf().any(2).any(0)
        loss = (1.0 + self.ctc_weight) * ctc - lm + log_z
        zero = loss.new_zeros(())
        return LossTerms(
            torch.where(valid, loss, zero),
            torch.where(valid, ctc, ctc.new_zeros(())),
            lm,
            log_z.detach(),
            valid,
        )


def required_frames(targets: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Count the frames that CTC needs: labels, and blanks between equal ones (B,).

    Args:
        targets: Labels of all utterances, one after the other (sum of labels,).
        labels: Number of labels (B,).
    """
    repeats = [(u[1:] == u[:-1]).sum() for u in targets.split(labels.tolist())]
    return torch.stack(repeats) + labels.to(targets.device)
