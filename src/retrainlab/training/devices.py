"""Where a network learns: on a GPU in mixed precision, where TensorFlow finds one, else on the CPU in float32.

Mixed precision is TensorFlow's own pass over a graph: convolutions and products compute in float16, while variables,
sums and losses stay in float32. Small gradients would be 0 in float16, so the loss is scaled up before they are taken
(Micikevicius et al. 2018, arxiv.org/abs/1710.03740). On the CPU nothing is changed, not by a bit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..backbones import gpu
from ..backbones.runtimes import tensorflow

_MIXED = "auto_mixed_precision"
_SCALE = 2.0**15  # of the loss at first, in mixed precision; halved wherever it proves too large


@dataclass(frozen=True)
class Device:
    """What a network learns on.

    Attributes:
        name: "CPU", or what the GPU calls itself.
        mixed: whether in mixed precision.
        loss_scale: what a loss is multiplied by before gradients are taken, 1 for nothing; a power of 2.
    """

    name: str
    mixed: bool = False
    loss_scale: float = 1.0

    def __str__(self) -> str:
        return f"{self.name}, in {'mixed precision' if self.mixed else 'float32'}"

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Call TensorFlow's functions in the device's precision."""
        if not self.mixed:
            yield
            return
        options = tensorflow().config.optimizer
        before = options.get_experimental_options().get(_MIXED, False)
        options.set_experimental_options({_MIXED: True})
        try:
            yield
        finally:
            options.set_experimental_options({_MIXED: before})


CPU = Device("CPU")


def found() -> Device:
    """Tell which device this machine has."""
    return CPU if (device := gpu.find()) is None else Device(device.name, True, _SCALE)
