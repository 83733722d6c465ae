"""The names of before, until the last notebook says `plots`."""

from .evaluation import *  # noqa: F403
from .images import *  # noqa: F403
from .pictures import *  # noqa: F403
from .style import *  # noqa: F403
from .style import style as style
from .training import *  # noqa: F403
