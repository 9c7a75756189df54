"""Decode features chunk by chunk with a file of `stnas export --streaming`.

python3 examples/stream_onnx.py step.onnx one.npy two.npy

An .npy file has the features (T, D) of an utterance, as the front end of the training
makes them. onnxruntime and numpy are enough. The text is printed as it grows.
"""

import json
import sys
from collections.abc import Iterator

import numpy as np
import onnxruntime


def stream(
    session: onnxruntime.InferenceSession, features: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield log-probabilities (T', V), as they come, for features (T, D)."""
    metadata = session.get_modelmeta().custom_metadata_map
    chunk, states = int(metadata["chunk_frames"]), json.loads(metadata["states"])
    names = [one.name for one in session.get_inputs()[:3]]
    feed = {one["input"]: np.zeros(one["shape"], one["dtype"]) for one in states}
    start, finished = 0, False
    while not finished:
        part = features[start : start + chunk]
        start += len(part)
        padded = np.pad(part, ((0, chunk - len(part)), (0, 0)))[None]
        final = start == len(features)
        given = padded, np.array([len(part)]), np.array([final])
        feed.update(zip(names, given, strict=False))
        log_probs, length, ends, *after = session.run(None, feed)
        feed.update((one["input"], xs) for one, xs in zip(states, after, strict=True))
        finished = bool(ends[0])
        yield log_probs[0, : length[0]]


def main(model: str, *paths: str) -> None:
    """Print the symbols of each file as they come."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    if metadata.get("mode") != "streaming" or "tokens" not in metadata:
        sys.exit(f"error: {model} is not of stnas export --streaming")
    tokens, blank = json.loads(metadata["tokens"]), int(metadata["blank"])
    for path in paths:
        print(f"{path}: ", end="")
        last = blank
        for log_probs in stream(session, np.load(path).astype(np.float32)):
            for best in log_probs.argmax(axis=1):
                if best not in (last, blank):
                    print(tokens[best], end=" ", flush=True)
                last = best
        print()


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: stream_onnx.py STEP.onnx FEATURES.npy ...")
    main(*sys.argv[1:])
