"""The workload: nine trading subsystems, and the flow that composes them."""
