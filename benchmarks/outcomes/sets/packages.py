"""Packages that carry data: their download, and the files in their archives."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """A package that carries data.

    Attributes:
        archive: The name of its archive; an asterisk stands for any text.
        command: The command that downloads the archive into the working folder.
    """

    archive: str
    command: tuple[str, ...]

    def download(self, folder: Path) -> None:
        """Downloads the archive into a folder.

        Raises:
            FileNotFoundError: The command does not exist here, or fails.
        """
        program = self.command[0]
        advice = f"Download {self.archive} yourself, and give its folder with --source."
        if shutil.which(program) is None:
            raise FileNotFoundError(f"There is no {program} here. {advice}")
        done = subprocess.run(self.command, cwd=folder)  # noqa: S603
        if done.returncode != 0:
            raise FileNotFoundError(f"{' '.join(self.command)} failed. {advice}")

    def find(self, folder: Path) -> Path:
        """Returns the path of the archive in a folder.

        Raises:
            FileNotFoundError: The folder has no such archive.
        """
        found = sorted(folder.glob(self.archive))
        if not found:
            raise FileNotFoundError(f"{folder} has no {self.archive}.")
        return found[-1]

    def read(self, folder: Path, *names: str) -> list[bytes]:
        """Returns the contents of files in the archive.

        Raises:
            FileNotFoundError: The folder has no such archive, or the archive no such file.
        """
        archive = self.find(folder)
        contents = (_of_zip if archive.suffix == ".whl" else _of_tar)(archive, names)
        missing = [name for name in names if name not in contents]
        if missing:
            raise FileNotFoundError(f"{archive} has no {', '.join(missing)}.")
        return [contents[name] for name in names]


def wheel_of_pypi(name: str, version: str) -> Package:
    """Returns a package of PyPI that has a wheel for all machines."""
    return Package(f"{name}-{version}-py3-none-any.whl", _pip("--no-deps", f"{name}=={version}"))


def source_of_pypi(name: str, version: str) -> Package:
    """Returns the source of a package of PyPI, with files that a wheel may lack."""
    command = _pip("--no-deps", f"--no-binary={name}", f"{name}=={version}")
    return Package(f"{name}-{version}.tar.gz", command)


def package_of_debian(name: str) -> Package:
    """Returns a package of Debian, in the version that the machine's sources offer."""
    return Package(f"{name}_*_all.deb", ("apt-get", "download", name))


def _pip(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pip", "download", *arguments)


def _of_zip(archive: Path, names: Collection[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as file:
        return {name: file.read(name) for name in file.namelist() if name in names}


def _of_tar(archive: Path, names: Collection[str]) -> dict[str, bytes]:
    """Returns the files in one pass, since a step back in a compressed archive is slow."""
    content = _data_of_debian(archive) if archive.suffix == ".deb" else archive.read_bytes()
    contents = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as file:
        for member in file:
            if member.name in names and (opened := file.extractfile(member)):
                contents[member.name] = opened.read()
    return contents


def _data_of_debian(archive: Path) -> bytes:
    """Returns the tar archive with the files of a Debian package.

    A package is an `ar` archive: eight bytes, and then members, each of which has a header of 60
    bytes and begins at an even place.
    """
    with archive.open("rb") as file:
        file.seek(8)
        while header := file.read(60):
            name, size = header[:16].decode(), int(header[48:58])
            if name.startswith("data.tar"):
                return file.read(size)
            file.seek(size + size % 2, os.SEEK_CUR)
    raise FileNotFoundError(f"{archive} has no data.")
