"""The ground floor: checks of arguments, precision, constants on a device, tracers, ranks."""
