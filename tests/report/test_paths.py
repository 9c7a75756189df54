"""The figure and the sentences on drawn paths in a report."""

from __future__ import annotations

from espnet_stnas.report.paths import paths_chart
from espnet_stnas.results.health import Health, Sample


def sample(epoch, loss, **values):
    return Sample(epoch, 8, 32, loss, values.pop("spread", 1.0), 0.1, **values)


def test_the_figure_has_the_mean_its_spread_and_the_reference():
    samples = tuple(sample(epoch, 20.0 - epoch) for epoch in (3, 4, 5))
    figure = paths_chart(Health(samples, sample(2, 16.5), 4), 4).figure()
    (axis,) = figure.axes
    mean, alone = axis.lines
    assert mean.get_ydata().tolist() == [17.0, 16.0, 15.0]
    assert set(alone.get_ydata()) == {16.5}
    assert "after 2 epochs alone" in alone.get_label()
    band = axis.patches[-1].get_xy()
    assert (band[:, 1].min(), band[:, 1].max()) == (14.0, 18.0)


def test_no_samples_no_figure():
    assert paths_chart(Health(), 0) is None
