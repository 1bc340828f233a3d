"""The summary's speedup is over the ladder's base, on the largest shape where that ran."""

from pathlib import Path

import synthetic

from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.records.frame import load
from gemmbench.show.results import summary


def run(path: Path, *, base_sizes: tuple[int, ...]) -> Path:
    found = []
    for size in (256, 512, 1024):
        for name, tier, factor in synthetic.LADDER:
            if tier == "naive" and size not in base_sizes:
                continue
            took = synthetic.turns(1e3 * (size / 1024) ** 3 / factor * (1 + 256 / size))
            found.append(
                synthetic.record(
                    name, size=size, precision="fp32", tier=tier, base=tier == "naive", took=took
                )
            )
    return synthetic.write(
        path, [synthetic.header(), synthetic.selftest(), *found, synthetic.footer(found)]
    )


def test_the_base_beside_the_best_is_taken(tmp_path: Path) -> None:
    rows = best(ladder(load(run(tmp_path / "a.jsonl", base_sizes=(256, 512, 1024)))))
    (row,) = rows.to_dict("records")
    assert (row["kernel"], row["base_kernel"], row["speedup_shape"]) == ("library", "naive", "")
    assert 49 < row["speedup"] < 51


def test_else_the_largest_shape_with_a_base_is_named(tmp_path: Path) -> None:
    rows = best(ladder(load(run(tmp_path / "a.jsonl", base_sizes=(512,)))))
    (row,) = rows.to_dict("records")
    assert (row["m"], row["base_kernel"], row["speedup_shape"]) == (1024, "naive", "512x512x512")
    assert "over naive at 512x512x512" in summary(rows)[0].rows[0][-2]


def test_without_any_base_the_lowest_rung_stays(tmp_path: Path) -> None:
    rows = best(ladder(load(run(tmp_path / "a.jsonl", base_sizes=()))))
    (row,) = rows.to_dict("records")
    assert (row["base_kernel"], row["speedup_shape"]) == ("tiled", "")
