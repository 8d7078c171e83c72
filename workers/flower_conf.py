"""Flower's settings: on loopback, and never without a password.

Flower reads this file as its configuration, because `workers.app` names it in the environment;
so a plain `celery -A workers.app flower` is as guarded as the one in the stack. The password is
in no argument and no variable: it stands in `flower.auth` in the state folder (0600).
"""

from homeostat.settings import settings as _settings
from workers.flower_auth import credentials as _credentials

address = "127.0.0.1"
port = _settings().flower_port or 5555
basic_auth = [":".join(_credentials(_settings().ensure_state_dir()))]
# Its table of tasks grows by some 7 kB a task until it is full: a long table looks like a leak.
max_tasks = 1_000
purge_offline_workers = 60
