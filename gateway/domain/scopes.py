"""Scope: the set of enterprises a caller may see. Every repository method takes one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """`enterprises` = ids the caller may see; None = all of this installation (its operator's command line)."""

    enterprises: frozenset[str] | None

    def allows(self, enterprise: str) -> bool:
        """True if the caller may see this enterprise."""
        return self.enterprises is None or enterprise in self.enterprises

    def only(self, enterprise: str) -> "Scope":
        """The part of this scope that is one enterprise (empty when it was not in it)."""
        return Scope(frozenset({enterprise})) if self.allows(enterprise) else Scope(frozenset())


EVERYTHING = Scope(None)


def scope_of(*enterprises: str) -> Scope:
    """The scope of these enterprises."""
    return Scope(frozenset(enterprises))
