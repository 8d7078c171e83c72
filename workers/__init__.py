"""How work is run: the Celery side."""

import os

# A pool child is one worker of many: numpy's own threads would only wait for each other. It is
# read when numpy is first imported, so it must stand before any component is.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
