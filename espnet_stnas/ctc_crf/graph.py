r"""The denominator's graph: the label LM composed with the CTC topology. No torch.

Every state of the label LM but the first has a last label. The CTC topology makes two
states of it: in this frame, the label was emitted (L), or a blank after it (K). With
y(k) the probability of symbol k in a frame, A = L + K of the frame before, and l(s) the
last label of state s::

    L'(s') = y(l(s')) (L(s') + sum_{s, w: d(s, w) = s'} p(w|s) X(s, w))
    K'(s) = y(blank) A(s)
    X(s, w) = K(s) if w = l(s) else A(s)    (a blank between equal labels)

where d(s, w) is the next state of the LM. A back-off model has a probability for all V
labels after each state, so S times V transitions. A state with few n-grams of its own
*shares* the transitions of the state that it backs off to: its K and A, times its
back-off weight, flow to that state, which sends them on. This is right for the labels
without an n-gram of their own; for the others, the flow is subtracted again. With
parent b(s) and back-off weight g(s), as linear maps of (A(s), K(s))::

    D(s) = g(s) D(b(s)) + sum_{w of s} (p(w|s) X(s, w) -> d(s, w)
                                        - g(s) p(w|b(s)) X(s, w) -> d(b(s), w))

This is exact, term by term. Rounding errors stay below R times the eps of float64,
since a state does not share if g(s) p(w|b(s)) > R p(w|s) for some w: no subtracted
number is larger than R times what the same label adds. :func:`build_graph` lets a state
share where that is cheaper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np
import numpy.typing as npt

from espnet_stnas.ctc_crf.arpa import END, Ngram
from espnet_stnas.ctc_crf.lm import START, LabelLM

# R above.
_LARGEST_RATIO = 1e3
_ROOT: Ngram = ()


@dataclass(frozen=True)
class SparseArray:
    """A sparse matrix by its entries, in the order of rows, then columns.

    Args:
        rows: Row of each entry (N,).
        columns: Column of each entry (N,).
        values: The entries (N,).
        shape: Rows and columns.
    """

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    shape: tuple[int, int]

    @classmethod
    def from_entries(
        cls, entries: dict[tuple[int, int], float], shape: tuple[int, int]
    ) -> SparseArray:
        """Make a matrix of its entries by row and column."""
        items = sorted((key, value) for key, value in entries.items() if value != 0.0)
        keys = np.array([key for key, _ in items], dtype=np.int64).reshape(-1, 2)
        values = np.array([value for _, value in items], dtype=np.float64)
        return cls(keys[:, 0], keys[:, 1], values, shape)

    @property
    def transposed(self) -> SparseArray:
        """The transpose of the matrix."""
        order = np.lexsort((self.rows, self.columns))
        return SparseArray(
            self.columns[order],
            self.rows[order],
            self.values[order],
            (self.shape[1], self.shape[0]),
        )


@dataclass(frozen=True)
class DenominatorGraph:
    """The label LM and the CTC topology as matrices, for the recursions over frames.

    Args:
        vocabulary: Size V of the token list.
        last_label: Token of the last label of each state (S,); 0, the blank, for the
            first state, in which no label was emitted.
        final: p(end | state) (S,).
        flows: Flow to the states that others share (F, 2S), from (A, K).
        arcs: Transitions (S, 2S + F), from (A, K, flows).
    """

    vocabulary: int
    last_label: npt.NDArray[np.int64]
    final: npt.NDArray[np.float64]
    flows: SparseArray
    arcs: SparseArray

    @property
    def states(self) -> int:
        """Number S of states of the label LM; in the first, no label was emitted."""
        return len(self.last_label)

    @property
    def size(self) -> int:
        """Multiplications per frame."""
        return len(self.flows.values) + len(self.arcs.values)


def build_graph(
    lm: LabelLM, token_list: Sequence[str], share: Optional[bool] = None
) -> DenominatorGraph:
    """Compose a label LM with the CTC topology.

    Args:
        lm: The label LM.
        token_list: The token list of ESPnet; the blank stands first.
        share: For comparisons: True lets all states share transitions that can, False
            none. By default, each state does what is cheaper.
    """
    return _Builder(lm, token_list, share).build()


class _Builder:
    def __init__(
        self, lm: LabelLM, token_list: Sequence[str], share: Optional[bool]
    ) -> None:
        self.lm = lm
        self.share = share
        self.vocabulary = len(token_list)
        self.token = {token: number for number, token in enumerate(token_list)}
        self.known = set(lm.labels)
        histories = {h for h in lm.states if h[-1] in self.known}
        ordered = sorted(histories, key=lambda h: (self.token[h[-1]], len(h), h))
        self.index = {h: number for number, h in enumerate((START, *ordered))}
        self.shares = {h for h in self.index if self._shares(h)}
        self.children: dict[Ngram, list[Ngram]] = {}
        for h in self.index:
            if h in self.shares:
                self.children.setdefault(lm.parent(h), []).append(h)
        self.flow_rows: dict[tuple[Ngram, bool], int] = {}
        self.flow_entries: dict[tuple[int, int], float] = {}
        self.arc_entries: dict[tuple[int, int], float] = {}

    def build(self) -> DenominatorGraph:
        for h in self.index:
            self._add_arcs(h)
        for w in self.lm.labels if _ROOT in self.children else ():
            self._add(_ROOT, w, False, self.lm.log_prob(_ROOT, w), _ROOT)
        size = len(self.index)
        labels = [0 if h == START else self.token[h[-1]] for h in self.index]
        final = [math.exp(self.lm.log_prob(h, END)) for h in self.index]
        flows = len(self.flow_rows)
        return DenominatorGraph(
            vocabulary=self.vocabulary,
            last_label=np.array(labels, dtype=np.int64),
            final=np.array(final),
            flows=SparseArray.from_entries(self.flow_entries, (flows, 2 * size)),
            arcs=SparseArray.from_entries(self.arc_entries, (size, 2 * size + flows)),
        )

    def _own(self, h: Ngram) -> list[str]:
        """List the labels for which a state has n-grams."""
        return [w for w in self.lm.followers.get(h, ()) if w in self.known]

    def _shares(self, h: Ngram) -> bool:
        """Decide whether a state shares the transitions of the one it backs off to."""
        lm = self.lm
        log_backoff, parent, own = lm.log_backoff(h), lm.parent(h), self._own(h)
        # Its own n-grams count twice, with the subtracted ones; then its flow.
        pays = 2 * len(own) + lm.order < len(lm.labels)
        pays = pays if self.share is None else self.share
        if log_backoff == -math.inf or not pays:
            return False
        limit = math.log(_LARGEST_RATIO)
        return all(
            log_backoff + lm.log_prob(parent, w) <= limit + lm.log_prob(h, w)
            for w in own
        )

    def _add_arcs(self, h: Ngram) -> None:
        lm, last, parent = self.lm, h[-1], self.lm.parent(h)
        shares = h in self.shares
        if not shares and lm.log_backoff(h) > -math.inf:
            words = list(lm.labels)
        else:
            words = self._own(h)
            if shares and parent == _ROOT and h != START and last not in words:
                # All last labels meet at the root, where nothing is a repetition.
                words.append(last)
        for w in words:
            log_prob = lm.log_prob(h, w)
            if log_prob > -math.inf:
                self._add(h, w, w == last, log_prob, h)
            if shares:
                taken = lm.log_backoff(h) + lm.log_prob(parent, w)
                repeats = w == last and parent != _ROOT
                self._add(h, w, repeats, taken, parent, sign=-1.0)

    def _add(
        self,
        source: Ngram,
        label: str,
        repeats: bool,
        log_prob: float,
        history: Ngram,
        sign: float = 1.0,
    ) -> None:
        """Add a transition to the state that follows ``history`` and ``label``."""
        target = self.index[self.lm.next_state(history, label)]
        key = target, self._column(source, repeats)
        value = sign * math.exp(log_prob)
        self.arc_entries[key] = self.arc_entries.get(key, 0.0) + value

    def _column(self, h: Ngram, blank: bool) -> int:
        """Find the column of the A (or the K) of a state, with the flow into it."""
        if h not in self.children:
            return self.index[h] + (len(self.index) if blank else 0)
        key = h, blank
        if key not in self.flow_rows:
            self.flow_rows[key] = len(self.flow_rows)
            for source, weight in self._flow(h, 1.0):
                column = self.index[source] + (len(self.index) if blank else 0)
                self.flow_entries[self.flow_rows[key], column] = weight
        return 2 * len(self.index) + self.flow_rows[key]

    def _flow(self, h: Ngram, weight: float) -> list[tuple[Ngram, float]]:
        """List the states that flow into one, itself among them, with their weights."""
        found = [(h, weight)] if h in self.index else []
        for child in self.children.get(h, ()):
            backoff = math.exp(self.lm.log_backoff(child))
            found += self._flow(child, weight * backoff)
        return found
