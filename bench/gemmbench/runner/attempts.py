"""Groups as workers carry them out: whatever a case does to its worker costs that case."""

import math
from collections.abc import Sequence

from gemmbench.runner.crew import Crew
from gemmbench.runner.exchange import Exchange
from gemmbench.runner.listener import Listener
from gemmbench.runner.messages import Work
from gemmbench.runner.recording import Progress
from gemmbench.runner.request import Request
from gemmbench.timing.method import Timing


class Attempts(Exchange):
    """Has a crew carry out groups."""

    def __init__(
        self, crew: Crew, listener: Listener, request: Request, *, verify_only: bool = False
    ) -> None:
        super().__init__(crew, listener, timeout_s=request.timeout_s)
        self._request = request
        self._verify_only = verify_only

    def carry_out(
        self, group: Sequence[Progress], how: Timing, *, until_s: float = math.inf
    ) -> None:
        """Until each case has its status. Raises SpentError at `until_s` of the monotonic clock,
        and DeviceGoneError."""

        def ask(remaining: Sequence[Progress]) -> Work:
            return Work(
                cases=tuple(progress.case for progress in remaining),
                timing=how,
                data=self._request.data,
                seed=self._request.seed,
                verify_only=self._verify_only,
            )

        self._carry_out(group, ask, until_s=until_s)
