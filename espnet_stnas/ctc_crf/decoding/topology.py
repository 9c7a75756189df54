"""The topology of CTC in the terms of flashlight's lexicon decoder. No torch.

Flashlight's own CTC mode expects that every spelling ends in a word boundary token.
Phones have none. Without one, this mode allows the last unit of a word only one frame,
and accepts a word that ends in the same unit twice without a blank between them. So its
other mode is used, in which only a table of transitions limits which tokens follow each
other. With the tokens and frames below, it computes CTC as it is defined.

Each frame becomes three steps. Each step emits one token:

==========  ====================  ===============================================
token       may be emitted in     meaning
==========  ====================  ===============================================
``begin u`` step 0                the unit u begins in the frame
``unit u``  1: log p_t(u); 2, 0   the frame is of the unit u, or was
``gap``     2, 0; 1: blank        no, or some, blank frames after a unit
``must``    1: blank; 2           a blank frame that must be there, since the next
                                  unit is the same
``end u``   step 2                the word ends after its last unit u
``sil``     2, 0; 1: blank        no, or some, blank frames between words
==========  ====================  ===============================================

Step 1 has the log-probabilities, the others have 0. A unit is entered by way of its
``begin`` and so never without a frame of its own. The spelling of the units a b b is
``begin a, unit a, gap, begin b, unit b, gap, must, begin b, unit b, end b``. The table
of transitions forbids ``begin u`` right after ``end u``: two words that meet in the
same unit need a blank between them, which ``sil`` then emits.

A sequence of CTC has several of these paths, with the same score, so that the best
score (Viterbi) is exact and a sum over paths would not be.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Tokens that belong to no unit.
SIL, GAP, MUST = range(3)
_FIRST = 3
STEPS = 3


class Topology:
    """Tokens, transitions, spellings and emissions for the units of a lexicon.

    Args:
        units: Columns of the units in the emissions; not the blank's.
        blank: Column of the blank.
        endings: Number of tokens ``end u`` for each unit. Flashlight takes only a few
            words of the same spelling; more need different endings.
    """

    def __init__(self, units: Sequence[int], blank: int, endings: int = 1) -> None:
        self.units = np.asarray(units)
        self.blank = blank
        self._place = {unit: place for place, unit in enumerate(units)}
        self._endings = endings
        number = len(units)
        kinds = np.arange(_FIRST, _FIRST + (2 + endings) * number)
        # (kinds, units): tokens `begin`, `unit`, and `end` of all kinds.
        self._tokens = kinds.reshape(-1, number)
        self.number_tokens = _FIRST + kinds.size

    def transitions(self) -> list[float]:
        """Compute the score of each token after each other.

        Returns:
            The score of token ``n`` after token ``p`` of ``N`` stands in place
            ``n N + p``.
        """
        number = self.number_tokens
        # Millions of references to the same zero take less room than as many floats.
        table = [0.0] * number**2
        for ends in self._tokens[2:]:
            for begin, end in zip(self._tokens[0], ends, strict=True):
                table[begin * number + end] = -np.inf
        return table

    def spell(self, units: Sequence[int], ending: int = 0) -> list[int]:
        """List the tokens of a word.

        Args:
            units: Columns of its units.
            ending: Number of the ending to take.
        """
        tokens: list[int] = []
        for number, unit in enumerate(units):
            if number:
                tokens.append(GAP)
                if units[number - 1] == unit:
                    tokens.append(MUST)
            tokens += self._tokens[:2, self._place[unit]].tolist()
        tokens.append(int(self._tokens[2 + ending, self._place[units[-1]]]))
        return tokens

    def expand(self, emissions: np.ndarray, most_units: int) -> np.ndarray:
        """Compute the emissions of the tokens.

        Args:
            emissions: Log-probabilities of CTC (T, V).
            most_units: Number of units to consider in each frame: those with the
                highest log-probabilities.

        Returns:
            Scores (3 T, tokens), float32; -inf where a token may not be emitted.
        """
        frames = len(emissions)
        log_probs = emissions[:, self.units].astype(np.float32)
        blanks = emissions[:, self.blank].astype(np.float32)
        steps = np.full((frames, STEPS, self.number_tokens), -np.inf, dtype=np.float32)
        steps[:, :, [SIL, GAP]] = 0.0
        steps[:, 1, [SIL, GAP]] = blanks[:, None]
        steps[:, 1, MUST] = blanks
        steps[:, 2, MUST] = 0.0
        if most_units < len(self.units):
            dropped = np.argpartition(-log_probs, most_units, axis=1)[:, most_units:]
            np.put_along_axis(log_probs, dropped, -np.inf, axis=1)
        waits = np.where(np.isfinite(log_probs), np.float32(0.0), np.float32(-np.inf))
        begin, unit, *ends = self._tokens
        steps[:, 0, begin] = waits
        steps[:, 0, unit] = waits
        steps[:, 1, unit] = log_probs
        steps[:, 2, unit] = waits
        for end in ends:
            steps[:, 2, end] = waits
        return np.ascontiguousarray(steps.reshape(-1, self.number_tokens))

    def most_tokens(self, most_units: int) -> int:
        """Count the tokens that a step may emit, at most.

        Args:
            most_units: As in :meth:`expand`.
        """
        number = min(most_units, len(self.units))
        return _FIRST + (1 + self._endings) * number

    def units_of(self, tokens: Sequence[int]) -> list[int]:
        """List the columns of the units of a path.

        Args:
            tokens: The token of each step.
        """
        last = _FIRST + len(self.units)
        begins = [t for t in tokens if _FIRST <= t < last]
        return [int(self.units[token - _FIRST]) for token in begins]

    def is_complete(self, token: int) -> bool:
        """Tell whether a path may end with this token: no word has only begun."""
        return token == SIL or token >= _FIRST + 2 * len(self.units)
