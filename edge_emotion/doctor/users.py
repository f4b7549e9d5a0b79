"""Names of users and groups; a number where the system has no name for it."""

from __future__ import annotations

import grp
import os
import pwd


def user_name(number: int | None = None) -> str:
    """Of this user id, by default of the one that this process acts as."""
    number = os.geteuid() if number is None else number
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def group_name(number: int) -> str:
    """Of this group id."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def is_member(user: str, group: str) -> bool:
    """True if the system's list of groups has the user in it; a process has the groups of when it began."""
    try:
        return user in grp.getgrnam(group).gr_mem
    except KeyError:
        return False
