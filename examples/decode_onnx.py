"""Decode WAV files with a file of `stnas export`: onnxruntime and numpy are enough.

python3 examples/decode_onnx.py model.onnx one.wav two.wav
"""

import itertools
import json
import sys
import wave

import numpy as np
import onnxruntime


def read_wav(path: str, sample_rate: int) -> np.ndarray:
    """Return samples (S,) of a WAV file of 16 bits and one channel, from -1 to 1."""
    with wave.open(path) as file:
        found = file.getframerate(), file.getsampwidth(), file.getnchannels()
        if found != (sample_rate, 2, 1):
            sys.exit(
                f"error: {path} has {found[0]} Hz, {8 * found[1]} bits and {found[2]} "
                f"channels; the model takes {sample_rate} Hz, 16 bits and one channel"
            )
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return samples.astype(np.float32) / 32768


def text_of(log_probs: np.ndarray, metadata: dict[str, str]) -> str:
    """Return the text of log-probabilities (T, V): the best symbol of each frame."""
    tokens, blank = json.loads(metadata["tokens"]), int(metadata["blank"])
    best = (symbol for symbol, _ in itertools.groupby(log_probs.argmax(axis=1)))
    heard = [tokens[symbol] for symbol in best if symbol != blank]
    if metadata["token_type"] in ("word", "phn"):
        return " ".join(heard)
    # Characters, or pieces of words (bpe), where "▁" begins a word.
    joined = "".join(" " if token == "<space>" else token for token in heard)
    return joined.replace("▁", " ").strip()


def main(model: str, *paths: str) -> None:
    """Print the text of each file."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    if metadata.get("input") != "speech" or "tokens" not in metadata:
        sys.exit(f"error: {model} is not of stnas export with --input speech")
    for path in paths:
        speech = read_wav(path, int(metadata["sample_rate"]))
        feed = {"speech": speech[None], "speech_lengths": np.array([len(speech)])}
        log_probs, _ = session.run(None, feed)
        print(f"{path}: {text_of(log_probs[0], metadata)}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: decode_onnx.py MODEL.onnx FILE.wav ...")
    main(*sys.argv[1:])
