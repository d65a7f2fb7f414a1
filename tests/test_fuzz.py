"""A few hundred of the mutants that ``benchmarks.fuzz_reading`` reads by the ten thousand."""

import pytest

from benchmarks.fuzz_reading import Tally, campaign, encodings, mutant


@pytest.fixture(scope="module")
def tally() -> Tally:
    return campaign(mutants=400, seed=20)


def test_damaged_files_break_no_bound(tally: Tally) -> None:
    assert len(tally.outcomes) == 400
    assert tally.broken == []


def test_damage_is_neither_harmless_nor_always_fatal(tally: Tally) -> None:
    opened = sum(outcome.end == "opened" for outcome in tally.outcomes)
    assert 40 < opened < 300


def test_table_counts_every_mutant(tally: Tally) -> None:
    *lines, total = tally.table().splitlines()[2:]
    assert len(lines) == len(encodings())
    assert sum(int(line.split("|")[2]) for line in lines) == int(total.split("|")[2]) == 400


def test_mutants_are_the_same_in_every_run() -> None:
    for encoding in encodings():
        assert mutant(encoding, 3, 4) == mutant(encoding, 3, 4)
        assert len({mutant(encoding, 3, number) for number in range(8)}) > 4
