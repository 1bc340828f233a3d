"""What a user asks of a run of several ranks."""

from dataclasses import dataclass

from gemmkernels.errors import GemmbenchError, UnknownNameError

DEVICES = ("auto", "gpu", "cpu")
PRESETS = ("sustained", "quick")
LONGEST_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class ParallelRequest:
    """The options of `gemmbench parallel`. None and nothing are "as the suite or device says".

    Seconds; `target` is a fraction. `timeout_s` is how long no rank may come on.
    """

    suites: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    device: str = "auto"
    preset: str = "sustained"
    data: str = "normal"
    target: float | None = None
    max_time_s: float | None = None
    timeout_s: float = 120.0
    seed: int = 0
    out: str = "results/local"
    command: tuple[str, ...] = ()

    def check(self) -> None:
        """What can be told at once. Raises GemmbenchError."""
        from gemmkernels.operands import check_data
        from gemmkernels.parallel.kernel import PRECISIONS
        from gemmkernels.parallel.ladder import PARALLEL

        for kind, asked, known in (
            ("device", (self.device,), DEVICES),
            ("preset of several ranks", (self.preset,), PRESETS),
            ("kernel of several ranks", self.kernels, [one.name for one in PARALLEL]),
            ("precision of several ranks", self.precisions, PRECISIONS),
        ):
            for name in asked:
                if name not in known:
                    raise UnknownNameError(kind, name[:80], known)
        check_data(self.data)
        if self.timeout_s > LONGEST_S:
            raise GemmbenchError(f"--timeout {self.timeout_s:g}s is over a day: take less")
