"""All iterators of ESPnet name the file that cannot be read."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from espnet2.iterators.category_chunk_iter_factory import CategoryChunkIterFactory
from espnet2.iterators.category_iter_factory import CategoryIterFactory
from espnet2.iterators.chunk_iter_factory import ChunkIterFactory
from espnet2.iterators.sequence_iter_factory import SequenceIterFactory
from espnet2.train.collate_fn import common_collate_fn
from espnet2.train.dataset import ESPnetDataset

from espnet_stnas.errors import DataError
from espnet_stnas.host.data import NamedDataset, name_data_errors

CHUNKS = {"batch_size": 1, "chunk_length": 100}


@pytest.fixture
def wavs(tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(400)
    soundfile.write(tmp_path / "a.wav", noise, 8000)
    rows = (f"{name} {tmp_path}/{name}.wav\n" for name in "ab")
    (tmp_path / "wav.scp").write_text("".join(rows))
    return str(tmp_path / "wav.scp")


def build(kind, wavs, **options):
    """A factory with errors that name the file."""
    factory = kind(
        ESPnetDataset([(wavs, "speech", "sound")]),
        batches=[["a"], ["b"]],
        collate_fn=common_collate_fn,
        **options,
    )
    name_data_errors(factory)
    return factory


@pytest.mark.parametrize("workers", [0, 1])
def test_batches(wavs, workers):
    factory = build(SequenceIterFactory, wavs, num_workers=workers)
    batches = iter(factory.build_iter(1, shuffle=False))
    assert next(batches)[0] == ["a"]
    with pytest.raises(
        DataError, match=f"^utterance 'b' of {wavs} cannot be read .Lib"
    ):
        next(batches)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (CategoryIterFactory, {"sampler_args": {}}),
        (ChunkIterFactory, CHUNKS),
        (CategoryChunkIterFactory, CHUNKS),
    ],
)
def test_other_iterators(wavs, kind, options):
    factory = build(kind, wavs, **options)
    inner = {"per_sample_iter_factory", "category_sample_iter_factory"} & {
        *vars(factory)
    }
    whole = getattr(factory, inner.pop()) if inner else factory
    with pytest.raises(
        DataError, match=f"^utterance 'b' of {wavs} cannot be read .Lib"
    ):
        whole.dataset["b"]


def test_the_file_is_named_even_if_each_can_be_read(wavs, tmp_path):
    """Preprocessing may fail at what is in the files."""

    def fails(name: str, data: dict) -> dict:
        raise ValueError("no such token")

    (tmp_path / "text").write_text("a x\n")
    sources = [(wavs, "speech", "sound"), (f"{tmp_path}/text", "text", "text")]
    dataset = NamedDataset(ESPnetDataset(sources, preprocess=fails))
    assert dataset.names() == ("speech", "text") and dataset.has_name("text")
    with pytest.raises(DataError, match=f"of {wavs}, .*text cannot be read .ValueErr"):
        dataset["a"]
