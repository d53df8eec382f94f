"""The maps between statistics as nodes of a graph, with roots by matrix products alone.

Contract: a covariance is `[C, C]`, a mean `[C, 1]`. Shrinkage bounds how far eigenvalues spread, so that the number of
Newton-Schulz steps is known beforehand: no loop, no branch, and every runtime runs it.
"""

import numpy as np

from uwct.export.graph import Value

# How far from 1 the eigenvalues of a matrix times the square of its inverse root may stay.
TOLERANCE = 1e-6
EPS = float(np.finfo(np.float32).eps)


def identity(like: Value, channels: int) -> Value:
    """I, `[C, C]`."""
    return like.graph.node("ConstantOfShape", [channels, channels]).node("EyeLike")


def shrink(cov: Value, channels: int, amount: float) -> tuple[Value, Value]:
    """The covariance drawn towards a multiple of I (see `statistics.shrink`), and `[1, 1]`: 1, or 0 if it is 0.

    Where it is 0, it becomes I, so that its roots are finite.
    """
    eye = identity(cov, channels)
    average = (cov * eye).sum(0, 1) / channels
    varies = average.node("Sign")
    return cov * (1 - amount) + (average * amount + (1 - varies)) * eye, varies


def steps(least: float) -> int:
    """Newton-Schulz steps that take eigenvalues from [least, 1] to 1: x becomes x ((3 - x) / 2)^2."""
    count, x = 0, least
    while 1 - x > TOLERANCE:
        count, x = count + 1, x * ((3 - x) / 2) ** 2
    return count


def roots(a: Value, channels: int, least: float) -> tuple[Value, Value]:
    """(a^(1/2), a^(-1/2)) of a symmetric matrix whose eigenvalues are at least `least` times its Frobenius norm.

    See `linalg.newton_schulz`, whose iteration this is, as often as `least` asks for.
    """
    eye = identity(a, channels)
    norm = (a * a).sum(0, 1).node("Sqrt")
    y, z = a / norm, eye
    for _ in range(steps(least)):
        t = 1.5 * eye - 0.5 * (z @ y)
        y, z = y @ t, t @ z
    return y * norm.node("Sqrt"), z / norm.node("Sqrt")


def monge(content: Value, style: Value, channels: int, least: float) -> Value:
    """The matrix of `matching.monge` between covariances whose eigenvalues are at least `least` times their norm.

    Those of the product are at least its square. Where that is less than rounding, they are lifted to it.
    """
    root, inverse = roots(content, channels, least)
    both, squared = root @ style @ root, max(least**2, EPS)
    if squared > least**2:
        norm = (both * both).sum(0, 1).node("Sqrt")
        both = both + (squared - least**2) * norm * identity(both, channels)
    middle, _ = roots(both, channels, squared)
    return inverse @ middle @ inverse


def wct(content: Value, style: Value, channels: int, least: float) -> Value:
    """The matrix of `matching.wct`, of the same."""
    return roots(style, channels, least)[0] @ roots(content, channels, least)[1]


def matrix(content: Value, style: Value, channels: int, transform: str, shrinkage: float) -> Value:
    """The matrix between the two covariances, shrunken; 0 where one of them is."""
    (content, content_varies), (style, style_varies) = (shrink(cov, channels, shrinkage) for cov in (content, style))
    transport = monge if transform == "monge" else wct
    found = transport(content, style, channels, shrinkage / channels)
    return found * (content_varies * style_varies)


def constants_masked(mean: Value, cov: Value, channels: int) -> Value:
    """The covariance with 0 for channels that vary by no more than rounding (see `Moments.cov`)."""
    rounding = mean.node("Abs").node("ReduceMax", [0], keepdims=1) * (max(channels, 4) * EPS)
    variances = (cov * identity(cov, channels)).sum(1)
    varies = variances.node("Greater", rounding * rounding).node("Cast", to=1)  # to float32
    return cov * varies * varies.mT
