"""Whether a file lies on a drive of this machine, which SQLite needs: its log is shared memory."""

from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_OVER_A_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "smb3", "smbfs"}
)


def find_network(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of network file system that a path lies on, or none, or none that is known.

    Args:
        path: Of a file or folder; what does not exist yet will lie where its parent does.
        mounts: A list as in proc(5), "/proc/pid/mountinfo": the fifth word of a line is where it is
            mounted, and the first behind the single hyphen is its kind.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return None
    place = path.resolve()
    kinds: dict[Path, str] = {}
    for line in lines:
        where, _, what = line.partition(" - ")
        folder = where.split()[4].replace("\\040", " ")
        kinds[Path(folder)] = what.split()[0]
    nearest = next((each for each in (place, *place.parents) if each in kinds), None)
    kind = None if nearest is None else kinds[nearest]
    return kind if kind in _OVER_A_NETWORK else None
