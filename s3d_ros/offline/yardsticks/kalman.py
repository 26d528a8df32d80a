"""A box in the image that moves with a constant velocity: the Kalman filter that DeepSORT and ByteTrack use.

The state is the box's centre, width by height, height, and the velocities of these four. Noise grows with the box's
height: 1/20 of it for a position, 1/160 for a velocity, for each thirtieth of a second (Wojke et al., "Simple online
and realtime tracking with a deep association metric", ICIP 2017).
"""

from __future__ import annotations

import numpy as np

from s3d_ros.types import F64

_RATE_HZ = 30.0
_POSITION, _VELOCITY = 1 / 20, 1 / 160
_OBSERVE = np.eye(4, 8)


class BoxFilter:
    """Follows one box; ``box`` (4,) is left, top, width, height in pixels."""

    def __init__(self, box: F64) -> None:
        self._mean = np.concatenate([_measured(box), np.zeros(4)])
        p, v = 2 * _POSITION * self._mean[3], 10 * _VELOCITY * self._mean[3]
        self._cov = np.diag(np.square([p, p, 1e-2, p, v, v, 1e-5, v]))

    def predict(self, dt_s: float, steady_height: bool = False) -> None:
        """Move on by a time. steady_height: do not let the height change, as for a box that is not seen."""
        if steady_height:
            self._mean[7] = 0
        steps = dt_s * _RATE_HZ
        F = np.eye(8)
        F[:4, 4:] = np.eye(4) * steps
        p, v = _POSITION * self._mean[3], _VELOCITY * self._mean[3]
        noise = np.square([p, p, 1e-2, p, v, v, 1e-5, v]) * steps
        self._mean = F @ self._mean
        self._cov = F @ self._cov @ F.T + np.diag(noise)

    def correct(self, box: F64) -> None:
        """Take in where the box was seen."""
        p = _POSITION * self._mean[3]
        noise = np.diag(np.square([p, p, 1e-1, p]))
        S = _OBSERVE @ self._cov @ _OBSERVE.T + noise
        K = np.linalg.solve(S, _OBSERVE @ self._cov).T
        self._mean = self._mean + K @ (_measured(box) - self._mean[:4])
        self._cov = self._cov - K @ S @ K.T

    def box(self) -> F64:
        """Return where it is thought to be, (4,)."""
        x, y, aspect, height = self._mean[:4]
        height = max(height, 1.0)
        width = max(aspect * height, 1.0)
        return np.array([x - width / 2, y - height / 2, width, height])


def _measured(box: F64) -> F64:
    left, top, width, height = box
    return np.array([left + width / 2, top + height / 2, width / height, height])
