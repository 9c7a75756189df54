"""The exact gradient of a table of losses; facts about tiny supernets."""

from __future__ import annotations

import pytest
import torch

from espnet_stnas.notation.space import SearchSpace
from espnet_stnas.supernet.supernet import build_supernet
from tests.benchmarks.test_lab import lab, options  # noqa: F401
from tests.selection.conftest import corpus, plain_search  # noqa: F401


class Table:
    """A supernet whose losses are a sum over choices, with noise of batches."""

    count = 3

    def __init__(self, bend: float) -> None:
        space = SearchSpace.from_conf(
            {"width": 4, "layers": [["tdnn-C1", "tdnn-C2", "tdnn-C3"]] * 2}
        )
        self.supernet = build_supernet(space, 4)
        for alpha, values in zip(
            self.supernet.logits, ([0.0, 1.0, -1.0], [0.5, 0.0, 0.0]), strict=True
        ):
            alpha.data.copy_(torch.tensor(values))
        self.bend = bend

    def all(self) -> torch.Tensor:
        """Losses (3, 3) of all paths."""
        effects = torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.0, 2.0, 1.0])
        both = torch.tensor([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        return effects[0][:, None] + effects[1][None] + self.bend * both

    def losses(self, paths):
        row = torch.stack([self.all()[path] for path in paths])
        return row[:, None] + torch.tensor([0.0, 5.0, -2.0])


@pytest.mark.parametrize("bend", [0.0, 0.7])
def test_the_gradient_of_all_paths_is_found(lab, bend):  # noqa: F811
    table = Table(bend)
    paths = lab.gradients.Paths(table, 2000, 0)
    exact = lab.gradients.Exact(paths)
    alphas = [alpha.detach().requires_grad_() for alpha in table.supernet.logits]
    one, other = (alpha.softmax(0) for alpha in alphas)
    mean = one @ table.all() @ other
    wanted = torch.cat(torch.autograd.grad(mean, alphas)).double()
    error = exact.noise**0.5
    assert float((exact.gradient - wanted).norm()) < 4 * error + 1e-6
    mean, one, other = mean.detach(), one.detach(), other.detach()
    variance = one @ (table.all() - mean).square() @ other
    additive = (one @ (table.all() @ other - mean).square()) + (
        other @ (one @ table.all() - mean).square()
    )
    share = exact.additive
    assert abs(share.value - float(additive / variance)) < 4 * share.error + 1e-6
    # The mean of this estimator is the gradient, and one step of it is not.
    steps = lab.gradients.reinforced(lab.gradients.Paths(table, 2000, 1), 4, 50, 0)
    found = exact.cosine(steps.mean(1))
    assert abs(found.value - 1) < 4 * found.error
    assert exact.cosine_of_steps(steps.flatten(0, 1)).value < 0.9


def test_facts_about_estimators(lab, options, tmp_path, capsys):  # noqa: F811
    words = [*options, "--steps", "4", "--sharing", "none", "--paths", "160"]
    words += ["--most", "100", "--batches", "1"]
    lab.estimator_facts.main(words)
    printed = capsys.readouterr().out
    assert "even logits: 160 paths, 1 batches. An additive model explains" in printed
    learning = ("st", "reinmax", "gumbel_st", "proxyless", "snas", "darts")
    for name in (*learning, *(f"REINFORCE, {n} paths" for n in (2, 4, 8))):
        assert printed.count(f"| {name} |") == 2  # even and learnt logits
    assert "| uniform |" not in printed
    with pytest.raises(SystemExit, match="--paths is 150; accepted is a multi"):
        lab.estimator_facts.main([*options, "--paths", "150"])
    with pytest.raises(SystemExit, match="DATA and --cache are missing"):
        lab.estimator_facts.main([])


def test_facts_about_the_supernet_of_a_search(lab, plain_search, capsys):  # noqa: F811
    words = ["--search", str(plain_search), "--paths", "160", "--most", "100"]
    words += ["--logits", "learnt", "--batches", "1", "--estimators", "st"]
    lab.estimator_facts.main(words)
    printed = capsys.readouterr().out
    assert "learnt logits: 160 paths, 1 batches" in printed
    assert printed.count("| st | ") == 1
