"""Groups: stored lists of numbers a batch can be addressed to."""

import re
from dataclasses import dataclass, field
from typing import Any

from app.sandbox.api import fields
from app.sandbox.clock import format_time
from app.sandbox.errors import bad_constraint, forbidden, not_found
from app.sandbox.ids import new_id
from app.sandbox.numbers import digits_of

MAX_MEMBERS = 10_000
MAX_NAME = 20
MAX_CHILDREN = 10
_WORD = re.compile(r"\S{1,15}")

Json = dict[str, Any]


@dataclass(slots=True, eq=False)
class Group:
    id: str
    created_at: float
    modified_at: float
    name: str | None = None
    members: dict[str, None] = field(default_factory=dict)
    child_groups: list[str] = field(default_factory=list)
    auto_update: Json | None = None


class Groups:
    """All groups of the plan, by id."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def __contains__(self, group_id: str) -> bool:
        return group_id in self._groups

    def clear(self) -> None:
        self._groups.clear()

    def all(self) -> list[Group]:
        return list(self._groups.values())

    def find(self, group_id: str) -> Group:
        group = self._groups.get(group_id)
        if group is None:
            raise not_found(f"group {group_id}")
        return group

    def members(self, group_id: str) -> list[str]:
        """Its numbers and those of its child groups; none when it was deleted."""
        found: dict[str, None] = {}
        # Groups may be one another's children: each is walked once.
        seen, waiting = {group_id}, [group_id]
        while waiting:
            group = self._groups.get(waiting.pop(0))
            if group is None:
                continue
            found |= group.members
            waiting += [child for child in group.child_groups if child not in seen]
            seen.update(group.child_groups)
        return list(found)

    def create(self, raw: Json, now: float) -> Group:
        group = Group(new_id(now), now, now)
        self._fill(group, raw)
        self._groups[group.id] = group
        return group

    def replace(self, group_id: str, raw: Json, now: float) -> Group:
        group = self.find(group_id)
        if raw.get("members") is None:
            raise bad_constraint("members is required")
        self._fill(group, raw)
        group.modified_at = now
        return group

    def delete(self, group_id: str) -> None:
        self.find(group_id)
        del self._groups[group_id]

    def update(self, group_id: str, raw: Json, now: float) -> Group:
        """Adds come before removes; adding twice and removing a stranger change nothing."""
        group = self.find(group_id)
        added = fields.numbers_of(raw, "add", most=MAX_MEMBERS) or []
        removed = fields.numbers_of(raw, "remove", most=MAX_MEMBERS) or []
        added += self._members_named(raw, "add_from_group")
        removed += self._members_named(raw, "remove_from_group")
        name, auto_update = self._name_of(raw, group), _auto_update_of(raw)
        group.members |= dict.fromkeys(added)
        for number in removed:
            group.members.pop(number, None)
        group.name = name if "name" in raw else group.name
        group.auto_update = auto_update or group.auto_update
        group.modified_at = now
        return group

    def hear(self, inbound: Json) -> None:
        """Let a text's keyword put its sender into a group, or take it out."""
        if inbound["type"] != "mo_text":
            return
        words = inbound["body"].upper().split()
        for group in self._groups.values():
            rule = group.auto_update
            if rule is None or digits_of(rule["to"]) != inbound["to"]:
                continue
            if _is_called(rule.get("add"), words):
                group.members[inbound["from"]] = None
            elif _is_called(rule.get("remove"), words):
                group.members.pop(inbound["from"], None)

    def _fill(self, group: Group, raw: Json) -> None:
        members = fields.numbers_of(raw, "members", most=MAX_MEMBERS) or []
        children = fields.list_of(raw, "child_groups", least=0, most=MAX_CHILDREN) or []
        for child in children:
            self._require(child)
        name, auto_update = self._name_of(raw, group), _auto_update_of(raw)
        group.members, group.child_groups = dict.fromkeys(members), children
        group.name, group.auto_update = name, auto_update

    def _name_of(self, raw: Json, group: Group) -> str | None:
        name = fields.text_of(raw, "name", longest=MAX_NAME)
        if name is not None and any(g.name == name and g is not group for g in self.all()):
            raise forbidden("conflict_group_name", f"there is a group named {name}")
        return name

    def _members_named(self, raw: Json, name: str) -> list[str]:
        group_id = fields.text_of(raw, name, longest=2048)
        if group_id is None:
            return []
        self._require(group_id)
        return self.members(group_id)

    def _require(self, group_id: object) -> None:
        if not isinstance(group_id, str) or group_id not in self._groups:
            raise forbidden("unknown_group", f"no group {group_id}")


def group_json(group: Group) -> Json:
    found: Json = {
        "id": group.id,
        "name": group.name,
        "size": len(group.members),
        "created_at": format_time(group.created_at),
        "modified_at": format_time(group.modified_at),
        "child_groups": group.child_groups or None,
        "auto_update": group.auto_update,
    }
    return {name: value for name, value in found.items() if value is not None}


def _auto_update_of(raw: Json) -> Json | None:
    value = raw.get("auto_update")
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("to"), str):
        raise bad_constraint("auto_update.to is required")
    for side in ("add", "remove"):
        _check_words(value.get(side), side)
    return value


def _check_words(words: object, side: str) -> None:
    if words is None:
        return
    if not isinstance(words, dict):
        raise bad_constraint(f"auto_update.{side} must be an object")
    for name in ("first_word", "second_word"):
        word = words.get(name)
        if word is not None and (not isinstance(word, str) or not _WORD.fullmatch(word)):
            raise bad_constraint(f"auto_update.{side}.{name} is not one word of 1 to 15 characters")


def _is_called(trigger: Json | None, words: list[str]) -> bool:
    wanted = [trigger.get("first_word"), trigger.get("second_word")] if trigger else []
    named = [word.upper() for word in wanted if word is not None]
    return bool(named) and words[: len(named)] == named
