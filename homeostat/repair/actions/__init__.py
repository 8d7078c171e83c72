"""The actions of playbooks: how each is carried out, how its effect is seen, how it is undone.

`observe` looks at the world and never at what `act` returned, so an action that did nothing
cannot be taken for one that worked.
"""

from __future__ import annotations

from collections.abc import Mapping

from homeostat.repair.actions.ground import Action, ActionFailedError, Ground
from homeostat.repair.actions.own_remedy import HealComponent
from homeostat.repair.actions.pools import GrowPool, RestorePool
from homeostat.repair.actions.quarantine import PurgePoison
from homeostat.repair.actions.restarts import (
    PROCESS_OF,
    Reconnect,
    ReloadConfig,
    RestartComponent,
    RestartProcess,
)
from homeostat.repair.actions.space import FreeSpace
from homeostat.repair.actions.switches import DisableModel, SetControl
from homeostat.repair.playbooks import ActionName
from homeostat.store import controls

__all__ = ["ACTIONS", "PROCESS_OF", "Action", "ActionFailedError", "Ground"]

ACTIONS: Mapping[ActionName, Action] = {
    ActionName.HEAL_COMPONENT: HealComponent(),
    ActionName.RESTART_COMPONENT: RestartComponent(),
    ActionName.RESTART_PROCESS: RestartProcess(),
    ActionName.RELOAD_CONFIG: ReloadConfig(),
    ActionName.RECONNECT: Reconnect(),
    ActionName.PAUSE_TRADING: SetControl(controls.TRADING_PAUSED),
    ActionName.SAFE_PROFILE: SetControl(controls.SAFE_PROFILE),
    ActionName.DISABLE_MODEL: DisableModel(),
    ActionName.GROW_POOL: GrowPool(),
    ActionName.RESTORE_POOL: RestorePool(),
    ActionName.PURGE_POISON: PurgePoison(),
    ActionName.FREE_SPACE: FreeSpace(),
}
