"""Where the checkout and the training data are."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("EMOTION_DATA", ROOT.parent / "shared" / "data"))
