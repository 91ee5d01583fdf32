"""Where the shared reference data lies, for the cases that need it; they skip, with a reason, where it is absent."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"needs the reference data in {SHARED.name}/ beside the project"
)
GOLDEN = SHARED / "golden"
DATA = SHARED / "data"
