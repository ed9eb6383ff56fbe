"""Roles of users: each may do all that the one before may."""

from enum import StrEnum


class Role(StrEnum):
    """A user's permissions on the pages; the last role has all of them."""

    VIEWER = "viewer"
    AUTHOR = "author"
    SENDER = "sender"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return True if this role may do all that the other one may.

        >>> Role.SENDER.includes(Role.VIEWER), Role.SENDER.includes(Role.OPERATOR)
        (True, False)
        """
        return _RANKS[self] >= _RANKS[other]


_RANKS = {role: rank for rank, role in enumerate(Role)}

ROLE_SENTENCES = {
    Role.VIEWER: "A viewer sees broadcasts and their figures; numbers are masked.",
    Role.AUTHOR: "An author sees broadcasts, their figures and whole numbers.",
    Role.SENDER: "A sender sees broadcasts and numbers, and may pause, resume and stop broadcasts.",
    Role.OPERATOR: "An operator may do what a sender may, and decide about texts of which it is "
    "not known whether they went out.",
    Role.ADMIN: "An administrator may do everything.",
}
