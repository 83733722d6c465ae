"""Runs notebooks (papermill) -> pages, index; TensorBoard; buttons.

Takes: the notebooks and their parameters; run folders.
Gives: executed notebooks and pages that need nothing else, index.html, TensorBoard as command, tile and cell, and what
    a person can press in a notebook.
May use: the foundations, pixels, images, datasets, labeling, runs.
"""

import sys

# jsonschema, which nbformat asks, builds a grammar of international addresses from it when it is imported: two seconds
# of the command and of every kernel, for a check that notebooks do not need. Without it, that check is left out.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
