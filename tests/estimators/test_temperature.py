from __future__ import annotations

import pytest

from espnet_stnas.errors import ConfigError
from espnet_stnas.estimators import build_estimator
from espnet_stnas.estimators.temperature import SHAPES, build_temperature


@pytest.mark.parametrize("shape", SHAPES)
def test_schedules_start_end_and_stay(shape):
    conf = {"start": 4.0, "end": 0.25, "epochs": 5, "shape": shape}
    schedule = build_temperature(conf)
    values = [schedule.at(epoch) for epoch in range(1, 9)]
    assert values[0] == pytest.approx(4.0)
    assert values[4:] == [0.25] * 4
    assert values == sorted(values, reverse=True)
    middle = {"linear": 2.125, "exponential": 1.0, "cosine": 2.125}[shape]
    assert values[2] == pytest.approx(middle)


def test_cosine_is_slow_at_its_ends():
    conf = {"start": 2.0, "end": 1.0, "epochs": 5}
    cosine = build_temperature({**conf, "shape": "cosine"})
    linear = build_temperature({**conf, "shape": "linear"})
    assert cosine.at(2) == pytest.approx(1.8535534)
    assert linear.at(2) == pytest.approx(1.75)


def test_constant():
    assert [build_temperature(3).at(epoch) for epoch in (1, 2, 7)] == [3.0] * 3


@pytest.mark.parametrize("name", ["gumbel_st", "snas"])
def test_estimators_follow_their_schedule(name):
    conf = {"temperature": {"start": 2.0, "end": 0.5, "epochs": 2}}
    estimator = build_estimator(name, conf)
    seen = [estimator.report()["temperature"]]
    for epoch in (1, 2, 3):
        estimator.start_epoch(epoch)
        seen.append(estimator.report()["temperature"])
    assert seen == [2.0, 2.0, 0.5, 0.5]


@pytest.mark.parametrize("name", ["gumbel_st", "snas"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "temperature is 0; accepted is a number above 0"),
        (-1.0, "temperature is -1.0; accepted is a number above 0"),
        (float("nan"), "temperature is nan; accepted is a number above 0"),
        ("warm", "temperature is 'warm'; accepted is a number above 0"),
        (True, "temperature is True; accepted is a number above 0"),
        (
            {"start": 1.0, "end": 0.0, "epochs": 4},
            "temperature: end is 0.0; accepted is a number above 0",
        ),
        (
            {"start": 0, "end": 1.0, "epochs": 4},
            "temperature: start is 0; accepted is a number above 0",
        ),
        ({"start": 1.0}, "temperature lacks end, epochs; a schedule needs start"),
        (
            {"start": 1.0, "end": 0.1, "epochs": 0},
            "epochs is 0; accepted is an integer of 2 or more",
        ),
        (
            {"start": 1.0, "end": 0.1, "epochs": 4, "shape": "step"},
            "shape is 'step'; accepted are: linear, exponential, cosine",
        ),
        (
            {"start": 1.0, "end": 0.1, "epoch": 4},
            "temperature has no key 'epoch'; accepted are: start, end, epochs, shape",
        ),
    ],
)
def test_bad_temperatures(name, value, message):
    with pytest.raises(ConfigError, match=message):
        build_estimator(name, {"temperature": value})
