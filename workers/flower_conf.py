"""Flower's settings: on loopback, and never without a password.

Flower reads this file as its configuration, because `workers.app` names it in the environment;
so a plain `celery -A workers.app flower` is as guarded as the one in the stack. The password is
in no argument and no variable: it stands in `flower.auth` in the state folder (0600).
"""

import gc as _gc

from homeostat.settings import settings as _settings
from workers.flower_auth import credentials as _credentials

address = "127.0.0.1"
port = _settings().flower_port or 5555
basic_auth = [":".join(_credentials(_settings().ensure_state_dir()))]
# A table that fills looks like a leak while it does: this one is full within minutes.
max_tasks = 300
purge_offline_workers = 60

# A task that the table drops is part of a reference cycle, and Python puts off the collection that
# frees it until a quarter of all objects are new. With the imports counted that comes after some
# 6,000 tasks and 12 MB, in steps; without them, and looked for more often, after some hundreds.
_gc.collect()
_gc.freeze()
_gc.set_threshold(700, 5, 1)
