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

    def place(self, name: str, *, lpips: float, style: float) -> str:
        """One sentence about a result of others: whether it lies above or below the curve, and what that means."""
        curve = self.at(lpips)
        if curve is None:
            ends = f"{self.lpips.min():.3f} to {self.lpips.max():.3f}"
            return f"{name} has LPIPS {lpips:.3f}, beyond the curve's {ends}, so is not compared"
        lies = "below" if style < curve else "above" if style > curve else "on"
        nearer = {"below": f": {name} is nearer to the style", "above": ": ours is nearer to the style", "on": ""}[lies]
        return f"{name} lies {lies} the curve (at LPIPS {lpips:.3f}, {style:.3f} against {curve:.3f}){nearer}"
