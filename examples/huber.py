import numpy as np


class Huber:
    """Linear regression with Huber's loss: squares near 0, absolute values farther out."""

    def __init__(self, data, width=1.0, l2=0.001):  # one rank's data; the rest are settings
        self.data, self.width, self.l2 = data, width, l2
        self.dim = data.x.shape[1] + 1  # the last parameter is the bias

    def loss(self, w, rng=None):
        return self._mean(self.data.y - self.data.x @ w[:-1] - w[-1]) + self.l2 / 2 * w @ w

    def grad(self, w, rng=None):
        rest = self.data.y - self.data.x @ w[:-1] - w[-1]
        slope = -np.clip(rest, -self.width, self.width) / len(rest)
        return self.l2 * w + np.append(slope @ self.data.x, slope.sum())

    def evaluate(self, w):
        return {"test_loss": self._mean(self.data.test_y - self.data.test_x @ w[:-1] - w[-1])}

    def _mean(self, rest):
        near = np.minimum(np.abs(rest), self.width)
        return float(np.mean(near * (np.abs(rest) - near / 2)))
