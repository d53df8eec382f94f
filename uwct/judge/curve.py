"""The trade between style and content, over strengths: a curve, on which results of others are placed."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Curve:
    """Means of LPIPS and of style distance at several strengths, each `[N]`."""

    lpips: np.ndarray
    style: np.ndarray

    def at(self, lpips: float) -> float | None:
        """The style distance at a LPIPS, between points by linear interpolation; None beyond the curve's ends."""
        order = np.argsort(self.lpips)
        if not self.lpips.min() <= lpips <= self.lpips.max():
            return None
        return float(np.interp(lpips, self.lpips[order], self.style[order]))

    def beside(self, name: str, *, lpips: float, style: float) -> str:
        """One sentence about a result of others: which of both is nearer to the style at the same LPIPS."""
        ours = self.at(lpips)
        if ours is None:
            return f"{name}'s LPIPS of {lpips:.3f} lies beyond the curve, so the two are not compared"
        nearer = "ours is nearer to the style" if ours < style else f"{name} is nearer to the style"
        return f"at {name}'s LPIPS of {lpips:.3f} its style distance is {style:.3f}, ours {ours:.3f}: {nearer}"
