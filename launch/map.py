#!/usr/bin/env python3
"""Show features of `bonestrap embed` as a map on an HTML page: t-SNE or UMAP, coloured by what recordings are.

Recordings whose features are alike lie together. The page opens in any browser without a network and shows at most
2,000 recordings, evenly spaced; scikit-learn computes t-SNE (the extra `plots`), umap-learn UMAP (the extra `umap`).

Examples:
  python launch/map.py features.parquet --output map.html
  python launch/map.py features.parquet --output subjects.html --by subject
  python launch/map.py features.parquet --output umap.html --method umap
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if __name__ == "__main__":  # started by path, Python looks in launch/ first; the root of the tree belongs there
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bonestrap.files import write_atomically
from bonestrap.options import UserError, argument, option, required
from launch.cli.parser import start

if TYPE_CHECKING:
    from reports.figures import Projection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    features: Path = argument("file that bonestrap embed wrote")
    output: Path = required("HTML file to write")
    by: Literal["class", "subject", "camera"] = option("class", "what recordings are coloured by")
    method: Literal["tsne", "umap"] = option(
        "tsne", "how features come to lie on a plane; umap keeps more of the distances between groups"
    )


def main(options: Options) -> None:
    from bonestrap.recordings.features import FeaturesFile
    from reports.map_page import page

    known = FeaturesFile.read(options.features)
    if len(known) < 5:
        raise UserError(f"{options.features} holds {len(known)} recordings, and a map needs 5: embed more")
    how: Projection = "t-SNE" if options.method == "tsne" else "UMAP"
    package = "scikit-learn" if options.method == "tsne" else "umap-learn"
    try:
        text = page(known, options.by, f"Features by {options.by}", how)
    except ImportError:
        raise UserError(f"{how} needs {package}, which is not installed: pip install {package}") from None
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.output, text)
    print(f"page: {options.output}")


if __name__ == "__main__":
    start(main, Options)
