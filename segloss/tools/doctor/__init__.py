"""The diagnosis of an installation: `segloss doctor`. It needs no extra."""

from segloss.tools.doctor.diagnosis import doctor, version_text

__all__ = ["doctor", "version_text"]
