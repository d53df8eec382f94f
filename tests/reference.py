"""The paper's equations in NumPy float64, by SVD as its authors' code does it: the independent answer."""

import numpy as np


def flat(x):
    return np.asarray(x, np.float64).reshape(-1, x.shape[-1])


def mean_cov(x):
    x = flat(x)
    mean = x.mean(0)
    return mean, (x - mean).T @ (x - mean) / max(len(x) - 1, 1)


def power(cov, exponent, rtol):
    u, s, _ = np.linalg.svd(cov)
    keep = s > rtol * s[0]
    return (u[:, keep] * s[keep] ** exponent) @ u[:, keep].T


def wct(content, style, rtol):
    """Whitening (eq. 3), coloring (eq. 4) and re-centering of features [H, W, C]."""
    (content_mean, content_cov), (style_mean, style_cov) = mean_cov(content), mean_cov(style)
    whitened = power(content_cov, -0.5, rtol) @ (flat(content) - content_mean).T
    return ((power(style_cov, 0.5, rtol) @ whitened).T + style_mean).reshape(content.shape)


def features(rng, height, width, channels, condition=100.0):
    """Features [H, W, C] whose population covariance has the given condition number."""
    q, _ = np.linalg.qr(rng.normal(size=(channels, channels)))
    scale = np.geomspace(1, 1 / np.sqrt(condition), channels)
    return rng.normal(size=(height, width, channels)) * scale @ q.T + rng.normal(size=channels)
