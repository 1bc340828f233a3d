"""Which device is it: one GPU in several files is one device, and each has a name of its own."""

from collections import defaultdict
from pathlib import Path
from typing import TypeAlias

from gemmbench.analysis.fleet.columns import Gathered
from gemmbench.analysis.fleet.of_record import name_of
from gemmbench.records.schema import Place

Key: TypeAlias = "tuple[object, ...]"


class Devices:
    """The devices in the order in which they were met; the paths are those of their runs."""

    def __init__(self) -> None:
        self.every: list[Gathered] = []
        self._numbers: dict[Key, int] = {}
        self._of_run: dict[object, int] = {}
        self._by_index: dict[Key, set[int]] = defaultdict(set)
        self._names: set[str] = set()

    def measured(self, place: Place, path: Path, partition: str) -> int:
        """The number of the device that a run is of."""
        number = self._number(_key(place, path, partition), place, path)
        if place.node and place.index is not None:
            self._by_index[place.node, place.index].add(number)
        return number

    def is_of(self, run: object, number: int) -> None:
        """Whatever else is told of that run is of the same device."""
        self._of_run[run] = number

    def planned(self, run: object, place: Place, path: Path) -> int:
        """That of a run which was to be. Its place knows less than a run's: no PCI address, say."""
        if run in self._of_run:
            return self._of_run[run]
        alike = self._by_index.get((place.node, place.index), set())
        if place.node and not place.pci_address and len(alike) == 1:
            return min(alike)
        return self._number(_key(place, path, ""), place, path)

    def _number(self, key: Key, place: Place, path: Path) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.every)
            self.every.append(Gathered(place, self._named(place, path)))
        return self._numbers[key]

    def _named(self, place: Place, path: Path) -> str:
        """Each task of srun may see its one GPU as the first of the node."""
        by_pci = f"{place.node}/{place.pci_address}" if place.node and place.pci_address else ""
        for name in filter(None, (name_of(place, path), by_pci, path.name)):
            if name not in self._names:
                break
        else:
            name = str(path)
        self._names.add(name)
        return name


def _key(place: Place, path: Path, partition: str) -> Key:
    """A node's GPU is its PCI address: its index and its CPUs change from job to job.

    Partitions of a GPU share the address. Those that have no index either nothing tells apart, so
    that each run is a device; as is each run of a node without a name.
    """
    if not place.node:
        return (path,)
    if place.pci_address:
        where: Key = ("pci", place.pci_address)
        if partition:
            where = (*where, partition, path if place.index is None else place.index)
    elif place.index is not None:
        where = ("index", place.index)
    else:
        where = ("cores", place.cores) if place.cores else (path,)
    return (place.node, *where)
