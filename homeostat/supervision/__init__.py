"""How components are supervised: one check, the lease it earns, states, boot, cadence."""
