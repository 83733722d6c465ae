"""Runs notebooks (papermill) -> pages, index; TensorBoard; buttons.

Takes: the notebooks and their parameters; run folders.
Gives: executed notebooks and pages that need nothing else, index.html, TensorBoard as command, tile and cell, and what
    a person can press in a notebook.
May use: the foundations, pixels, images, datasets, labeling, runs.
"""
