"""What a person can press in a notebook."""

from typing import Any

import ipywidgets
import matplotlib.pyplot as plt

from . import labeling, plots


def label_uploads(labeler: labeling.Labeler, top: int = 5) -> ipywidgets.Widget:
    """Return a button to choose photos with; their labels appear under it, with bars."""
    button = ipywidgets.FileUpload(accept="image/*", multiple=True, description="Choose photos")
    shown = ipywidgets.Output()

    def label(_: Any) -> None:
        photos = {file["name"]: bytes(file["content"]) for file in button.value}
        table, problems = labeling.label(labeler, photos, top)
        shown.clear_output()
        with shown:
            for name, problem in problems.items():
                print(f"{name}: {problem}.")
            if len(table):
                plots.label_bars(table, photos)
                plt.show()

    button.observe(label, "value")
    return ipywidgets.VBox([button, shown])
