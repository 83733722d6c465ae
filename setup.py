"""The wheel carries the notebooks of notebooks/ as retrainlab/notebooks; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithNotebooks(build_py):
    """Copies the notebooks into the package; an editable install uses those of the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        to = Path(self.build_lib, "retrainlab", "notebooks")
        self.mkpath(str(to))
        for book in sorted(Path("notebooks").glob("*.ipynb")):
            self.copy_file(str(book), str(to / book.name))


setup(cmdclass={"build_py": BuildWithNotebooks})
