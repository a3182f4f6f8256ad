"""The lowest layer: argument checks, precision, constants on a device, tracing, and ranks."""
