"""The main job: plan, run, evidence, verdict, report."""
