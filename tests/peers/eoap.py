"""The validator of EO application packages that their authors use, in an environment of its own (group `eoap`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[2]
_EACH = """
import json, sys
from eoap_validator.engine import validate
print(json.dumps([validate(one).to_dict() for one in sys.argv[1:]]))
"""


def reports(sources: Sequence[str]) -> list[dict[str, Any]]:
    """The validator's report of each document (`path.cwl`, `path.cwl#process`)."""
    uv = Path(sys.executable).with_name("uv")
    alone = ["run", "--frozen", "--isolated", "--only-group", "eoap", "--project", str(TREE)]
    done = subprocess.run(
        [uv, *alone, "python", "-c", _EACH, *sources], cwd=TREE, check=True, capture_output=True, text=True, timeout=300
    )
    found: list[dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
