"""N-gram models as ARPA text, the format of SRILM, KenLM and others. No torch."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import itertools
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from espnet_stnas.errors import ConfigError
from espnet_stnas.files import PathLike, write_bytes
from espnet_stnas.messages import quote

BEGIN, END = "<s>", "</s>"
# ARPA files write log10(0) like this.
_ZERO = -99.0
_INLINED = "arpa.gz;base64,"
_GZIP = b"\x1f\x8b"
# The largest models to read. A label LM of words has a million n-grams.
_LONGEST_LINE = 10_000
_MOST_LINES = 5_000_000
_MOST_BYTES = 500_000_000
# Tools round, so that a logarithm may be a little above 0.
_ROUNDING = 1e-3

Ngram = tuple[str, ...]


class Entry(NamedTuple):
    """The numbers of an n-gram (h, w) in an ARPA file, as natural logarithms.

    Args:
        log_prob: log p(w | h).
        log_backoff: Logarithm of the back-off weight of (h, w): where the model lacks
            the n-gram (h, w, v), p(v | h, w) is this weight times p(v | w).
    """

    log_prob: float
    log_backoff: float = 0.0


def format_arpa(ngrams: Mapping[Ngram, Entry]) -> str:
    """Write n-grams as the text of an ARPA file, sorted.

    Args:
        ngrams: The probability and back-off weight of each n-gram.
    """
    order = max(map(len, ngrams))
    sections: list[list[str]] = [[] for _ in range(order)]
    for ngram, entry in sorted(ngrams.items()):
        line = f"{_to_log10(entry.log_prob)}\t{' '.join(ngram)}"
        if entry.log_backoff != 0.0:
            line += f"\t{_to_log10(entry.log_backoff)}"
        sections[len(ngram) - 1].append(line)
    lines = ["\\data\\"]
    lines += [f"ngram {n}={len(s)}" for n, s in enumerate(sections, start=1)]
    for n, section in enumerate(sections, start=1):
        lines += ["", f"\\{n}-grams:", *section]
    return "\n".join([*lines, "", "\\end\\", ""])


def _to_log10(value: float) -> str:
    return f"{value / math.log(10):.9g}" if value > -math.inf else f"{_ZERO:g}"


def parse_arpa(text: str, name: str) -> dict[Ngram, Entry]:
    """Read the text of an ARPA file.

    Args:
        text: The text.
        name: The file, for errors.

    Raises:
        ConfigError: If it is damaged.
    """
    return _parse(io.BytesIO(text.encode()), name)


def _parse(file: BinaryIO, name: str) -> dict[Ngram, Entry]:
    try:
        return _read(numbered_lines(file, f"label LM {name}"), name)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ConfigError(f"label LM {name} is damaged: {error}") from None


def numbered_lines(file: BinaryIO, what: str) -> Iterator[tuple[int, str]]:
    """Read the lines of an n-gram model, plain or with gzip, without their ends.

    A file of kilobytes can unpack to gigabytes, so lines are read one at a time.

    Args:
        file: The file, which can seek.
        what: Its kind and name, for errors.

    Yields:
        Number of the line, from 1, and the line.

    Raises:
        ConfigError: If a line, or the whole, is longer than models are.
    """
    compressed = file.read(2) == _GZIP
    file.seek(0)
    plain: Any = gzip.open(file) if compressed else file
    size = 0
    for number in itertools.count(1):
        data = plain.readline(_LONGEST_LINE + 1)
        if not data:
            return
        size += len(data)
        if len(data) > _LONGEST_LINE or number > _MOST_LINES or size > _MOST_BYTES:
            unpacked = " (unpacked)" if compressed else ""
            raise ConfigError(
                f"{what} is too large{unpacked}, as line {number} shows; accepted are "
                f"at most {_LONGEST_LINE} bytes in a line, {_MOST_LINES} lines and "
                f"{_MOST_BYTES} bytes"
            )
        yield number, data.decode("utf-8").rstrip("\r\n")


def _read(reader: Iterator[tuple[int, str]], name: str) -> dict[Ngram, Entry]:
    counts = _read_counts(reader, name)
    ngrams: dict[Ngram, Entry] = {}
    n, found, ended = 0, 0, False
    for number, line in reader:
        if not line.strip():
            continue
        where = f"label LM {name}, line {number}"
        header = re.fullmatch(r"\\(?:(\d+)-grams:|end\\)\s*", line)
        if header is None:
            if n == 0:
                raise ConfigError(f"{where}: {quote(line)}; accepted is '\\1-grams:'")
            ngram, entry = _parse_line(line, n, where)
            if ngram in ngrams:
                raise ConfigError(f"{where}: {quote(' '.join(ngram))} is there twice")
            ngrams[ngram] = entry
            found += 1
            continue
        if n and found != counts[n - 1]:
            raise ConfigError(
                f"{where}: after {found} {n}-grams, and the head of the file says "
                f"{counts[n - 1]}; the file is damaged"
            )
        if header[1] is None:
            ended = n == len(counts)
            break
        if int(header[1]) != n + 1 or n == len(counts):
            raise ConfigError(f"{where}: {quote(line)} is out of place")
        n, found = n + 1, 0
    if not ended:
        raise ConfigError(
            f"label LM {name} ends before all of its n-grams; the file is damaged"
        )
    return ngrams


def _read_counts(reader: Iterator[tuple[int, str]], name: str) -> list[int]:
    """Read the head of the file: how many n-grams of each order follow."""
    counts: list[int] = []
    begun = False
    for _, line in reader:
        line = line.strip()
        if not begun:
            begun = line == "\\data\\"
            continue
        match = re.fullmatch(r"ngram +(\d) *= *(\d{1,12})", line)
        if match is None:
            if not line and not counts:
                continue
            break
        if int(match[1]) != len(counts) + 1:
            raise ConfigError(f"label LM {name}: {quote(line)} is out of place")
        counts.append(int(match[2]))
        if sum(counts) > _MOST_LINES:
            raise ConfigError(
                f"label LM {name} has {sum(counts)} n-grams and more; accepted are at "
                f"most {_MOST_LINES}"
            )
    if not counts:
        raise ConfigError(
            f"label LM {name} has no head ('\\data\\' and 'ngram 1=...'); accepted is "
            "a file in ARPA format, plain or with gzip"
        )
    return counts


def _parse_line(line: str, n: int, where: str) -> tuple[Ngram, Entry]:
    fields = line.split()
    try:
        if len(fields) not in (n + 1, n + 2):
            raise ValueError
        log_prob = float(fields[0])
        log_backoff = float(fields[n + 1]) if len(fields) == n + 2 else 0.0
        if math.isnan(log_prob) or not log_prob <= _ROUNDING or not log_backoff < 99:
            raise ValueError
    except ValueError:
        raise ConfigError(
            f"{where}: {quote(line)}; accepted are a log10 probability, {n} label(s) "
            "and perhaps a log10 back-off weight"
        ) from None
    prob = _from_log10(min(log_prob, 0.0))
    return tuple(fields[1 : n + 1]), Entry(prob, _from_log10(log_backoff))


def _from_log10(value: float) -> float:
    return value * math.log(10) if value > _ZERO else -math.inf


def write_arpa(path: PathLike, ngrams: Mapping[Ngram, Entry]) -> None:
    """Write an ARPA file, whole or not at all; with gzip if its name ends in .gz.

    Raises:
        WriteError: If it cannot be written.
    """
    data = format_arpa(ngrams).encode()
    write_bytes(path, _gzip(data) if Path(path).suffix == ".gz" else data)


def _gzip(data: bytes) -> bytes:
    # Without the time, so that equal models are equal files.
    return gzip.compress(data, mtime=0)


def read_arpa(path: PathLike) -> dict[Ngram, Entry]:
    """Read an ARPA file, plain or with gzip.

    Raises:
        ConfigError: If it is missing, damaged or too large.
    """
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        raise ConfigError(f"label LM {path} does not exist") from None
    except OSError as error:
        raise ConfigError(f"label LM {path} cannot be read: {error.strerror}") from None
    with file:
        return _parse(file, str(path))


def inline_arpa(ngrams: Mapping[Ngram, Entry]) -> str:
    """Pack an ARPA file into one word, which can stand in a YAML."""
    return _INLINED + base64.b64encode(_gzip(format_arpa(ngrams).encode())).decode()


def is_inlined(value: str) -> bool:
    """Tell whether a text is a packed model, rather than the name of a file."""
    return value.startswith(_INLINED)


def parse_inlined(value: str, name: str) -> dict[Ngram, Entry]:
    """Unpack a model that :func:`inline_arpa` packed.

    Raises:
        ConfigError: If it is damaged.
    """
    try:
        data = base64.b64decode(value.removeprefix(_INLINED), validate=True)
    except binascii.Error as error:
        raise ConfigError(f"label LM {name} is damaged: {error}") from None
    return _parse(io.BytesIO(data), name)
