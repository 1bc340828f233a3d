"""Published figures: what ships of them, and a run set beside them."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from synthetic import CPU, H100, MI300X, footer, header, record, turn, turns, write

from gemmbench.analysis.published import beside_published, percent_of_peak
from gemmbench.analysis.published_beside import Placed
from gemmbench.cli import app
from gemmbench.devices.spec import specs
from gemmbench.records.published import COLUMNS, Published, parse, published
from gemmbench.show.published import published_list
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError

ROW = published()[0]


def run(
    path: Path,
    *cases: tuple[str, int | tuple[int, int, int], float],
    device: Device = H100,
    changes: dict[str, Any] | None = None,
    **of_header: Any,
) -> Path:
    """A synthetic run: (precision, size, TFLOP/s) a case."""
    found = []
    for number, (precision, size, tflops) in enumerate(cases):
        m, n, k = (size,) * 3 if isinstance(size, int) else size
        took = turns(2 * m * n * k / tflops / 1e6, seed=number)
        found.append(
            record(
                f"torch-{number}",
                size=size,
                precision=precision,
                tier="library",
                took=took,
                **{"encoding": device.encoding(precision), **(changes or {})},
            )
        )
    head = header(device, synthetic=True, run_id=path.stem, **of_header)
    return write(path, [head, *found, footer(found)])


def placed(path: Path) -> Placed:
    (one,) = beside_published(str(path))
    return one


def invoke(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, list(arguments))
    return found.exit_code, found.stdout, found.stderr


def test_every_row_has_a_source_and_a_kind_and_no_row_is_lost() -> None:
    assert len(published()) == 427
    assert all(row.source and row.kind and row.device for row in published())
    assert sum(row.kind == "vendor_acceptance_floor" for row in published()) == 87
    assert all("/" not in row.device_id and " " not in row.device_id for row in published())


def test_every_device_has_a_spec_sheet_or_no_id() -> None:
    known = {spec.id for spec in specs()}
    assert {row.device_id for row in published() if row.device_id} <= known


def test_the_percentage_is_of_our_own_peak() -> None:
    rows = [row for row in published() if row.device_id == "mi300x" and row.tflops == 708.0]
    assert [percent_of_peak(row) for row in rows] == [pytest.approx(100 * 708 / 1307.4)]
    assert math.isnan(percent_of_peak(msgspec.structs.replace(rows[0], precision="fp6")))
    assert math.isnan(percent_of_peak(msgspec.structs.replace(rows[0], scope="half a card")))
    assert math.isnan(percent_of_peak(msgspec.structs.replace(rows[0], device_id="unheard-of")))


def test_a_run_stands_beside_what_has_its_device_precision_and_shape(tmp_path: Path) -> None:
    path = run(tmp_path / "a.jsonl", ("bf16", 8192, 700.0), ("bf16", 4096, 600.0))
    found = placed(path)
    same = [row for row in found.rows if row.by == "shape"]
    assert {row.shape for row in same} == {(8192,) * 3, (4096,) * 3}
    assert all(row.published.shape == row.shape for row in same)
    assert all(row.published.device_id == "h100-sxm5" for row in found.rows)
    one = next(row for row in same if row.published.tflops == 795.0)
    assert one.ratio == pytest.approx(700 / 795, rel=0.01)
    assert one.pct_peak_published == pytest.approx(100 * 795 / 989.4)
    assert "synthetic" in found.notes[0]


def test_a_best_of_many_shapes_stands_beside_the_best_of_any(tmp_path: Path) -> None:
    path = run(tmp_path / "a.jsonl", ("bf16", 512, 300.0), ("bf16", (3000, 1000, 200), 700.0))
    rows = placed(path).rows
    best = [row for row in rows if "best of many shapes" in row.kind]
    assert best
    assert {row.shape for row in best} == {(3000, 1000, 200)}
    assert all(row.by == "the most of any shape" for row in rows)


def test_floors_claims_and_cautions_are_called_what_they_are(tmp_path: Path) -> None:
    path = run(tmp_path / "a.jsonl", ("bf16", (4864, 4096, 8192), 600.0), device=MI300X)
    rows = placed(path).rows
    floors = [row for row in rows if row.published.kind == "vendor_acceptance_floor"]
    assert {row.kind for row in floors} == {"the vendor's pass mark, no result"}
    assert not any(row.nearest for row in floors)
    careful = [row for row in rows if row.published.caution]
    assert careful
    assert all(row.published.caution in row.differs for row in careful)


def test_the_other_storage_order_is_the_same_product_and_is_told(tmp_path: Path) -> None:
    path = run(tmp_path / "a.jsonl", ("bf16", (4096, 4864, 8192), 600.0), device=MI300X)
    swapped = [row for row in placed(path).rows if row.by == "shape, M and N swapped"]
    assert {row.published.shape for row in swapped} == {(4864, 4096, 8192)}


def test_the_nearest_is_the_measured_figure_that_differs_least(tmp_path: Path) -> None:
    rows = placed(run(tmp_path / "a.jsonl", ("bf16", 8192, 700.0))).rows
    near = [row for row in rows if row.nearest]
    assert [row.published.software for row in near if row.by == "shape"] == ["cuBLAS"]
    assert len([row for row in near if row.by != "shape"]) == 1


def test_encodings_that_differ_are_told(tmp_path: Path) -> None:
    path = run(
        tmp_path / "a.jsonl",
        ("fp8_e4m3", 8192, 900.0),
        device=MI300X,
        changes={"encoding": "float8_e4m3fn", "out_dtype": "bfloat16"},
    )
    told = [row.differs for row in placed(path).rows if row.by == "shape"]
    assert told
    assert all("encoding float8_e4m3fnuz, here float8_e4m3fn" in one for one in told)


def test_what_failed_or_was_contended_or_is_batched_stands_beside_nothing(tmp_path: Path) -> None:
    for changes in ({"status": "wrong"}, {"batch": 4}, {"experts": 4}):
        path = run(tmp_path / "a.jsonl", ("bf16", 8192, 700.0), changes=changes)
        with pytest.raises(GemmbenchError, match="no figure of h100-sxm5 has"):
            beside_published(str(path))


def test_an_impossible_or_contended_rate_stands_beside_nothing(tmp_path: Path) -> None:
    lost = [turn(number, 1e6, n_samples=10, disturbed=10) for number in range(10)]
    contended = record("torch", size=8192, precision="bf16", took=lost)
    head = header(H100, synthetic=True)
    path = write(tmp_path / "c.jsonl", [head, contended, footer([contended])])
    for one in (path, run(tmp_path / "i.jsonl", ("bf16", 8192, 2000.0))):
        with pytest.raises(GemmbenchError, match="no figure of h100-sxm5 has"):
            beside_published(str(one))


def test_what_is_of_a_part_of_a_device_is_beside_no_whole_one(tmp_path: Path) -> None:
    device = Device(**{**vars(MI300X), "name": "AMD Instinct MI325X", "slug": "mi325x"})
    path = run(tmp_path / "a.jsonl", ("bf16", (4864, 4096, 8192), 700.0), device=device)
    assert any(row.scope for row in published() if row.device_id == "mi325x")
    assert {row.published.scope for row in placed(path).rows} == {""}


def test_a_partition_and_a_cpu_have_no_published_figure(tmp_path: Path) -> None:
    half = msgspec.structs.replace(header(MI300X)).device
    half = Device(**{**vars(half), "units": 152})
    part = run(tmp_path / "half.jsonl", ("bf16", 8192, 300.0), device=half, device_id="mi300x")
    with pytest.raises(GemmbenchError, match="is a partition"):
        beside_published(str(part))
    cpu = run(tmp_path / "cpu.jsonl", ("fp32", 512, 0.1), device=CPU)
    with pytest.raises(GemmbenchError, match="not in the table of devices"):
        beside_published(str(cpu))


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_every_form_has_the_figures_and_their_sources(tmp_path: Path, form: str) -> None:
    path = run(tmp_path / "a.jsonl", ("bf16", 8192, 700.0))
    for sides in ((str(path), "published"), ("published", str(path))):
        code, out, err = invoke("compare", *sides, "--format", form)
        assert (code, err) == (0, "")
        assert "pranjalssh/fast.cu" in out.replace("\\/", "/")
        assert "faster" not in out
    if form == "json":
        rows = json.loads(out)
        assert {row["published_tflops"] for row in rows} >= {795.0, 808.0}
        assert all(row["source"] and row["kind"] for row in rows)
    if form == "csv":
        assert len(list(csv.DictReader(io.StringIO(out)))) == len(placed(path).rows)


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run(tmp_path / "a.jsonl", ("bf16", 640, 700.0), ("fp64", 640, 1.0))
    for arguments, said in (
        (("published", "published"), "both sides"),
        ((str(path), "published", "--fail-if-slower", "5%"), "no verdict"),
        ((str(path), "published", "--format", "xml"), "unknown format"),
        (("nowhere.jsonl", "published"), "nowhere.jsonl"),
    ):
        code, out, err = invoke("compare", *arguments)
        assert code == 2
        assert out == ""
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_the_list_names_every_figure_and_can_be_of_one_device() -> None:
    assert len(published_list().rows) == 427
    some = published_list("h100-sxm5")
    assert {row[0] for row in some.rows} == {"h100-sxm5"}
    with pytest.raises(UnknownNameError, match="h100-sxm5"):
        published_list("h100-sxm")
    found = CliRunner().invoke(app, ["list", "published", "--device", "l40s"])
    assert found.exit_code == 0
    assert "Published figures: 1;" in found.stdout


def text(**cells: str) -> str:
    """The file with one row, of which some cells are changed."""
    values = {name: "" if (value := getattr(ROW, name)) is None else str(value) for name in COLUMNS}
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerows([COLUMNS, [cells.get(name, values[name]) for name in COLUMNS]])
    return stream.getvalue()


def test_the_reader_takes_its_own_row_and_refuses_what_is_wrong() -> None:
    assert parse(text(), file="x.csv") == (ROW,)
    for cells, said in (
        ({"source": ""}, "source"),
        ({"kind": ""}, "kind"),
        ({"kind": "guess"}, "kind"),
        ({"tflops": "-1"}, "tflops"),
        ({"tflops": "nan"}, "tflops"),
        ({"tflops": ""}, "tflops"),
        ({"m": ""}, "belong together"),
        ({"precision": "fp5"}, "precision"),
        ({"confidence": "sure"}, "confidence"),
    ):
        with pytest.raises(GemmbenchError, match=said) as error:
            parse(text(**cells), file="x.csv")
        assert str(error.value).startswith("x.csv: row 2")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_line(anything: str) -> None:
    for content in (anything, text() + anything, text(note=anything), text(tflops=anything)):
        try:
            rows = parse(content, file="x.csv")
        except GemmbenchError as error:
            assert "\n" not in str(error)
        else:
            assert all(isinstance(row, Published) and row.tflops > 0 for row in rows)
