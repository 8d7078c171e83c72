"""How well messages are grouped into templates, and how fast.

`python -m benchmarks.grouping --logs DIR --json`, where DIR holds LogHub-2k (see
`benchmarks.loghub`). Without `--logs` a seeded set of the same kind is generated. Side by side in
one run: ours, drain3 with the masks of its own examples, drain3 alone, masks alone.

Grouping accuracy (Zhu et al., ICSE-SEIP 2019): the share of messages whose group holds exactly
the messages of their true template.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from drain3.drain import Drain

from benchmarks.loghub import Labelled, read_loghub
from homeostat.incidents import templates
from homeostat.incidents.grouping import Miner
from homeostat.incidents.templates import template_of

Grouper = Callable[[Sequence[str]], Sequence[object]]

#: The masks that drain3's `masking.py` gives as examples.
_DRAIN3_MASKS = (
    (r"((?<=[^A-Za-z0-9])|^)(([0-9a-f]{2,}:){3,}([0-9a-f]{2,}))((?=[^A-Za-z0-9])|$)", "<ID>"),
    (r"((?<=[^A-Za-z0-9])|^)(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})((?=[^A-Za-z0-9])|$)", "<IP>"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9a-f]{6,} ?){3,}((?=[^A-Za-z0-9])|$)", "<SEQ>"),
    (r"((?<=[^A-Za-z0-9])|^)([0-9A-F]{4} ?){4,}((?=[^A-Za-z0-9])|$)", "<SEQ>"),
    (r"((?<=[^A-Za-z0-9])|^)(0x[a-f0-9A-F]+)((?=[^A-Za-z0-9])|$)", "<HEX>"),
    (r"((?<=[^A-Za-z0-9])|^)([\-\+]?\d+)((?=[^A-Za-z0-9])|$)", "<NUM>"),
)
_COMPILED = tuple((re.compile(pattern), mask) for pattern, mask in _DRAIN3_MASKS)


def ours(messages: Sequence[str]) -> Sequence[object]:
    """Group as Homeostat does."""
    miner = Miner()
    numbers = [miner.add(message) for message in messages]
    return [miner.group(number) for number in numbers]


def drain3_alone(messages: Sequence[str]) -> Sequence[object]:
    """Group by drain3 with its defaults, without masks."""
    drain = Drain()
    return [drain.add_log_message(message)[0].cluster_id for message in messages]


def drain3_masked(messages: Sequence[str]) -> Sequence[object]:
    """Group by drain3 with its defaults behind its own example masks."""
    return drain3_alone([_masked(message) for message in messages])


def masks_alone(messages: Sequence[str]) -> Sequence[object]:
    """Group by our masks, without mining."""
    return [template_of(message) for message in messages]


def _masked(message: str) -> str:
    for pattern, mask in _COMPILED:
        message = pattern.sub(mask, message)
    return message


GROUPERS: dict[str, Grouper] = {
    "homeostat": ours,
    "drain3_masked": drain3_masked,
    "drain3": drain3_alone,
    "masks": masks_alone,
}


def accuracy(groups: Sequence[object], truth: Sequence[str]) -> float:
    """Return the grouping accuracy, from 0 to 1."""
    found: dict[object, set[int]] = defaultdict(set)
    real: dict[str, set[int]] = defaultdict(set)
    for number, (group, name) in enumerate(zip(groups, truth, strict=True)):
        found[group].add(number)
        real[name].add(number)
    right = sum(len(members) for members in found.values() if real[truth[min(members)]] == members)
    return right / len(truth) if truth else 1.0


class _Values:
    """Draws the values that stand in generated messages."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  # test data, not secrets

    def draw(self, kind: str) -> str:
        """Return one value of a kind."""
        pick, number = self._random.choice, self._random.randrange
        makers: dict[str, Callable[[], str]] = {
            "n": lambda: str(number(10 ** (1 + number(7)))),
            "f": lambda: f"{self._random.random() * 1000:.{1 + number(4)}f}",
            "ip": lambda: ".".join(str(number(256)) for _ in range(4)),
            "port": lambda: str(1024 + number(60_000)),
            "host": lambda: f"{pick(('db', 'node', 'web'))}-{number(40)}.lan",
            "uuid": lambda: "-".join(
                f"{number(16**width):0{width}x}" for width in (8, 4, 4, 4, 12)
            ),
            "hex": lambda: f"0x{number(16**8):08x}",
            "path": lambda: f"/srv/data/{number(99)}/part-{number(9999)}.csv",
            "user": lambda: pick(("root", "admin", "guest", "alice", "bob", "mysql", "oracle")),
            "ms": lambda: f"{number(5000)}ms" if number(2) else f"{number(900) / 100:.2f}s",
            "size": lambda: f"{number(9999)} bytes{pick(('', ' (1.5 KB)'))}",
            "date": lambda: f"2025-11-{1 + number(28):02} {number(24):02}:{number(60):02}:07",
            "q": lambda: pick(("'a b'", "'key-7'", "'x'", "'order 12 of 13'")),
            "name": lambda: pick(("ann", "", "root", "1234", "D-Link", "eve")),
            "rack": lambda: pick((f"RACK-{number(9)}B{number(9)}", f"POD-EAST{number(9)}")),
            "package": lambda: (
                f"{pick(('Tools-RDP-Core', 'Fonts', 'Image-USB-Driver', 'Shell'))}~31bf3856"
                f"~amd64~~{number(9)}.1.{number(9999)}"
            ),
            "bus": lambda: f"_SB_.BUS0.{pick(('', 'PALO.', 'PBHI.PXB1.', 'VPR0.'))}_PRT",
            "signed": lambda: str(number(12) - 2),
            "list": lambda: ", ".join(str(number(100)) for _ in range(1 + number(5))),
        }
        return makers[kind]()


#: Known templates in the manner of the sixteen systems of LogHub; `{kind}` is a value.
GENERATED: dict[str, tuple[str, ...]] = {
    "storage": (
        "Received block blk_{n} of size {n} src: /{ip}:{port} dest: /{ip}:{port}",
        "PacketResponder {n} for block blk_{n} terminating",
        "Verification succeeded for blk_{n}",
        "Deleting block blk_{n} file {path}",
        "writeBlock blk_{n} received exception java.io.IOException: Connection reset by peer",
        "Starting thread to transfer blocks {list}",
    ),
    "access": (
        "Failed password for {user} from {ip} port {port} ssh2",
        "Accepted password for {user} from {ip} port {port} ssh2",
        "Connection closed by {ip} [preauth]",
        "session opened for user {user} by (uid={n})",
        "session closed for user {user}",
        "reverse mapping checking getaddrinfo for {host} [{ip}] failed",
    ),
    "compute": (
        "[instance: {uuid}] Took {f} seconds to build instance.",
        "[instance: {uuid}] Took {f} seconds to destroy the instance on the hypervisor.",
        "[instance: {uuid}] Deletion of {path} complete",
        "[instance: {uuid}] VM Started (Lifecycle Event)",
        "[instance: {uuid}] VM Stopped (Lifecycle Event)",
        "image {uuid} at ({path}): checking",
        "Total usable vcpus: {n}, total allocated vcpus: {n}",
        "Successfully synced instances from host {q}.",
        '{ip} "GET /v2/{uuid}/servers HTTP/1.1" status: 200 len: {n} time: {f}',
        '{ip} "POST /v2/{uuid}/servers HTTP/1.1" status: 202 len: {n} time: {f}',
        "{uuid} task transitioned from RUNNING to SUCCEEDED after {ms}",
        "{uuid} task transitioned from RUNNING to FAILED after {ms}",
    ),
    "nodes": (
        "boot (command {n})",
        "halt (command {n})",
        "not responding",
        "running",
        "scheduled: waiting:{n} running:{n} failed:{n}",
        "link up on eth{n}",
        "link up on awdl{n}",
        "peer::resume: radio[enable] of {host}",
        "peer::resume: radio[disable] of {host}",
        "flush forced=true size={n}",
        "flush forced=false size={n}",
        "totalSteps={n}##{n}##{n}",
        "sync: {user} told me to run this job, but it is not due for {n} seconds",
    ),
    "machines": (
        "no route from {rack}/{ip} to {host}: no further information",
        "answered {rack} after {ms}",
        "read out the state of package {package}, state: {n}",
        "routing table [{bus}] of bridge {n}",
        "cancelNotification,index:{signed}",
        "Invalid user {name} from {ip}",
        "invalid user {name} [preauth]",
        "PROXY {ip} answered",
        "ROUTER {ip} answered",
    ),
    "tasks": (
        "Task orders.ship[{uuid}] succeeded in {ms}: None",
        "Task orders.ship[{uuid}] retry: Retry in {ms}",
        "order {n} failed: invalid literal for int() with base 10: {q}",
        "Lock {q} is held by {host}:{port} since {date}",
        "closed connection {hex}, {size} sent, {size} received, lifetime {ms}",
        "cannot write {path}: No space left on device",
        "cache miss for key {q} in {ms}",
    ),
}


def generate(messages: int, seed: int = 7) -> dict[str, list[Labelled]]:
    """Return `messages` labelled messages per generated system."""
    values = _Values(seed)
    chooser = random.Random(seed)  # noqa: S311  # test data, not secrets
    systems: dict[str, list[Labelled]] = {}
    for system, known in GENERATED.items():
        rows = []
        for _ in range(messages):
            template = chooser.choice(known)
            text = re.sub(r"\{(\w+)\}", lambda match: values.draw(match[1]), template)
            rows.append((text, template))
        systems[system] = rows
    return systems


def measure(systems: dict[str, list[Labelled]]) -> dict[str, Any]:
    """Return each grouper's accuracy per system and on average, and messages per CPU second.

    `slowest` is ours on the system that it is slowest on.
    """
    table: dict[str, dict[str, float]] = {name: {} for name in GROUPERS}
    speed: dict[str, int] = {}
    slowest: dict[str, tuple[int, str]] = {}
    for name, grouper in GROUPERS.items():
        seconds, count, rates = 0.0, 0, []
        for system, rows in systems.items():
            messages = [message for message, _ in rows]
            templates.forget_words()
            began = time.process_time()
            groups = grouper(messages)
            took = max(time.process_time() - began, 1e-6)
            rates.append((round(len(rows) / took), system))
            seconds, count = seconds + took, count + len(rows)
            table[name][system] = round(accuracy(groups, [label for _, label in rows]), 4)
        speed[name], slowest[name] = round(count / seconds), min(rates)
    own = table.pop("homeostat")
    return {
        "systems": own,
        "mean": round(fmean(own.values()), 4),
        "messages_per_s": speed["homeostat"],
        "slowest": dict(zip(("messages_per_s", "system"), slowest["homeostat"], strict=True)),
        "messages": sum(map(len, systems.values())),
        "compared": {
            name: {"mean": round(fmean(row.values()), 4), "messages_per_s": speed[name], **row}
            for name, row in table.items()
        },
    }


def _print_table(result: dict[str, Any]) -> None:
    rows = {"homeostat": {**result, **result["systems"]}, **result["compared"]}
    print(f"{'':14}" + "".join(f"{name:>15}" for name in rows))
    for line in (*result["systems"], "mean"):
        print(f"{line:14}" + "".join(f"{row[line]:15.4f}" for row in rows.values()))
    print(f"{'messages/s':14}" + "".join(f"{row['messages_per_s']:15,}" for row in rows.values()))
    least = result["slowest"]
    print(f"homeostat is slowest on {least['system']}: {least['messages_per_s']:,} messages/s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, or the JSON document."""
    parser = argparse.ArgumentParser(description="Accuracy and speed of message grouping.")
    parser.add_argument("--logs", type=Path, help="folder of LogHub-2k; without: generated logs")
    parser.add_argument(
        "--corrected", action="store_true", help="take the corrected labels where there are both"
    )
    parser.add_argument("--messages", type=int, default=5_000, help="generated, per system")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.logs:
        systems = read_loghub(options.logs, corrected=options.corrected)
    else:
        systems = generate(options.messages)
    result = {"input": "loghub" if options.logs else "generated", **measure(systems)}
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        _print_table(result)


if __name__ == "__main__":
    main()
