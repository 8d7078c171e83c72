"""Grouping of messages alike: masked first, then mined by drain3."""

from __future__ import annotations

import re
from collections.abc import Iterable

from drain3.drain import Drain
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.incidents.redaction import redactor
from homeostat.incidents.signature import Signature
from homeostat.incidents.templates import template_of
from homeostat.store.incidents import Incident

#: drain3's similarity: the share of equal words at which two messages are one template.
SIMILARITY = 0.5
#: Two levels above the leaves: number of words, and what they say.
DEPTH = 4
#: A word of letters only is part of the sentence, not a value in it, so messages that differ in
#: one are of two templates: `VM Started` and `VM Stopped`. So is what is true or false, the name
#: of a function (`Peer::resume`, `WWEN[enable]`) and of a device (`eth0`).
_PLAIN = re.compile(r"[A-Za-z][A-Za-z_-]*\Z")
_FUNCTION = re.compile(r"::|[A-Za-z]\[[A-Za-z]")
_DEVICE = re.compile(r"[a-z]{2,6}<NUM>\Z")
_BOOLEAN = re.compile(r"(?<![A-Za-z])(?:true|false)(?![A-Za-z])", re.IGNORECASE)
#: What a value is called is part of the sentence, too: `uid=0`, `status: 3`.
_CALLED = re.compile(r"[^A-Za-z<]*([A-Za-z][A-Za-z_-]*)(?:\[[^\]]*\])?[=:]")
#: `Waiting:12` is a count, which looks like a host and its port; `index:-1` is one, too.
_COUNT = re.compile(r"(?<![\w.@/-])([A-Za-z_]+):(?=-?\d{1,3}(?:\.\d+)?(?![\w:.-]))")
#: A word in capitals names a state or a kind (GET, SCREEN_ON), also within another word. Joined by
#: a hyphen, before more of a dotted name, or between digits, it is part of the name of a thing
#: (`RACK-7B2`, `Tools-RDP-Core~31`, `BUS0.BRIDGE.PORT`), so a value.
_CAPITALS = re.compile(r"(?<![<\w>-])[A-Z][A-Z_]{2,}(?![\w>-]|\.\w|<[A-Z]+>\.?\w)")
_EDGES = ",.:;!?()[]{}\"'`*="
#: A name stands behind what it is the name of, or before where it came from.
_NAMED = re.compile(r"(?i)\b((?:for )?(?:invalid )?user|account) [A-Za-z][\w.@-]*")
_CALLER = re.compile(r"(?i)\bfor [a-z][\w.@-]* (?=from <)")
#: An empty name leaves two spaces: `Invalid user  from 10.0.0.7`.
_NAMELESS = re.compile(r"(?i)\b(user|account)  (?=\S)")
#: A place in a sentence that so many words have stood in takes values, whatever they look like.
MANY = 8
#: To join two incidents takes more: nearly all words alike, because merging hides one of them.
JOIN_SIMILARITY = 0.85
MOST_GROUPS = 10_000
MOST_CANDIDATES = 200


class Miner:
    """Gives each message of a stream the number of its group.

    drain3 is fed with masked messages, those with the same plain words together; a masked message
    that was seen before needs no search, which makes a storm of alike messages cheap. Where a
    place turns out to take many words, the groups become one: ask `group` for the number then.
    """

    def __init__(self, similarity: float = SIMILARITY, *, plain: bool = True) -> None:
        """Start empty; without `plain`, plain words count no more than others."""
        self._drain = Drain(
            depth=DEPTH, sim_th=similarity, max_children=1_000, max_clusters=MOST_GROUPS
        )
        self._plain = plain
        self._known: dict[str, int] = {}
        self._places: dict[tuple[str, ...], dict[str, int]] = {}
        self._joined: dict[int, int] = {}

    def add(self, message: str) -> int:
        """Return the group's number; a new one where the message is like none before."""
        if "  " in message:
            message = _NAMELESS.sub(r"\1 <NAME> ", message)
        return self.add_masked(template_of(_COUNT.sub(r"\1=", message)))

    def add_masked(self, template: str) -> int:
        """Like `add`, for a message that is masked already."""
        number = self._known.get(template)
        if number is None:
            number = self._mined(template)
            if len(self._known) >= MOST_GROUPS:
                self._known.clear()
                self._places.clear()
            self._known[template] = number
        return self.group(number)

    def _mined(self, template: str) -> int:
        if not self._plain:
            return self._cluster("|".join(_CAPITALS.findall(template)), template)
        named = _NAMED.sub(r"\1 <NAME>", _CALLER.sub("for <NAME> ", template))
        plain = [_plain(word) for word in named.split()]
        states = [*_CAPITALS.findall(named), *_BOOLEAN.findall(named)]
        number = self._cluster("|".join([*filter(None, plain), *states]) or template, named)
        self._look_for_values(plain, number)
        return number

    def _cluster(self, key: str, template: str) -> int:
        cluster, _ = self._drain.add_log_message(f"{key.replace(' ', '|') or '-'} {template}")
        return int(cluster.cluster_id)

    def _look_for_values(self, plain: list[str], number: int) -> None:
        """Join the groups that differ in one place only, once many words have stood in it."""
        told = sum(map(bool, plain))
        if told < max(len(plain) / 2, 3):
            return
        for place, word in enumerate(plain):
            if not word or word.endswith("="):
                continue
            around = (*plain[:place], "*", *plain[place + 1 :])
            seen = self._places.setdefault(around, {})
            seen.setdefault(word, number)
            if len(seen) >= MANY:
                first = self.group(next(iter(seen.values())))
                for other in seen.values():
                    if (group := self.group(other)) != first:
                        self._joined[group] = first

    def group(self, number: int) -> int:
        """Return the number of the group that this one is part of by now."""
        while number in self._joined:
            number = self._joined[number]
        return number

    def template(self, group: int) -> str:
        """Return a group's template: the words that its messages share."""
        return str(self._drain.id_to_cluster[group].get_template()).split(" ", 1)[-1]


def _plain(word: str) -> str:
    """Return what of a word is part of the sentence, or nothing where it is all value."""
    bare = word.strip(_EDGES)
    if _PLAIN.match(bare) or _FUNCTION.search(bare) or _DEVICE.match(bare):
        return bare
    called = _CALLED.match(word)
    return f"{called[1]}=" if called else ""


def joined_group(
    template: str, others: Iterable[str], similarity: float = JOIN_SIMILARITY
) -> int | None:
    """Return the place of the first of `others` that drain3 puts in one group with `template`."""
    miner = Miner(similarity, plain=False)
    groups = [miner.add_masked(other) for other in others]
    mine = miner.add_masked(template)
    return groups.index(mine) if mine in groups else None


def alike(session: Session, signature: Signature, component: str) -> str | None:
    """Return the open incident that a failure without frames belongs to by its message, if any.

    Only incidents of the same component, type and task without frames are candidates, oldest
    first, so that the answer does not depend on the order of later reports.
    """
    candidates = [
        (incident_id, basis["template"])
        for incident_id, basis in session.execute(
            select(Incident.id, Incident.basis)
            .where(
                Incident.resolved_at.is_(None),
                Incident.component == component,
                Incident.type == signature.basis.type[:255],
            )
            .order_by(Incident.id)
            .limit(MOST_CANDIDATES)
        )
        if not basis["frames"] and basis["task"] == signature.basis.task
    ]
    if not candidates:
        return None
    # The stored templates hold no secret, so this one must not either.
    template = redactor().text(signature.basis.template)
    place = joined_group(template, [other for _, other in candidates])
    return None if place is None else candidates[place][0]
