"""Of which images a run is, as run.json says it, and whether they are the same as before."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ..pixels.levels import Levels


def described(
    images: pd.DataFrame, image_dir: Path, digest: str, said: Sequence[str], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Say of which images a run is.

    Args:
        images, image_dir, digest, said: as `Run.begin` takes them.
        known: what was said of those that it was of before; empty for none.

    Returns:
        image_dir, said, digest, labels (a digest of them), levels, since: when they became others than before, None for
        never; pages that are older show others.
    """
    good = images[images["problem"].isna()]
    lines = sorted(f"{path} {label}" for path, label in zip(good["path"], good["label"], strict=True))
    labels = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    found = {"image_dir": str(image_dir), "said": list(said), "digest": digest, "labels": labels}
    changed = known and not are_same(known, found)
    since = datetime.now(UTC).isoformat() if changed else known.get("since")
    return found | {"levels": Levels.of(images).to_json(), "since": since}


def are_same(dataset: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether they are the same images with the same labels in the same splits."""
    return all(dataset.get(key) == other[key] for key in ("digest", "labels"))
