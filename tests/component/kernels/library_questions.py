"""Questions with the text that answers them: what the librarian's recall is measured on."""

#: Runbooks of a user, by file name.
RUNBOOKS = {
    "venue-ban.md": (
        "# The venue bans us\nThe exchange answers 418 or 429: too many requests from "
        "this address. Stop sending; wait until the ban ends, then lower the weight "
        "limit. Orders that stand are still protected."
    ),
    "disk.md": (
        "# The disk runs full\n`df -h` shows no space left on the device that holds the"
        " state folder. Delete old reports first, then thin the snapshots, then the "
        "logs. Never delete the database or its write-ahead log."
    ),
    "certificate.md": (
        "# The proxy's certificate has run out\nBrowsers warn that the connection is "
        "not private. Renew the certificate, reload nginx, look at the date of expiry "
        "again."
    ),
    "clock.md": (
        "# The host's clock has drifted\nThe exchange rejects requests whose timestamp "
        "lies outside its window. Look at chrony's offset; step the clock, and restart "
        "nothing."
    ),
    "restore.md": (
        "# Restoring the database\nStop the stack. Copy last night's backup into the "
        "state folder, run the migrations, verify the audit log, and start again."
    ),
    "upgrade.md": (
        "# Upgrading\nDrain the queues, stop the workers, install the new version, "
        "migrate the schema forward, start the stack; old messages are still "
        "understood."
    ),
    "on-call.md": (
        "# On call\nWeekdays: Ada. Weekend: Grace, by telephone. Whoever is called "
        "writes into the incident what they did."
    ),
}
ASKED_OF_RUNBOOKS = {
    "the exchange banned our address": "venue-ban.md",
    "orders are refused with too many requests": "venue-ban.md",
    "the disk is full": "disk.md",
    "no space left on the device": "disk.md",
    "certificate expired on the proxy": "certificate.md",
    "browser says the connection is not private": "certificate.md",
    "clock of the host is wrong": "clock.md",
    "timestamps rejected by the exchange": "clock.md",
    "restore the database from last night's backup": "restore.md",
    "how do I roll the schema forward": "upgrade.md",
    "upgrading to a new version without losing messages": "upgrade.md",
    "who is on call at the weekend": "on-call.md",
}
ASKED_OF_PAGES = {
    "how do I let the agent mend my own repository": "how-to-your-own-repository.md",
    "hostile programs that tried to break out of the sandbox": "adversary.md",
    "what does the word signature mean": "glossary.md",
    "which kernels are there and what do they publish": "kernels.md",
    "how is an incident deduplicated under one signature": "incidents.md",
    "chaos waves and their control run": "stress-and-chaos.md",
    "when is a challenger promoted": "trading.md",
    "what did we decide about due times and the epoch": "decisions.md",
    "HTTP API token and pages": "api.md",
    "floors of the architecture, imports point down": "architecture.md",
}
ASKED_OF_CODE = {
    "verify the audit chain's rows and hashes": "store.chain.verify_chain",
    "sign a checkpoint with HMAC": "store.checkpoints.sign",
    "Theil-Sen slope of memory samples": "kernels.infrastructure_manager.slopes.slope_per_minute",
    "rotate the encryption key of secrets": "kernels.secret_manager.SecretManager.rotate_key",
    "take the beat's lock": "store.beat.take",
    "change an entry's interval while it beats": "kernels.scheduler.SchedulerKernel.set_interval",
    "spend an approval at most once": "kernels.governance.Governance.use",
    "purge a poison message": "repair.actions.quarantine.PurgePoison",
    "grow the worker pool": "repair.actions.pools.GrowPool",
    "take a snapshot and restore it into a scratch place": "supervision.snapshots.take",
    "playbooks fitting an error type": "repair.playbooks.fitting",
    "point the model's name to the older artefact": (
        "trading.retraining_orchestrator.RetrainingOrchestrator.rollback"
    ),
    "due times of a beat entry between two moments": "supervision.cadence.due_between",
    "plan for an incident and its route": "kernels.agentic_spine.AgenticSpine.plan",
}
#: Question → the source that answers it, or the page or class that it is part of.
LABELLED = {
    **{question: f"runbook:{name}" for question, name in ASKED_OF_RUNBOOKS.items()},
    **{question: f"page:docs/{name}" for question, name in ASKED_OF_PAGES.items()},
    **{question: f"docstring:homeostat.{name}" for question, name in ASKED_OF_CODE.items()},
}
