"""The table of recipes against a process alone, with measured differences: python -m tests.training.parallel_equality

Networks of seeded random weights, float32, gloo on a CPU; three steps of AdamW with clipping. `loss` is the largest
difference over the steps; `gradients` the largest norm of a difference by the gradient's own, over parameters;
`weights` the largest difference after the last step; `held` the share of the weights that lies on a process.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.training.parallel_worker import CASES, launch

COLUMNS = ("loss", "gradients", "weights", "held")


def main() -> None:
    """Print the table, then all of it as JSON."""
    table: dict[str, dict[str, float]] = {}
    for world in sorted({case.world for case in CASES}):
        with TemporaryDirectory() as folder:
            ranks = launch(Path(folder), world)
        for name in ranks[0]:
            table[name] = {column: max(rank[name][column] for rank in ranks) for column in COLUMNS}
    print(f"{'recipe':<40}" + "".join(f"{column:>12}" for column in COLUMNS))
    for name, row in table.items():
        print(f"{name:<40}" + "".join(f"{row[column]:>12.2g}" for column in COLUMNS))
    print(json.dumps(table))


if __name__ == "__main__":
    main()
