"""Files of synthetic fleets, small and large: `python tests/fleet_runs.py FILE --devices 10000`.

Each record is one of a pool that was made and encoded once, so that 800 MB are written in seconds.
Records of the devices in `planted` are changed first.
"""

import argparse
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
from synthetic import H100, footer, header, record, turns

from gemmbench.records.journal import encode
from gemmbench.records.schema import Fleet, Line, Lost, Place, Record
from gemmkernels.device import Device

Planted = Callable[[Record], Record | None]
"""What becomes of a device's record; None where it has none."""

A_NODE = 8
A_RACK = 4
PRECISIONS = {"fp32": 45.0, "bf16": 600.0, "fp16": 610.0, "fp8_e4m3": 1100.0}
"""TFLOP/s of the median device."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a fleet's records are drawn: `cases` problems in turn over the precisions, each with
    noise of `sigma` between devices."""

    devices: int
    cases: int = 20
    repeats: int = 1
    sigma: float = 0.01
    rounds: int = 10
    samples: int = 10
    variants: int = 40
    at_once: int = A_NODE
    temperature_c: float | None = 60.0
    seed: int = 0
    device: Device = H100
    started: str = "2026-01-01T00:00:00+00:00"

    @property
    def plan(self) -> tuple[str, ...]:
        return tuple(one.case for repeat in range(self.repeats) for one in self.bare(repeat))

    def bare(self, repeat: int) -> list[Record]:
        """The cases, without turns."""
        made = []
        for number in range(self.cases):
            size = 1024 * (1 + number // len(PRECISIONS))
            precision = [*PRECISIONS][number % len(PRECISIONS)]
            made.append(
                record("torch", size=size, precision=precision, repeat=repeat, tier="library")
            )
        return made

    def drawn(self, of: Record, draw: random.Random) -> Record:
        """The record with turns."""
        tflops = PRECISIONS[of.precision] * draw.lognormvariate(0, self.sigma)
        time_us = 2e-6 * of.m * of.n * of.k / tflops
        took = turns(time_us, rounds=self.rounds, samples=self.samples, seed=draw.randrange(2**30))
        warm = self.temperature_c
        if warm is not None:
            warm += draw.gauss(0, 2)
        took = tuple(
            replace(one, clock_mhz=1755.0, power_w=690.0, temperature_c=warm) for one in took
        )
        return msgspec.structs.replace(of, turns=took, n_samples=self.rounds * self.samples)


def places_of(made: Made, *, named: bool = True) -> tuple[Place, ...]:
    """Nodes of 8 devices, racks of 4 nodes."""
    return tuple(
        Place(
            node=f"node{unit // A_NODE:04}" if named else "",
            rack=f"rack{unit // (A_NODE * A_RACK):03}" if named else "",
            index=unit % A_NODE,
            pci_address=f"0000:{0x10 + unit % A_NODE:02x}:00.0",
            at_once=made.at_once,
        )
        for unit in range(made.devices)
    )


def write_fleet(
    path: Path,
    made: Made,
    *,
    planted: Mapping[int, Planted] | None = None,
    dead: Collection[int] = (),
    places: Sequence[Place] | None = None,
) -> Path:
    """A fleet's file, the lines of its units in turns, as they come in from devices at once.

    A `dead` unit has a header and is then lost. What is planned knows node and index only: the
    address and the CPUs are a worker's to find.
    """
    draw, planted = random.Random(made.seed), planted or {}
    places = places or places_of(made)
    to_be = [
        Place(node=one.node, rack=one.rack, index=one.index, at_once=one.at_once) for one in places
    ]
    fleet = Fleet(
        run_id=path.stem,
        started=made.started,
        version="0.1.0",
        places=tuple(to_be),
        synthetic=True,
    )
    with path.open("wb", buffering=1 << 20) as stream:
        stream.write(encode(fleet))

        def write(unit: int, line: bytes) -> None:
            stream.write(b'{"type":"of","unit":%d,"line":%b}\n' % (unit, line))

        for unit, place in enumerate(places):
            begun = header(
                made.device,
                run_id=f"{path.stem}{unit}",
                synthetic=True,
                place=place,
                plan=made.plan,
                started=made.started,
            )
            write(unit, encode(begun).rstrip())
            if unit in dead:
                stream.write(
                    encode(Lost(unit=unit, reason="the node did not answer", place=to_be[unit]))
                )
        for repeat in range(made.repeats):
            for bare in made.bare(repeat):
                pool = [made.drawn(bare, draw) for _ in range(made.variants)]
                lines = [encode(one).rstrip() for one in pool]
                for unit in range(len(places)):
                    which = draw.randrange(made.variants)
                    if unit in dead:
                        continue
                    if unit not in planted:
                        write(unit, lines[which])
                    elif (changed := planted[unit](pool[which])) is not None:
                        write(unit, encode(changed).rstrip())
        end = encode(footer([])).rstrip()
        for unit in range(len(places)):
            if unit not in dead:
                write(unit, end)
    return path


def write_alone(folder: Path, made: Made, *, planted: Mapping[int, Planted] | None = None) -> None:
    """The same as ordinary run files, one a device, as a shell loop or srun leaves them."""
    draw, planted = random.Random(made.seed), planted or {}
    for unit in range(made.devices):
        begun = header(made.device, run_id=f"run{unit}", synthetic=True, plan=made.plan)
        lines: list[Line] = [begun]
        for repeat in range(made.repeats):
            for bare in made.bare(repeat):
                one = made.drawn(bare, draw)
                changed = planted[unit](one) if unit in planted else one
                lines += [changed] if changed is not None else []
        lines.append(footer([]))
        (folder / f"device{unit:02}.jsonl").write_bytes(b"".join(map(encode, lines)))


def slower(share: float, *precisions: str) -> Planted:
    """Slower by that share; of all precisions, or of some."""

    def change(one: Record) -> Record:
        if precisions and one.precision not in precisions:
            return one
        longer = 1 / (1 - share)
        took = tuple(
            replace(
                turn,
                median_ns=None if turn.median_ns is None else turn.median_ns * longer,
                samples_ns=None,
            )
            for turn in one.turns
        )
        return msgspec.structs.replace(one, turns=took)

    return change


def wrong(*precisions: str) -> Planted:
    """Verification fails."""

    def change(one: Record) -> Record:
        if precisions and one.precision not in precisions:
            return one
        reason = "1 of 1048576 elements is wrong"
        return msgspec.structs.replace(one, status="wrong", reason=reason, turns=())

    return change


def warmer(by_c: float) -> Planted:
    """Its temperature."""

    def change(one: Record) -> Record:
        took = tuple(
            replace(turn, temperature_c=(turn.temperature_c or 0) + by_c) for turn in one.turns
        )
        return msgspec.structs.replace(one, turns=took)

    return change


def limited(reason: str, share: float) -> Planted:
    """A limit reason is active for a share of the turns' time."""

    def change(one: Record) -> Record:
        span_ns = 1e9 * sum(turn.stop_s - turn.start_s for turn in one.turns)
        return msgspec.structs.replace(one, limits={"power": 0.0, reason: share * span_ns})

    return change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--cases", type=int, default=20)
    asked = parser.parse_args()
    made = Made(devices=asked.devices, cases=asked.cases)
    bad: dict[int, Planted] = {asked.devices // 3: slower(0.10), asked.devices // 2: wrong("bf16")}
    path = write_fleet(asked.file, made, planted=bad, dead=[asked.devices - 1])
    print(f"{path}: {path.stat().st_size / 1e6:.0f} MB, {made.devices} × {made.cases} records")


if __name__ == "__main__":
    main()
