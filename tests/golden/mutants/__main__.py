"""`python -m tests.golden.mutants`: a row a mutant, in Markdown: what caught it, and what `verify` said."""

from __future__ import annotations

from tests.golden.mutants import MUTANTS, caught

print("| mutant | case | stage | first tensor | verify says |\n|---|---|---|---|---|")
for name, mutant in MUTANTS.items():
    found = caught(mutant.fault, mutant.case)
    cells = ("SURVIVED", "", "") if found is None else (found.stage, f"`{found.first}`", found.said)
    print(f"| {name} | {mutant.case} | " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
