"""Feeds malformed inputs to a loader, and counts by kind what came of them."""

import resource
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from minidisc_ray.configs.base import UserError

# Of each input; a hang would be minutes. Seconds of this process alone, whatever else the machine does.
MOST_SECONDS = 5.0
MOST_MEBIBYTES = 1024  # that the process may grow by while everything is tried
LONGEST_SENTENCE = 2100

# Kind -> digests of what was tried, and how often it was refused or found to be valid after all.
TRIED: dict[str, set[int]] = defaultdict(set)
REFUSED: Counter[str] = Counter()
VALID: Counter[str] = Counter()
SLOWEST: dict[str, float] = defaultdict(float)
PEAKS: list[float] = []  # the process's own, in MiB, before the first input

TIMES = [1, pytest.param(10, marks=pytest.mark.fuzz)]


def check_refusal(sentence: str) -> None:
    """One sentence on one line: no traceback, nothing that a terminal would obey, short enough to be read."""
    assert sentence.strip()
    assert sentence.isprintable(), ascii(sentence)
    assert "Traceback" not in sentence
    assert len(sentence) <= LONGEST_SENTENCE


def attempt(kind: str, given_input: Any, call: Callable[[], object]) -> bool:
    """Whether an input was valid; fails for any exception but a refusal in one sentence, and for a hang."""
    digest = _digest(given_input)
    is_new = digest not in TRIED[kind]
    TRIED[kind].add(digest)
    if not PEAKS:
        PEAKS.append(peak_mebibytes())
    before = time.process_time()
    try:
        call()
    except UserError as error:
        check_refusal(str(error))
        REFUSED[kind] += is_new
        valid = False
    else:
        VALID[kind] += is_new
        valid = True
    seconds = time.process_time() - before
    SLOWEST[kind] = max(SLOWEST[kind], seconds)
    assert seconds < MOST_SECONDS
    return valid


def _digest(given_input: Any) -> int:
    try:
        return hash(repr(given_input))
    except (RecursionError, ValueError):
        # Python writes out no integer of thousands of digits, and nothing of thousands of levels.
        return hash(str(sum(map(len, TRIED.values()))))


def fuzz(kind: str, inputs: st.SearchStrategy[Any], call: Callable[[Any], object], examples: int) -> None:
    """Try so many inputs, the same ones each time."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def tried(value: Any) -> None:
        attempt(kind, value, lambda: call(value))

    tried()


def peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table() -> list[str]:
    """What was tried, by kind."""
    head = f"{'malformed inputs':34} {'tried':>7} {'refused':>8} {'valid':>7} {'slowest':>9}"
    lines = [
        f"{kind:34} {len(TRIED[kind]):7,} {REFUSED[kind]:8,} {VALID[kind]:7,} {SLOWEST[kind]:7.2f} s"
        for kind in sorted(TRIED)
    ]
    tried = sum(map(len, TRIED.values()))
    return [head, *lines, f"{'all':34} {tried:7,} {REFUSED.total():8,} {VALID.total():7,}"]


ODD_PIECES = [
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\t", b"\r", b"\n", b"\r\n", b"{", b"}", b"[", b"]", b":", b",", b'"',
    b"'", b"- ", b"!", b"&a ", b"*a", b"|", b">", b"#", b"%", b"@", b"`", b"~", b"null", b"-1", b"1e999",
    b".nan", b"9" * 60, "\u2028".encode(), "\ud800".encode(errors="surrogatepass"), "é".encode(),
    "é".encode("latin-1"), b"${HOME}", b"${",
]  # fmt: skip


def mutated(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """A valid file with pieces cut out, put in twice, swapped or overwritten."""
    odd = st.sampled_from(ODD_PIECES)
    change = st.tuples(
        st.sampled_from(["cut", "double", "insert", "over", "end"]), st.floats(0, 1), st.integers(1, 40), odd
    )

    def changed(start: bytes, changes: list[tuple[str, float, int, bytes]]) -> bytes:
        found = start
        for how, share, count, piece in changes:
            place = int(share * len(found))
            head, middle, tail = found[:place], found[place : place + count], found[place + count :]
            found = {
                "cut": head + tail,
                "double": head + middle + middle + tail,
                "insert": head + piece + middle + tail,
                "over": head + piece + tail,
                "end": head,
            }[how]
        return found

    return st.builds(changed, st.sampled_from(seeds), st.lists(change, min_size=1, max_size=4))


def odd_values() -> st.SearchStrategy[Any]:
    """Values of every kind that YAML and JSON know, and of sizes that no one means."""
    plain = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**6), 10**6),
        st.sampled_from([10**30, -(10**30), 2**63, -(2**31)]),
        st.sampled_from([400, 4000, 5000]).map(lambda digits: 10**digits),
        st.floats(),
        st.text(max_size=12),
        st.sampled_from(
            [
                "",
                " ",
                "\0",
                "a\nb",
                "\ud800",
                "\u202e",
                "x" * 5000,
                "../..",
                "/",
                "~nobody",
                "${",
                "${A B}",
                "nan",
                "1e999",
            ]
        ),
        st.binary(max_size=4),
        st.dates(),
    )
    return (
        st.recursive(
            plain,
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3)
            ),
            max_leaves=6,
        )
        | st.sampled_from([30, 800]).map(nested)
        | st.just(300).map(nested_mapping)
    )


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def nested_mapping(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"kind": found}
    return found


def replaced(raw: Any, share: float, value: Any) -> Any:
    """A mapping with one of its values, wherever it is, replaced."""
    places = list(_places(raw, ()))
    place = places[min(int(share * len(places)), len(places) - 1)]
    return _with(raw, place, value)


def _places(raw: Any, path: tuple[Any, ...]) -> Any:
    if path:
        yield path
    items = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, value in items:
        yield from _places(value, (*path, key))


def _with(raw: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    if isinstance(raw, dict):
        return {key: _with(item, path[1:], value) if key == path[0] else item for key, item in raw.items()}
    return [_with(item, path[1:], value) if place == path[0] else item for place, item in enumerate(raw)]
