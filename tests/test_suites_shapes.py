"""Shapes that a user names: with a batch, by ranges and lists, and in tables."""

from pathlib import Path

import pytest
from synthetic import CPU, header, record, write

from gemmbench.runner.messages import KernelInfo
from gemmbench.runner.named import named_shapes
from gemmbench.runner.plan import (
    MAX_CASES,
    check_memory,
    check_request,
    chosen_suites,
    make_plan,
    make_timing,
    wanted_cases,
)
from gemmbench.runner.request import Request
from gemmbench.runner.resume import command_of, of_run, options_of
from gemmbench.suites.reader import load_suite
from gemmbench.suites.shapes import MAX_LABEL, MAX_SHAPES, Shape, grid, shape_of
from gemmbench.suites.table import load_table, parse_table
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.smallfile import MAX_BYTES

INFOS = tuple(KernelInfo.of(kernel) for kernel in LADDER)


def sizes(shapes: tuple[Shape, ...]) -> list[tuple[int, int, int]]:
    return [(shape.m, shape.n, shape.k) for shape in shapes]


def test_a_batch_before_a_shape() -> None:
    assert shape_of("8*64x32x16") == Shape(m=64, n=32, k=16, batch=8)
    assert shape_of(" 8 * 1x2x3 ") == Shape(m=1, n=2, k=3, batch=8)
    for text in ("x*1x1x1", "*1x1x1", "-1*1x1x1", "0*1x1x1", "8*8*1x1x1", "8*", "1e3*1x1x1"):
        with pytest.raises(GemmbenchError):
            shape_of(text)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4096", [4096]),
        ("1024:4096:1024", [1024, 2048, 3072, 4096]),
        ("1:10:4", [1, 5, 9]),
        ("1024:8192:x2", [1024, 2048, 4096, 8192]),
        ("3:30:X3", [3, 9, 27]),
        ("16, 256,16,1:4:x2", [16, 256, 1, 2, 4]),
        ("7:7:1", [7]),
    ],
)
def test_a_range_has_its_stop_and_a_list_each_value_once(text: str, values: list[int]) -> None:
    assert sizes(grid(text, "1", "1")) == [(value, 1, 1) for value in values]


def test_products_in_order_and_squares() -> None:
    assert sizes(grid("1,2", "3,4", "5")) == [(1, 3, 5), (1, 4, 5), (2, 3, 5), (2, 4, 5)]
    assert sizes(grid("128:512:x2", "m", " M ")) == [(n, n, n) for n in (128, 256, 512)]
    assert sizes(grid("k", "9", "1,2")) == [(1, 9, 1), (2, 9, 2)]
    assert grid(None, None, None) == ()


@pytest.mark.parametrize(
    ("m", "n", "k", "told"),
    [
        ("4", None, None, "--n and --k are missing: give --m, --n and --k; say --n m --k m"),
        (None, "4", "5", "--m is missing"),
        ("4", "4", "", "--k is missing"),
        ("m", "m", "m", "--m m leads to no number"),
        ("n", "m", "4", "--m n leads to no number"),
        ("4", "m", "n", "--k n leads to no number"),
        ("4:8", "m", "m", "--m '4:8' is no number and no range"),
        ("1:2:3:4", "m", "m", "is no number and no range"),
        ("m,4", "1", "1", "m, n or k alone"),
        ("", "1", "1", "--m is missing"),
        ("1,", "1", "1", "--m '' is no number"),
        ("1:1e9:1", "1", "1", "is no number"),
        ("-4", "1", "1", "is no number"),
        ("٣", "1", "1", "is no number"),
        ("0", "1", "1", "--m 0 must lie in 1 … 2147483647"),
        ("8:4:1", "1", "1", "--m 8:4:1 must rise within"),
        ("1:2147483648:1", "1", "1", "must rise within"),
        ("1:4:0", "1", "1", "--m 1:4:0 never ends"),
        ("1:4:x1", "1", "1", "--m 1:4:x1 never ends"),
        ("1:2147483647:1", "m", "m", "--m 1:2147483647:1 is over 10000 values"),
        ("1:5000:1,1:5001:1", "1", "1", "is over 10000 values"),
        ("1:101:1", "1:100:1", "1", "make 10100 shapes, 10000 at most"),
        ("1:10000:1", "1:10000:1", "1:10000:1", "make 1000000000000 shapes"),
    ],
)
def test_a_mistake_in_a_range_is_one_line(
    m: str | None, n: str | None, k: str | None, told: str
) -> None:
    with pytest.raises(GemmbenchError) as seen:
        grid(m, n, k)
    assert told in str(seen.value)
    assert len(str(seen.value)) < 300


def test_as_many_shapes_as_there_may_be() -> None:
    assert len(grid("1:100:1", "1:100:1", "1")) == MAX_SHAPES


# Tables.


@pytest.mark.parametrize(
    "text",
    [
        'm,n,k,batch,layout,label\n1,2,3,8,nt,"a, b"\n4,4,4,,,\n',
        '\ufeff# mine "\n\n Label ;K; N ;M;BATCH;Layout\r\n"a, b";3;2;1;8;NT\r\n;4;4;4\r\n',
        'k\tlabel\tm\tbatch\tn\tlayout\t\t\n3\t"a, b"\t1\t8\t2\tnt\t\n  # x\n4\t\t4\t\t4\t\t\n\t\n',
    ],
)
def test_columns_in_any_order_case_and_separator(text: str) -> None:
    assert parse_table(text.encode(), source="mine.csv") == (
        Shape(m=1, n=2, k=3, batch=8, layout="nt", label="a, b"),
        Shape(m=4, n=4, k=4),
    )


def test_a_shape_that_is_there_twice_has_both_labels_up_to_a_limit() -> None:
    rows = "".join(f"1,1,1,label {number}\n" for number in range(3000))
    (shape,) = parse_table(f"m,n,k,label\n{rows}".encode(), source="mine.csv")
    assert shape.label.startswith("label 0; label 1; ")
    assert len(shape.label) == MAX_LABEL


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: no header: begin the file with m,n,k"),
        ("1,2,3\n", "line 1: no header"),
        ("m,n,k\n", "has no shapes"),
        ("m,n\n1,2\n", "line 1: the column k is missing"),
        ("m,n,k,lable\n", "line 1: unknown column 'lable': did you mean label?"),
        ("m,n,k,,label\n", "line 1: unknown column ''"),
        ("m,n,k,K\n", "line 1: the column k is there twice"),
        ("m,n,k\n\n#\n1,2,x\n", "line 4, column k: 'x' is no whole number"),
        ("m,n,k\n1,,3\n", "line 2, column n: it is empty"),
        ("m,n,k\n1,2\n", "line 2, column k: it is empty"),
        ("m,n,k\n1,2,3,4\n", "line 2 has 4 cells, its header 3"),
        ("m,n,k\n1,0,3\n", "line 2, column n: 0 must lie in"),
        ("m,n,k\n1,2.0,3\n", "line 2, column n: '2.0' is no whole number"),
        ("m,n,k\n1,9999999999,3\n", "line 2, column n: 9999999999 must lie in"),
        ("m,n,k,batch\n1,2,3,-1\n", "line 2, column batch: '-1' is no whole number"),
        ("m,n,k,layout\n1,2,3,nm\n", "line 2: unknown layout 'nm'"),
        ("m,n,k,label\n1,2,3,a\x1bb\n", "line 2: label 'a\\x1bb' must be one printable line"),
        ('m,n,k,label\n1,2,3,"a\nb"\n', "line 2 is not CSV"),
        ('m,n,k,label\n1,2,3,"a"b\n', "line 2 is not CSV"),
        ("m,n,k\n" + "1" * 200_000, "line 2 is not CSV: field larger"),
        ("m,n,k\n" + "1,2,3\n" * 10_001, "has over 10000 shapes"),
        (b"m,n,k\n1,2,\xff\n", "is not UTF-8"),
    ],
)
def test_a_mistake_in_a_table_has_file_line_and_column(text: str | bytes, told: str) -> None:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(GemmbenchError) as seen:
        parse_table(data, source="mine.csv")
    assert str(seen.value).startswith("mine.csv")
    assert told in str(seen.value)
    assert len(str(seen.value)) < 300


def test_what_is_no_table_file(tmp_path: Path) -> None:
    (tmp_path / "big.csv").write_bytes(b"m,n,k\n" + b"#" * MAX_BYTES)
    for path, told in (
        (tmp_path / "none.csv", "No such file"),
        (tmp_path, "is no regular file"),
        (Path("/dev/zero"), "is no regular file"),
        (tmp_path / "big.csv", "is over 1 MiB"),
    ):
        with pytest.raises(GemmbenchError, match=told):
            load_table(path)


# What is asked of a run.


def request_of(tmp_path: Path) -> Request:
    (tmp_path / "mine.csv").write_text("m,n,k,batch,label\n2,2,2,,mine\n1,1,1,,again\n")
    return Request(
        shapes=("1x1x1", "8*2x2x2"),
        m="1:4:x2",
        n="m",
        k="m",
        shape_files=(str(tmp_path / "mine.csv"),),
        precisions=("fp32",),
        kernels=("torch",),
    )


def test_all_that_is_named_is_measured_once(tmp_path: Path) -> None:
    request = request_of(tmp_path)
    assert chosen_suites(request) == ()
    assert [(named.option, named.shape.m) for named in named_shapes(request)] == [
        ("--shape", 1),
        ("--shape", 2),
        *(("--m 1:4:x2 --n m --k m", size) for size in (1, 2, 4)),
        ("--shapes mine.csv", 2),
        ("--shapes mine.csv", 1),
    ]
    found = wanted_cases(request, (), CPU, INFOS)
    assert [(name, case.problem.label) for name, case in found] == [
        ("1x1x1-nn", "again"),
        ("8*2x2x2-nn", ""),
        ("2x2x2-nn", "mine"),
        ("4x4x4-nn", ""),
    ]


def test_what_cannot_fit_names_its_option(tmp_path: Path) -> None:
    for request, told in (
        (Request(shapes=("90000*999x999x999",)), "--shape: 90000*999x999x999: fp32 needs"),
        (Request(m="64:65536:65472", n="m", k="m"), "--m 64:65536:65472 --n m --k m: 65536x6"),
    ):
        chosen = wanted_cases(request, (), CPU, INFOS)
        with pytest.raises(GemmbenchError) as seen:
            check_memory(request, [c for c in chosen if c[1].problem.precision == "fp32"], CPU)
        assert str(seen.value).startswith(told)


def test_a_plan_has_its_limits() -> None:
    with pytest.raises(GemmbenchError, match="--repeat 1001 must lie in 1 … 1000"):
        check_request(Request(repeats=1001), (), ())
    many = ("1x1x1",) * (MAX_SHAPES + 1)
    with pytest.raises(GemmbenchError, match="10001 shapes are named, 10000 at most"):
        check_request(Request(shapes=many), (), ())
    request = Request(m="1:100:1", n="1:6:1", k="1", repeats=1000)
    cases = wanted_cases(request, (), CPU, INFOS)
    with pytest.raises(GemmbenchError, match=f"in 1000 repeats are over {MAX_CASES}"):
        make_plan(
            cases=cases,
            reasons=[None] * len(cases),
            kernels=INFOS,
            device=CPU,
            how=make_timing(request, CPU, "quick"),
            budget_s=None,
        )


def test_what_cannot_be_handed_to_a_worker_is_refused() -> None:
    for request in (Request(kernels=("./\udcff.py",)), Request(device="\udcff")):
        with pytest.raises(GemmbenchError, match="is no printable text: rename it"):
            check_request(request, (), ())


def test_a_resumed_run_takes_its_tables_again(tmp_path: Path) -> None:
    request = request_of(tmp_path)
    kept = options_of(request)
    assert kept["shape_files"] == ("mine.csv",)
    assert kept["m"] == "1:4:x2"
    path = write(tmp_path / "run.jsonl", [header(request=kept), record()])
    again = str(tmp_path / "mine.csv")
    found, _ = of_run(path, Request(shape_files=(again,)))
    assert (found.shape_files, found.m, found.shapes) == ((again,), "1:4:x2", request.shapes)
    with pytest.raises(GemmbenchError, match=r"give it again, --shapes …/mine\.csv"):
        of_run(path, Request())
    with pytest.raises(GemmbenchError, match=r"--shapes other\.csv was not in that run"):
        of_run(path, Request(shape_files=("other.csv",)))
    with pytest.raises(GemmbenchError, match="leave out --m"):
        of_run(path, Request(m="4"))


def test_a_run_file_does_not_choose_what_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "evil.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(tmp_path / "below")
    for name in ("../evil.py", str(tmp_path / "evil.py")):
        path = write(tmp_path / "run.jsonl", [header(request={"kernels": [name]}), record()])
        with pytest.raises(GemmbenchError, match="is no file's name: that run is damaged"):
            of_run(path, Request())


def test_a_kept_command_has_no_folders() -> None:
    given = ("run", "/home/me/x.py", "--out=/home/me", "-k/home/me/k.py", "~/s.csv", "4*1x1x1")
    assert command_of(given) == ("run", "x.py", "--out=me", "-kk.py", "s.csv", "4*1x1x1")


# The suites.


def test_skinny_is_skinny_and_batched_has_batches() -> None:
    for kind in ("cpu", "gpu"):
        skinny = load_suite("skinny").shapes(kind)
        rows = {shape.m for shape in skinny if shape.n >= 512}
        assert {1, 2, 4, 8, 16, 32, 64, 128, 256} <= rows
        assert any(shape.n <= 16 < 1024 <= shape.m for shape in skinny)
        assert any(shape.k >= 256 * max(shape.m, shape.n) for shape in skinny)
        batched = load_suite("batched").shapes(kind)
        assert {64, 128} <= {shape.k for shape in batched if shape.layout == "nt"}
        assert any(shape.batch == 1000 and shape.m == 32 for shape in batched)
        (alone,) = (shape for shape in batched if shape.batch == 1)
        assert any((s.m, s.n, s.k) == (alone.m, alone.n, alone.k) for s in batched if s.batch > 1)
        assert all(shape.label for shape in (*skinny, *batched))


def test_what_has_no_batches_is_unsupported_with_a_reason() -> None:
    cases = wanted_cases(Request(suites=("batched",)), (load_suite("batched"),), CPU, INFOS)
    known = {kernel.name: kernel for kernel in LADDER}
    for _, case in cases:
        reason = known[case.kernel].why_not(case.problem, CPU)
        if case.problem.batch > 1 and case.kernel != "torch":
            assert reason == f"has no batches, and batch = {case.problem.batch}"
        else:
            assert reason is None or "bf16" in reason
