"""The kernels of this machine, for tests that run over all of them."""

from __future__ import annotations

from segloss.sums.kernels.registry import KERNELS

BACKENDS = [kernel.name for kernel in KERNELS if not kernel.why_not_here()]
"""What `use_backend` takes here, beside "auto"."""
