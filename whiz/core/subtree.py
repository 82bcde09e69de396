"""Where in the tree of cgroups programs live: in a unit of their own, whoever takes the turns."""

PROGRAMS = "whiz-programs.service"


def cgroup(uid: int) -> str:
    """Return where the programs of this user's home live, below the mount; root's home is the system's."""
    above = "system.slice" if uid == 0 else f"user.slice/user-{uid}.slice/user@{uid}.service/app.slice"
    return f"/{above}/{PROGRAMS}"
