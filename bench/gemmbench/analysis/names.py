"""What files are called where several are told of: no more of their paths than tells them apart."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def apart(paths: Sequence[Path]) -> tuple[str, ...]:
    """Of each path the shortest end that no other one has: `base/run0.jsonl`, `head/run0.jsonl`.

    A whole absolute path only where nothing else tells it from another.
    """
    left = dict.fromkeys(paths)
    parts = {path: tuple(one for one in path.parts if one != path.anchor) for path in left}
    found = {path: str(path) for path in left}
    for depth in range(1, 1 + max(map(len, parts.values()), default=0)):
        counts = Counter(one[-depth:] for one in parts.values())
        for path in list(left):
            if parts[path] and counts[parts[path][-depth:]] == 1:
                found[path] = "/".join(parts[path][-depth:])
                del left[path]
        if not left:
            break
    return tuple(found[path] for path in paths)
