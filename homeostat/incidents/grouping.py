"""Grouping of messages alike: masked first, then mined by drain3."""

from __future__ import annotations

import re
from collections.abc import Iterable

from drain3.drain import Drain, LogCluster
from sqlalchemy import select
from sqlalchemy.orm import Session

from homeostat.incidents.redaction import redactor
from homeostat.incidents.signature import Signature
from homeostat.incidents.templates import template_of
from homeostat.store.incidents import Incident

#: drain3's similarity: the share of equal words at which two messages are one template.
SIMILARITY = 0.5
#: Three levels above the leaves: number of words, states named, first word.
DEPTH = 5
#: A word in capitals names a state or a kind (RUNNING, GET, SCREEN_ON): it is never a value.
_CAPITALS = re.compile(r"(?<![<\w])[A-Z][A-Z_]{2,}(?![\w>])")
#: To join two incidents takes more: nearly all words alike, because merging hides one of them.
JOIN_SIMILARITY = 0.85
MOST_GROUPS = 10_000
MOST_CANDIDATES = 200


class Miner:
    """Gives each message of a stream the number of its group.

    drain3 is fed with masked messages; a masked message that was seen before needs no search,
    which is what makes a storm of alike messages cheap.
    """

    def __init__(self, similarity: float = SIMILARITY) -> None:
        self._drain = Drain(
            depth=DEPTH, sim_th=similarity, max_children=1_000, max_clusters=MOST_GROUPS
        )
        self._known: dict[str, LogCluster] = {}

    def add(self, message: str) -> int:
        """Return the group's number; a new one where the message is like none before."""
        return self.add_masked(template_of(message))

    def add_masked(self, template: str) -> int:
        """Like `add`, for a message that is masked already."""
        cluster = self._known.get(template)
        if cluster is None:
            states = "|".join(_CAPITALS.findall(template)) or "-"
            cluster, _ = self._drain.add_log_message(f"{states} {template}")
            if len(self._known) >= MOST_GROUPS:
                self._known.clear()
            self._known[template] = cluster
        return int(cluster.cluster_id)

    def template(self, group: int) -> str:
        """Return a group's template: the words that its messages share."""
        return str(self._drain.id_to_cluster[group].get_template()).split(" ", 1)[-1]


def joined_group(
    template: str, others: Iterable[str], similarity: float = JOIN_SIMILARITY
) -> int | None:
    """Return the place of the first of `others` that drain3 puts in one group with `template`."""
    miner = Miner(similarity)
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
