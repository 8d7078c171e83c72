"""The processes of the embedded stack, and the supervisor's configuration that runs them.

supervisord starts each, restarts what dies with a growing back-off, and stops them in the
reverse order of `priority`: workers first, Redis last.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from homeostat.settings import Settings
from homeostat.supervision.processes import supervisor_socket
from workers import control, queues

#: A process that ends sooner than this, in seconds, failed to start and is backed off from.
START_SECONDS = 3
#: Failed starts in a row (1 s, 2 s, 3 s … apart) until the supervisor gives a process up.
START_RETRIES = 8
#: How long a worker may finish its tasks at a stop: the soft shutdown's 5 s and some more.
WORKER_STOP_S = 12
#: The fix worker's children: a playbook that watches its effect for seconds must not hold up the
#: next analysis, which is to start within 2 s. A repair is claimed, so two never mend one failure.
FIX_CHILDREN = 2
#: A training of a deep model holds a child for minutes, and predictions are due every minute.
MODELS_CHILDREN = 2
CONF = "supervisord.conf"
LOGS = "logs"


@dataclass(frozen=True)
class Process:
    """One process: what it runs, when it is stopped, and by which signals.

    `module` is run with `arguments` under `workers.tether`. `orphan_signal` is what the kernel
    sends it when the supervisor is killed; `component` is its name in incidents.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    priority: int
    component: str
    group: str = ""
    stop_signal: str = "TERM"
    stop_wait_s: int = 5
    orphan_signal: str = "SIGKILL"
    listens: bool = False


def worker(name: str, node_name: str, listens_to: tuple[str, ...], size: int) -> Process:
    """Return a Celery worker of `size` pool children on those queues."""
    return Process(
        name=name,
        module="celery",
        arguments=(
            *("-A", "workers.app", "worker", "--hostname", f"{node_name}@%h"),
            *("--queues", ",".join(listens_to), "--concurrency", str(size)),
            # Mingle and gossip compare notes among peers; nothing here reads them.
            *("--without-mingle", "--without-gossip", "--loglevel", "INFO"),
        ),
        priority=900,
        component=f"workers.{node_name}",
        group="workers",
        # SIGQUIT is Celery's soft shutdown: finish for a while, then hand back what is left.
        stop_signal="QUIT",
        stop_wait_s=WORKER_STOP_S,
    )


def processes(settings: Settings) -> list[Process]:
    """Return the processes of the stack under these settings, first started first."""
    table = []
    if settings.embeds_redis:
        table.append(
            Process(
                name="redis",
                module="homeostat.store.embedded",
                arguments=(),
                priority=10,
                component="workers.redis",
                stop_wait_s=10,
                # A polite end writes the append-only file out.
                orphan_signal="SIGTERM",
            )
        )
    table += [
        Process("observer", "workers.observer", (), 20, "workers.observer", listens=True),
        Process("flower", "celery", ("-A", "workers.app", "flower"), 500, "workers.flower"),
        Process("api", "homeostat.api", (), 550, "workers.api"),
        Process(
            "beat",
            "celery",
            ("-A", "workers.app", "beat", "--pidfile=", "--loglevel", "INFO"),
            600,
            "workers.beat",
        ),
        worker("fix_worker", control.FIX, (queues.FIX_ANALYSIS,), FIX_CHILDREN),
        *_main_workers(settings.worker_concurrency),
    ]
    return table


def _main_workers(size: int) -> list[Process]:
    """Return the main worker, and a worker of their own for the long trainings of `[deep]`."""
    if importlib.util.find_spec("neuralforecast") is None:
        return [worker("worker", control.MAIN, (*queues.MAIN_QUEUES, queues.MODELS), size)]
    return [
        worker("models_worker", control.MODELS, (queues.MODELS,), MODELS_CHILDREN),
        worker("worker", control.MAIN, queues.MAIN_QUEUES, size),
    ]


def write_configuration(settings: Settings) -> Path:
    """Write the supervisor's configuration into the state folder and return its path."""
    folder = settings.ensure_state_dir()
    (folder / LOGS).mkdir(mode=0o700, exist_ok=True)
    socket = supervisor_socket(settings)
    socket.parent.mkdir(mode=0o700, exist_ok=True)
    sections = [_section("unix_http_server", {"file": str(socket), "chmod": "0700"})]
    sections.append(
        _section(
            "supervisord",
            {
                "logfile": str(folder / LOGS / "supervisord.log"),
                "logfile_maxbytes": "5MB",
                "pidfile": str(folder / "supervisord.pid"),
                "childlogdir": str(folder / LOGS),
                "loglevel": "info",
                "identifier": "homeostat",
                "nodaemon": "true",
                # Descriptors are the supervisor's own business; the default asks for 1,024.
                "minfds": "256",
                "minprocs": "64",
            },
        )
    )
    sections.append(
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": ("supervisor.rpcinterface:make_main_rpcinterface")},
        )
    )
    table = processes(settings)
    sections += [_program(process, folder / LOGS, restart=settings.recovery) for process in table]
    members = [process.name for process in table if process.group == "workers"]
    sections.append(
        _section("group:workers", {"programs": ",".join(members), "priority": "900"}),
    )
    path = folder / CONF
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join(sections))
    return path


def _program(process: Process, logs: Path, *, restart: bool) -> str:
    words = (
        *(sys.executable, "-m", "workers.tether", process.orphan_signal, process.module),
        *process.arguments,
    )
    values = {
        "command": shlex.join(words),
        "priority": str(process.priority),
        # The stack starts them itself, once Redis answers and the schema is there.
        "autostart": "false",
        # In a control run nothing is restarted.
        "autorestart": "true" if restart else "false",
        "startsecs": str(START_SECONDS),
        "startretries": str(START_RETRIES),
        "stopsignal": process.stop_signal,
        "stopwaitsecs": str(process.stop_wait_s),
        # What a killed process started in its group must not live on.
        "killasgroup": "true",
        "stderr_logfile_maxbytes": "5MB",
        "stderr_logfile_backups": "2",
    }
    if process.listens:
        # Its standard output is the protocol between the supervisor and its listener.
        values |= {
            "events": "PROCESS_STATE_EXITED,PROCESS_STATE_BACKOFF,PROCESS_STATE_FATAL",
            "buffer_size": "1000",
            "stderr_logfile": str(logs / f"{process.name}.log"),
        }
        return _section(f"eventlistener:{process.name}", values)
    values |= {
        "redirect_stderr": "true",
        "stdout_logfile": str(logs / f"{process.name}.log"),
        "stdout_logfile_maxbytes": "5MB",
        "stdout_logfile_backups": "2",
    }
    return _section(f"program:{process.name}", values)


def _section(name: str, values: dict[str, str]) -> str:
    # A percent sign starts a replacement in the supervisor's files.
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in values.items()]
    return "\n".join([f"[{name}]", *lines, ""])
