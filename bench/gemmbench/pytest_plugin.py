"""pytest's plugin: the fixture `gemm_benchmark` measures, pytest-benchmark keeps and compares.

It is loaded in every pytest session where gemmbench is installed, and so imports nothing but
pytest until a test asks for the fixture.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from gemmbench.runner.alone import Alone
    from gemmkernels import Kernel

TRIES = 3
"""Where others used the cores in every sample there is no figure: perhaps they end soon."""

DOUBTFUL = ("contended", "throttled")
"""Verdicts whose figures should be compared with nothing: their tests are named."""

MISSING = "gemm_benchmark needs pytest-benchmark: pip install 'gemmbench[pytest]'"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a test can go on with. Microseconds, TFLOP/s and percent, as `gemmbench.load` has them.

    Under --benchmark-disable nothing is timed: the figures are NaN and `verdict` is None.
    `pct_peak` is NaN where no datasheet is known, `error` where nothing was verified.
    """

    kernel: str
    device: str
    time_us: float
    time_us_low: float
    time_us_high: float
    tflops: float
    tflops_low: float
    tflops_high: float
    pct_peak: float
    peak_unit: str | None
    error: float
    verdict: str | None
    impossible: bool


class Replay:
    """The timer that pytest-benchmark is given: it tells times that were measured before."""

    def __init__(self) -> None:
        self.__name__ = "gemmbench"
        self._told: Iterator[float] = iter(())

    def load(self, durations_s: Iterable[float], clock: str) -> None:
        """A round of each duration: it begins at 0. `clock` is what took them."""
        self.__name__ = clock
        self._told = itertools.chain.from_iterable((0.0, one) for one in durations_s)

    def __call__(self) -> float:
        return next(self._told)


_REPLAY = pytest.StashKey[Replay]()


class GemmBenchmark:
    """The fixture: call it once in a test.

    Every test is measured alone. Speeds of different tests are so unpaired: what disturbs the
    machine in between is in their ratio; `gemmbench run` pairs them. A crash or a hang of a kernel
    is the session's, as nothing here runs in a process of its own.
    """

    def __init__(
        self, benchmark: Any, request: pytest.FixtureRequest, verdicts: dict[str, list[str]]
    ) -> None:
        self._benchmark = benchmark
        self._config = request.config
        self._name = request.node.name
        self._replay = request.node.stash[_REPLAY]
        self._verdicts = verdicts
        self._used = False

    def __call__(
        self,
        what: "str | Kernel | Callable[[], object]",
        shape: str | None = None,
        *,
        precision: str,
        m: int | None = None,
        n: int | None = None,
        k: int | None = None,
        batch: int = 1,
        layout: str | None = None,
        data: str | None = None,
        device: str | None = None,
        preset: str | None = None,
        target: float | None = None,
        max_time_s: float | None = None,
    ) -> Measured:
        """Measure a kernel of the ladder by name, a `gemmkernels.Kernel`, or a function.

        >>> def test_mm(gemm_benchmark):
        ...     gemm_benchmark("torch", "512x512x512", precision="fp32")

        The shape is "MxNxK", or m, n and k. A function launches one such product on the current
        stream of the device; it is timed but not verified. A kernel is verified before and after:
        the test is skipped where it is unsupported, and fails where it is wrong or raises.
        `device` and `preset` default to --gemm-device and --gemm-preset, the rest to what
        `gemmbench run` does; `target` is a fraction.
        """
        from gemmbench.runner.one import measure_one
        from gemmkernels.errors import GemmbenchError

        __tracebackhide__ = True  # a test that skips or fails is named by its own line
        if self._used:
            pytest.fail("gemm_benchmark is for once in a test: parametrize the test", pytrace=False)
        self._used = True
        mistake = ""
        try:
            for _ in range(TRIES):
                found = measure_one(
                    what,
                    shape,
                    sizes=(m, n, k),
                    batch=batch,
                    precision=precision,
                    layout=layout,
                    data=data,
                    device=device or self._config.getoption("gemm_device"),
                    preset=preset or self._config.getoption("gemm_preset"),
                    target=target,
                    max_time_s=max_time_s,
                    timed=bool(self._benchmark.enabled),
                )
                if not found.is_spoilt:
                    break
        except GemmbenchError as error:
            mistake = str(error)
        except BaseException:  # a function's own
            self._give_up()
            raise
        if mistake:
            self._fail(mistake)
        record = found.record
        if record.status == "unsupported":
            pytest.skip(f"{record.kernel}: {record.reason}")
        if record.status != "ok":
            self._fail(f"{record.kernel} {record.group}: {record.status}: {record.reason}")
        if found.is_spoilt:
            self._give_up()
            pytest.skip(f"{record.kernel}: contended: others used the cores in every sample")
        return self._hand_over(found)

    def _hand_over(self, found: "Alone") -> Measured:
        """The samples to pytest-benchmark, in its own way, and the rest into `extra_info`.

        Its documented `timer` and `pedantic` need nothing of its insides: the timer replays what
        was measured while pedantic calls a function that does nothing.
        """
        from gemmbench.analysis.benchmarks import extra_info
        from gemmbench.analysis.rows import rows_of
        from gemmbench.records.frame import frame

        (row,) = rows_of(frame([found.run]))
        info = extra_info(row)
        rounds, launches = 1, 1
        if turns := found.turns:
            samples = [one for turn in turns for one in turn.clean_ns]
            rounds, launches = len(samples), turns[0].launches
            self._replay.load((one * launches / 1e9 for one in samples), str(info["clock"]))
            if warnings := found.record.warnings:
                info["warnings"] = "; ".join(warnings)
            self._benchmark.extra_info.update(info)
            self._verdicts.setdefault(row.verdict, []).append(self._name)
        self._benchmark.pedantic(_nothing, rounds=rounds, iterations=launches)
        names = (field.name for field in fields(Measured))
        figures = {name: getattr(row, name) for name in names}
        return Measured(**figures)

    def _fail(self, reason: str) -> NoReturn:
        __tracebackhide__ = True
        self._give_up()
        pytest.fail(reason, pytrace=False)

    def _give_up(self) -> None:
        # Or pytest-benchmark complains that its fixture was not used; disabled, it keeps nothing.
        self._benchmark.disabled = True
        self._benchmark.pedantic(_nothing)


def _nothing() -> None: ...


class _Beside:
    """The fixture where pytest-benchmark is: asks for its fixture, so that its options hold."""

    def __init__(self) -> None:
        self._verdicts: dict[str, list[str]] = {}

    @pytest.fixture
    def gemm_benchmark(self, request: pytest.FixtureRequest, benchmark: Any) -> GemmBenchmark:
        """Measure a GEMM by gemmbench's engine, in the device's time."""
        return GemmBenchmark(benchmark, request, self._verdicts)

    @pytest.hookimpl
    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """The timer is an option of the marker `benchmark`, which a test may have already."""
        if "gemm_benchmark" in getattr(item, "fixturenames", ()):
            item.stash[_REPLAY] = replay = Replay()
            marker = item.get_closest_marker("benchmark")
            options = {**(marker.kwargs if marker else {}), "timer": replay}
            item.add_marker(pytest.mark.benchmark(**options), append=False)

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """How far the figures can be trusted: pytest-benchmark's table has no column for it."""
        if self._verdicts:
            counts = (
                f"{len(names)} {word}" + (f" ({', '.join(names)})" if word in DOUBTFUL else "")
                for word, names in self._verdicts.items()
            )
            terminalreporter.write_line(f"gemm_benchmark: {', '.join(counts)}")


class _Without:
    """The same where pytest-benchmark is missing, or was left out by -p no:benchmark."""

    @pytest.fixture
    def gemm_benchmark(self) -> None:
        """Missing: needs pytest-benchmark."""
        pytest.fail(MISSING, pytrace=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for all tests; arguments of the fixture go before them."""
    group = parser.getgroup("gemmbench")
    group.addoption(
        "--gemm-device",
        default="auto",
        metavar="cpu|cuda:0",
        help="What gemm_benchmark measures. Default: the first GPU, or the CPU of a machine "
        "without one.",
    )
    group.addoption(
        "--gemm-preset",
        default="quick",
        metavar="NAME",
        help="quick, sustained or cold. Default: %(default)s.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixture, with pytest-benchmark or without it."""
    found = config.getoption("benchmark_disable", None) is not None
    config.pluginmanager.register(_Beside() if found else _Without(), "gemm-benchmark")
