"""Programs of others that Twinlock runs: coin nodes, and what only tests need.

A program found on this machine is used as it is. One that is missing comes from Debian's own packages, with
the libraries it needs, unpacked into a private prefix: nothing is installed, no right beyond the user's is
needed, and removing the prefix removes everything. apt resolves, downloads and verifies in a state of its
own, from the mirror that this machine's apt already uses, checked against the Debian archive's keys.

The prefix is ``$TWINLOCK_PROGRAMS``, else ``twinlock/programs`` in the user's cache folder, so that every
checkout shares one. ``python -m twinlock.simnet.programs bitcoin litecoin`` fills it. This module needs nothing but
the standard library, so that it also runs before anything else is installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from twinlock.errors import TwinlockError

Say = Callable[[str], None]
"""Receives one line of progress."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
LIBRARIES = r"lib.*|zlib1g"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One package of Debian with the programs that are wanted from it.

    programs: command name and its path inside the unpacked tree.
    suites: where the package and its libraries come from, newest last.
    keep: names of the dependencies to unpack besides the package; the others belong to a whole system.
    elsewhere: patterns of absolute paths where a system keeps the program off PATH; they win over PATH,
        because Debian's command of the same name can be a script that writes into the home folder.
    beside: further packages to take without their dependencies.
    launch: arguments that the wrapper puts before the user's; ``$R`` is the tree.
    environment: what the wrapper sets; ``$R`` is the tree.
    probe: arguments with which the first program says its version and does nothing else.
    own_loader: run with the tree's own C library, as for programs of a newer Debian.
    """

    package: str
    programs: dict[str, str]
    suites: tuple[str, ...] = ("bookworm",)
    keep: str = LIBRARIES
    elsewhere: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    launch: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    own_loader: bool = True
    probe: tuple[str, ...] = ("--version",)


POSTGRES_BIN = "usr/lib/postgresql/15/bin"

BUNDLES = {
    "bitcoin": Bundle("bitcoin-knots", {"bitcoind": "usr/bin/bitcoind"}, ("trixie", "trixie-backports")),
    "litecoin": Bundle(
        "litecoind", {"litecoind": "usr/lib/litecoin/litecoind"}, elsewhere=("/usr/lib/litecoin/litecoind",)
    ),
    "electrum": Bundle(
        "python3-electrum",
        {"electrum": "usr/bin/python3.11"},
        keep=rf"{LIBRARIES}|python3.*|media-types",
        beside=("electrum",),
        launch=("$R/usr/bin/electrum",),
        environment={"PYTHONHOME": "$R/usr", "PYTHONPATH": "$R/usr/lib/python3/dist-packages"},
        probe=("--offline", "--dir", "/nonexistent", "--help"),
    ),
    "ngircd": Bundle("ngircd", {"ngircd": "usr/sbin/ngircd"}, elsewhere=("/usr/sbin/ngircd",)),
    "postgres": Bundle(
        "postgresql-15",
        {name: f"{POSTGRES_BIN}/{name}" for name in ("postgres", "initdb")},
        # PostgreSQL starts its own programs by path, so they must run with the system's C library;
        # LLVM (for its just-in-time compiler) is most of the download and stays out.
        keep=r"lib(?!c6$|llvm).*|zlib1g|postgresql-client-15",
        elsewhere=("/usr/lib/postgresql/*/bin/{program}",),
        own_loader=False,
    ),
    "chromium": Bundle(
        "chromium",
        {"chromium": "usr/lib/chromium/chromium"},
        # It starts itself again by path for each of its processes, so they too use the system's C library.
        keep=r"lib(?!c6$|llvm|.*-mesa-dri$).*|zlib1g|chromium-common",
        elsewhere=("/usr/lib/chromium/chromium",),
        own_loader=False,
    ),
}
"""Every bundle by name."""

HEADERS = Bundle("libpython3.11-dev", {}, keep="")
HEADER_FOLDERS = ("usr/include/python3.11", "usr/include")
"""What a compiler must read to make extensions of Debian's Python 3.11, and where in its tree."""

OWNER = {program: name for name, bundle in BUNDLES.items() for program in bundle.programs}
"""The bundle that each program belongs to."""


class ProgramError(TwinlockError):
    """A program of others is missing and could not be fetched."""

    code = "simnet.program"
    fault = "machine"


def prefix() -> Path:
    """The folder that holds what was fetched; it need not exist."""
    if chosen := os.environ.get("TWINLOCK_PROGRAMS"):
        return Path(chosen).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "twinlock" / "programs"


def find(program: str) -> Path | None:
    """The program as it can be started, or None: the system's own first, then the fetched one."""
    bundle = BUNDLES[OWNER[program]]
    for pattern in bundle.elsewhere:
        for path in sorted(Path("/").glob(pattern.format(program=program).lstrip("/")), reverse=True):
            return path
    if on_path := shutil.which(program):
        return Path(on_path)
    fetched = prefix() / "bin" / program
    return fetched if fetched.exists() else None


def need(program: str, say: Say) -> Path:
    """The program as it can be started, fetched first when it is missing.

    Raises ProgramError when it can be neither found nor fetched.
    """
    if (path := find(program)) is None:
        fetch(OWNER[program], say)
        path = prefix() / "bin" / program
    return path


def fetch(name: str, say: Say) -> None:
    """Unpack a bundle into the prefix, whether or not the system has its programs.

    Safe to call from several processes at once. Raises ProgramError.
    """
    bundle, root = BUNDLES[name], prefix()
    with _locked(root):
        if all((root / "bin" / program).exists() for program in bundle.programs):
            return
        _unpack(name, bundle, root, say)
        for program, inside in bundle.programs.items():
            _write_wrapper(root, name, program, inside)
        say(f"{name}: {_probe(name)}")


def fetch_headers(say: Say) -> tuple[Path, ...]:
    """The folders with the C headers of Debian's Python 3.11, for a system that has the interpreter alone.

    Raises ProgramError.
    """
    root = prefix()
    folders = tuple(root / "headers" / inside for inside in HEADER_FOLDERS)
    with _locked(root):
        if not (folders[0] / "Python.h").exists():
            _unpack("headers", HEADERS, root, say)
    return folders


def main(arguments: Sequence[str]) -> int:
    """Make sure that the programs of the bundles named are there; the exit status counts those that are not.

    `headers`, alone, is no bundle of programs: the folders to include are printed, as a compiler's CPATH.
    """
    missing = 0
    if arguments == ["headers"]:
        print(os.pathsep.join(map(str, fetch_headers(lambda line: print(line, file=sys.stderr)))))  # noqa: T201
        return 0
    for name in arguments or BUNDLES:
        for program in BUNDLES[name].programs:
            try:
                print(need(program, lambda line: print(line, flush=True)))  # noqa: T201
            except ProgramError as error:
                print(f"{program}: {error}. {error.fix}", file=sys.stderr)  # noqa: T201
                missing += 1
    return missing


class _Apt:
    """apt with a state, cache and sources of its own under `root`."""

    def __init__(self, root: Path, suites: Sequence[str]) -> None:
        self.root = root
        for folder in ("state/lists/partial", "cache/archives/partial", "debs"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "status").write_text("")
        mirror = _mirror()
        sources = "".join(f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in suites)
        (root / "sources.list").write_text(sources)
        settings = {
            "Dir::State": root / "state",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "Dir::Cache::pkgcache": "pkgcache.bin",  # systems in containers keep none, and read all lists each time
            "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
            "Dir::Etc::SourceList": root / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "Dir::Etc::Trusted": "/dev/null",
            "Dir::Etc::TrustedParts": "/dev/null",
            "Acquire::AllowInsecureRepositories": "false",
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled": "false",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
            "APT::Get::AllowUnauthenticated": "false",
            "APT::Get::List-Cleanup": "false",
            "APT::Sandbox::User": "",
        }
        self._options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        self._run("update")

    def closure(self, bundle: Bundle) -> list[str]:
        """``name=version`` of the package and of every dependency worth keeping, as apt's solver chose them."""
        target = f"{bundle.package}/{bundle.suites[-1]}"
        plan = self._run("install", "--simulate", "--yes", "--no-install-recommends", target)
        chosen = re.findall(r"^Inst (\S+) \((\S+)", plan, re.MULTILINE)
        keep = re.compile(bundle.keep)
        return [f"{name}={version}" for name, version in chosen if name == bundle.package or keep.fullmatch(name)]

    def download(self, packages: Sequence[str]) -> list[Path]:
        """The .deb files of these packages, verified."""
        self._run("download", *packages)
        return sorted((self.root / "debs").glob("*.deb"))

    def _run(self, *arguments: str) -> str:
        return _run(["apt-get", "-q", *self._options, *arguments], folder=self.root / "debs")


def _unpack(name: str, bundle: Bundle, root: Path, say: Say) -> None:
    """Fetch a bundle's packages and unpack them into a tree of that name, in the place of an older one."""
    apt = _Apt(root / "apt" / name, bundle.suites)
    say(f"{name}: asking Debian's archive ({', '.join(bundle.suites)})")
    wanted = [item for item in apt.closure(bundle) if item.split("=")[0] not in bundle.beside]
    say(f"{name}: fetching {bundle.package} and {len(wanted) - 1} packages that it needs")
    tree = root / name
    shutil.rmtree(tree, ignore_errors=True)
    for deb in apt.download([*wanted, *bundle.beside]):
        _run(["dpkg-deb", "--extract", str(deb), str(tree)])
    shutil.rmtree(apt.root)


def _mirror() -> str:
    """The address from which this machine's apt takes Debian's main archive."""
    if not KEYRING.exists() or shutil.which("apt-get") is None:
        raise ProgramError("this is no Debian system", fix="Put bitcoind and litecoind on PATH and try again.")
    with Path("/etc/os-release").open() as lines:
        release = dict(line.rstrip().replace('"', "").split("=", 1) for line in lines if "=" in line)
    codename = release.get("VERSION_CODENAME", "bookworm")
    targets = _run(["apt-get", "indextargets", "--format", "$(RELEASE) $(COMPONENT) $(REPO_URI)"])
    for line in targets.splitlines():
        suite, component, address = line.split(" ", 2)
        if (suite, component) == (codename, "main"):
            return address
    raise ProgramError("apt has no source for Debian's main archive", fix=f"Add {codename} main to apt's sources.")


def _write_wrapper(root: Path, name: str, program: str, inside: str) -> None:
    """``bin/PROGRAM``: starts the tree's program with the tree's libraries, wherever the prefix was moved."""
    bundle, tree = BUNDLES[name], root / name
    folders = sorted({path.parent.relative_to(tree) for path in tree.rglob("lib*.so*")})
    # libpulse looks for its own half at a fixed place of the system; here it has to be told.
    plain = [folder for folder in folders if re.fullmatch(r"(usr/)?lib(/[^/]+-linux-gnu(/pulseaudio)?)?", str(folder))]
    libraries = ":".join(f"$R/{folder}" for folder in plain)
    started = " ".join(f'"{part}"' for part in (f"$R/{inside}", *bundle.launch))
    lines = ["#!/bin/sh", f'R=$(dirname "$(readlink -f "$0")")/../{name}']
    lines += [f'export {key}="{value}"' for key, value in bundle.environment.items()]
    if bundle.own_loader:
        loader = min(tree.glob("**/ld-linux*.so.*"), key=lambda path: len(path.parts)).relative_to(tree)
        lines.append(f'exec "$R/{loader}" --library-path "{libraries}" {started} "$@"')
    else:
        lines += [f'export LD_LIBRARY_PATH="{libraries}"', f'exec {started} "$@"']
    target = root / "bin" / program
    target.parent.mkdir(exist_ok=True)
    draft = target.with_name(f".{program}.{os.getpid()}")
    draft.write_text("\n".join(lines) + "\n")
    draft.chmod(0o755)
    draft.rename(target)


def _probe(name: str) -> str:
    """The first line that the fetched program says of itself; ProgramError when it does not run."""
    path = prefix() / "bin" / next(iter(BUNDLES[name].programs))
    try:
        return _run([str(path), *BUNDLES[name].probe]).splitlines()[0]
    except ProgramError:
        path.unlink()
        raise


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(command: list[str], folder: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()
        raise ProgramError(
            f"{Path(command[0]).name} failed: {said[-1] if said else error.returncode}",
            fix="Check the network and apt's sources, or put the program on PATH.",
        ) from error
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
