"""What `compare` and the report tell of kernels whose source has changed."""

from pathlib import Path

from synthetic import header, ladder_run, record, turns, write

from gemmbench.analysis.compare import compare
from gemmbench.analysis.environment import environment
from gemmbench.records.frame import load

OLD, NEW = "1" * 16, "2" * 16


def told(folder: Path, a: dict[str, str], b: dict[str, str]) -> list[tuple[str, str, str]]:
    """What differs between two runs with these digests; each lacks a kernel that the other has."""
    lines = [record(name, took=turns(9.0)) for name in ("torch", "numba-naive", "mine")]
    for name, kernels, own in (("a", a, "only-a"), ("b", b, "only-b")):
        more = record(own, took=turns(9.0))
        write(folder / f"{name}.jsonl", [header(kernels={own: name, **kernels}), *lines, more])
    found = compare(folder / "a.jsonl", folder / "b.jsonl")
    return [(one.what, one.a, one.b) for one in found.differs]


def test_one_entry_tells_of_all_that_ship_with_gemmbench(tmp_path: Path) -> None:
    mine = {"mine": "3" * 16}
    a, b = ({"torch": one, "numba-naive": one, **mine} for one in (OLD, NEW))
    assert told(tmp_path, a, b) == [("source of gemmbench's kernels", "11111111", "22222222")]


def test_a_users_file_and_what_a_tuner_chose_are_told_by_name(tmp_path: Path) -> None:
    a = {"torch": OLD, "numba-naive": OLD, "mine": "3" * 16}
    b = {"torch": "4" * 16, "numba-naive": OLD, "numba-tiled": OLD, "mine": "5" * 16}
    assert told(tmp_path, a, b) == [
        ("source of mine", "33333333", "55555555"),
        ("source of torch or its settings", "11111111", "44444444"),
    ]


def test_what_is_the_same_or_not_known_on_one_side_is_not_told(tmp_path: Path) -> None:
    assert told(tmp_path, {"torch": OLD, "mine": "3"}, {"torch": OLD}) == []


def test_a_side_of_several_runs_has_all_their_digests(tmp_path: Path) -> None:
    lines = [record("torch", repeat=r, took=turns(9.0, seed=r)) for r in range(2)]
    paths = [
        write(tmp_path / f"{one}.jsonl", [header(run_id=one, kernels={"torch": one * 16}), *lines])
        for one in "123"
    ]
    (found,) = compare(paths[0], paths[1:]).differs
    assert (found.a, found.b) == ("11111111", "22222222, 33333333")


def test_every_row_has_the_digest_of_its_kernel(tmp_path: Path) -> None:
    """With settings behind its name, as a tuner writes it, it is the same kernel."""
    lines = [record(name, took=turns(9.0)) for name in ("torch", "mine BLOCK=64", "other")]
    path = write(tmp_path / "a.jsonl", [header(kernels={"torch": OLD, "mine": NEW}), *lines])
    assert load(path)["source"].tolist() == [OLD, NEW, ""]
    assert set(load(ladder_run(tmp_path / "old.jsonl"))["source"]) == {""}


def test_the_environment_names_one_digest_for_all_that_ship() -> None:
    shipped = {"torch": OLD, "numba-naive": OLD, "numba-tiled": NEW, "mine": "3" * 16}
    (part,) = (
        one for one in environment([header(kernels=shipped)]) if one.title.startswith("kernels")
    )
    assert {fact.what: fact.values[0] for fact in part.facts} == {
        "gemmbench's kernels": OLD,
        "numba-tiled": NEW,
        "mine": "3" * 16,
    }
