"""Runs the blocks of one page in order: `python runner.py BLOCKS`, a JSON file of [place, language, text].

Blocks of Python share one namespace; blocks of C++ are written to the file that their first line names; blocks of
commands are run by bash in the current folder. Ends with exit code 1 at the first that fails, its place in the last
line of stderr.
"""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any


def main() -> int:
    names: dict[str, Any] = {"__name__": "__main__"}
    for place, language, text in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        try:
            if language == "python":
                exec(compile(text, place, "exec"), names)
            elif language == "cpp":
                Path(text.partition("\n")[0].removeprefix("// ")).write_text(text, encoding="utf-8")
            else:
                subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True, stdin=subprocess.DEVNULL)
        except BaseException:
            traceback.print_exc()
            print(f"{place}: this block fails", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
