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

This is exact, term by term. Of the pair in the last line, the first transition leads
to a state d(s, w), and the rounding error of the second one to a state d(b(s), w) with
a shorter history. It must not outweigh the first one, whatever labels follow. Let r(t)
be the largest ratio of the probabilities of any labels after the parent b(t) and after
t itself. A state does not share if, for some w, g(s) p(w|b(s)) times the product of r
over the states from d(s, w) to d(b(s), w) exceeds R p(w|s). So Z has rounding errors
of R times the eps of float64 per frame. :func:`build_graph` lets a state share where
that is cheaper.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from espnet_stnas.ctc_crf.arpa import END, Ngram
from espnet_stnas.ctc_crf.lm import START, LabelLM

# R above.
_LARGEST_RATIO = 1e5
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


class LogGraph(NamedTuple):
    """The same, without shared transitions and with logarithms of probabilities.

    Args:
        last_label: As in :class:`DenominatorGraph` (S,).
        log_final: log p(end | state) (S,).
        targets: State to which each transition leads (N,).
        sources: Where it starts: the number of a state for its A, that number plus S
            for its K (N,).
        log_probs: Logarithm of its probability (N,).
    """

    last_label: npt.NDArray[np.int64]
    log_final: npt.NDArray[np.float64]
    targets: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]
    log_probs: npt.NDArray[np.float64]


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
        log_graph: Makes the same with logarithms, which is large.
    """

    vocabulary: int
    last_label: npt.NDArray[np.int64]
    final: npt.NDArray[np.float64]
    flows: SparseArray
    arcs: SparseArray
    log_graph: Callable[[], LogGraph]

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


def _build_log_graph(lm: LabelLM, token_list: Sequence[str]) -> LogGraph:
    return _LogBuilder(lm, token_list, share=False).build_log_graph()


class _Builder:
    def __init__(
        self, lm: LabelLM, token_list: Sequence[str], share: Optional[bool]
    ) -> None:
        self.lm = lm
        self.token_list = token_list
        self.share = share
        self.log_ratios: dict[Ngram, float] = {}
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
        size, flows = len(self.index), len(self.flow_rows)
        return DenominatorGraph(
            vocabulary=self.vocabulary,
            last_label=self._last_labels(),
            final=np.exp(self._log_final()),
            flows=SparseArray.from_entries(self.flow_entries, (flows, 2 * size)),
            arcs=SparseArray.from_entries(self.arc_entries, (size, 2 * size + flows)),
            log_graph=functools.partial(_build_log_graph, self.lm, self.token_list),
        )

    def _last_labels(self) -> npt.NDArray[np.int64]:
        labels = [0 if h == START else self.token[h[-1]] for h in self.index]
        return np.array(labels, dtype=np.int64)

    def _log_final(self) -> npt.NDArray[np.float64]:
        return np.array([self.lm.log_prob(h, END) for h in self.index])

    def _own(self, h: Ngram) -> list[str]:
        """List the labels for which a state has n-grams."""
        return [w for w in self.lm.followers.get(h, ()) if w in self.known]

    def _shares(self, h: Ngram) -> bool:
        """Decide whether a state shares the transitions of the one it backs off to."""
        lm = self.lm
        log_backoff, own = lm.log_backoff(h), self._own(h)
        # Its own n-grams count twice, with the subtracted ones; then its flow.
        pays = 2 * len(own) + lm.order < len(lm.labels)
        pays = pays if self.share is None else self.share
        if log_backoff == -math.inf or not pays:
            return False
        return all(
            log_backoff + self._log_ratio_after(h, w) <= math.log(_LARGEST_RATIO)
            for w in own
        )

    def _log_ratio_after(self, h: Ngram, w: str) -> float:
        """Compare a label and all that may follow after the parent, and after ``h``."""
        lm, parent = self.lm, self.lm.parent(h)
        shorter, longer = lm.log_prob(parent, w), lm.log_prob(h, w)
        if shorter == -math.inf:
            return shorter
        if longer == -math.inf:
            return math.inf
        total = shorter - longer
        state, last = lm.next_state(h, w), lm.next_state(parent, w)
        while state != last and w != END:
            total += self._log_ratio(state)
            state = lm.parent(state)
        return total

    def _log_ratio(self, h: Ngram) -> float:
        """Compute log r(h)."""
        if h not in self.log_ratios:
            own = {*self.lm.followers.get(h, ())} & {*self.known, END}
            found = [self._log_ratio_after(h, w) for w in own]
            if len(own) <= len(self.known):
                # The others lead to the same state.
                found.append(-self.lm.log_backoff(h))
            self.log_ratios[h] = max(found)
        return self.log_ratios[h]

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
        self._put(key, log_prob, sign)

    def _put(self, key: tuple[int, int], log_prob: float, sign: float) -> None:
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


class _LogBuilder(_Builder):
    """Keeps logarithms; without shared transitions, nothing is added to another."""

    def _put(self, key: tuple[int, int], log_prob: float, sign: float) -> None:
        self.arc_entries[key] = log_prob

    def build_log_graph(self) -> LogGraph:
        for h in self.index:
            self._add_arcs(h)
        places = np.array(list(self.arc_entries), dtype=np.int64).reshape(-1, 2)
        log_probs = np.array(list(self.arc_entries.values()), dtype=np.float64)
        targets, sources = places.T
        return LogGraph(
            self._last_labels(), self._log_final(), targets, sources, log_probs
        )
