"""The lowest layer: argument checks, precision, constants on a device, tracing, and ranks.

Every part of segloss imports this layer, so its import checks whether files are missing or belong
to another project.
"""

from segloss.foundation.installation.mixture import warn_of_damage

warn_of_damage()
