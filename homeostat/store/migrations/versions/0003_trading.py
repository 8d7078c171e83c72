"""The trading wing: rules in force, decisions, the book, models, hook firings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from homeostat.store.base import JSON, UtcDateTime

revision = "0003_trading"
down_revision = "0002_incidents"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables; models before their aliases and cycles before their decisions."""
    _books()
    _decision_cycles()
    _directive_acks()
    _directives()
    _equity_points()
    _hook_firings()
    _model_artifacts()
    _model_outcomes()
    _model_records()
    _orders()
    _positions()
    _reservations()
    _retraining_decisions()
    _safety_policies()
    _universe_members()
    _universe_snapshots()
    _decisions()
    _model_aliases()


def downgrade() -> None:
    """Drop the tables."""
    for table in (
        "model_aliases",
        "decisions",
        "universe_snapshots",
        "universe_members",
        "safety_policies",
        "retraining_decisions",
        "reservations",
        "positions",
        "orders",
        "model_records",
        "model_outcomes",
        "model_artifacts",
        "hook_firings",
        "equity_points",
        "directives",
        "directive_acks",
        "decision_cycles",
        "books",
    ):
        op.drop_table(table)


def _books() -> None:
    op.create_table(
        "books",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("equity", sa.Double(), nullable=False),
        sa.Column("peak_equity", sa.Double(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("drawdown_level", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_books")),
    )


def _decision_cycles() -> None:
    op.create_table(
        "decision_cycles",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("book", sa.String(length=16), nullable=False),
        sa.Column("inputs", JSON, nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision_cycles")),
        sa.UniqueConstraint("book", "due_at", name="uq_decision_cycles_book_due_at"),
    )
    op.create_index(op.f("ix_decision_cycles_due_at"), "decision_cycles", ["due_at"], unique=False)


def _directive_acks() -> None:
    op.create_table(
        "directive_acks",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("component", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("version", "component", name=op.f("pk_directive_acks")),
    )


def _directives() -> None:
    op.create_table(
        "directives",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("issued_at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("health", sa.String(length=16), nullable=False),
        sa.Column("allow_new_trades", sa.Boolean(), nullable=False),
        sa.Column("reduce_global_risk", sa.Boolean(), nullable=False),
        sa.Column("scale_position_sizes", sa.Double(), nullable=False),
        sa.Column("min_confidence", sa.Double(), nullable=False),
        sa.Column("max_positions", sa.Integer(), nullable=False),
        sa.Column("max_leverage", sa.Double(), nullable=False),
        sa.Column("max_concentration", sa.Double(), nullable=False),
        sa.Column("reasons", JSON, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_directives")),
    )


def _equity_points() -> None:
    op.create_table(
        "equity_points",
        sa.Column("book", sa.String(length=16), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("equity", sa.Double(), nullable=False),
        sa.Column("open_positions", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("book", "at", name=op.f("pk_equity_points")),
    )


def _hook_firings() -> None:
    op.create_table(
        "hook_firings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("hook", sa.String(length=48), nullable=False),
        sa.Column("fired", sa.Boolean(), nullable=False),
        sa.Column("artefact", sa.String(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hook_firings")),
        sa.UniqueConstraint("run_id", "hook", name="uq_hook_firings_run_id_hook"),
    )
    op.create_index(op.f("ix_hook_firings_at"), "hook_firings", ["at"], unique=False)
    op.create_index(op.f("ix_hook_firings_run_id"), "hook_firings", ["run_id"], unique=False)


def _model_artifacts() -> None:
    op.create_table(
        "model_artifacts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("trained_at", UtcDateTime(), nullable=False),
        sa.Column("samples", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_artifacts")),
    )
    op.create_index(
        "ix_model_artifacts_name_state", "model_artifacts", ["name", "state"], unique=False
    )


def _model_outcomes() -> None:
    op.create_table(
        "model_outcomes",
        sa.Column("decision_id", sa.String(length=96), nullable=False),
        sa.Column("model", sa.String(length=48), nullable=False),
        sa.Column("symbol", sa.String(length=48), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("won", sa.Boolean(), nullable=False),
        sa.Column("r", sa.Double(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_model_outcomes")),
    )
    op.create_index("ix_model_outcomes_model_at", "model_outcomes", ["model", "at"], unique=False)


def _model_records() -> None:
    op.create_table(
        "model_records",
        sa.Column("model", sa.String(length=48), nullable=False),
        sa.Column("longs", sa.Integer(), nullable=False),
        sa.Column("shorts", sa.Integer(), nullable=False),
        sa.Column("outcomes", sa.Integer(), nullable=False),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("sum_r", sa.Double(), nullable=False),
        sa.Column("gross_profit", sa.Double(), nullable=False),
        sa.Column("gross_loss", sa.Double(), nullable=False),
        sa.Column("brier", sa.Double(), nullable=True),
        sa.Column("calibration_error", sa.Double(), nullable=True),
        sa.Column("rank", sa.Double(), nullable=True),
        sa.Column("blocked_side", sa.Integer(), nullable=False),
        sa.Column("health", sa.String(length=12), nullable=False),
        sa.Column("drift", JSON, nullable=False),
        sa.Column("abstained", JSON, nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_model_records")),
    )


def _orders() -> None:
    op.create_table(
        "orders",
        sa.Column("client_id", sa.String(length=36), nullable=False),
        sa.Column("decision_id", sa.String(length=96), nullable=False),
        sa.Column("book", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.String(length=48), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("trigger", sa.Double(), nullable=True),
        sa.Column("reduce_only", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("price", sa.Double(), nullable=True),
        sa.Column("fee", sa.Double(), nullable=False),
        sa.Column("slippage", sa.Double(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_orders")),
    )
    op.create_index(op.f("ix_orders_decision_id"), "orders", ["decision_id"], unique=False)
    op.create_index("ix_orders_resting", "orders", ["state", "book"], unique=False)


def _positions() -> None:
    op.create_table(
        "positions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("decision_id", sa.String(length=96), nullable=False),
        sa.Column("book", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.String(length=48), nullable=False),
        sa.Column("model", sa.String(length=48), nullable=False),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Double(), nullable=False),
        sa.Column("first_quantity", sa.Double(), nullable=False),
        sa.Column("entry", sa.Double(), nullable=False),
        sa.Column("stop", sa.Double(), nullable=False),
        sa.Column("take_profit", sa.Double(), nullable=False),
        sa.Column("trail", sa.Double(), nullable=False),
        sa.Column("partial", sa.Double(), nullable=False),
        sa.Column("partial_taken", sa.Boolean(), nullable=False),
        sa.Column("risk_per_unit", sa.Double(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("mark", sa.Double(), nullable=False),
        sa.Column("peak_r", sa.Double(), nullable=False),
        sa.Column("adds", sa.Integer(), nullable=False),
        sa.Column("bars", sa.Integer(), nullable=False),
        sa.Column("label", sa.String(length=8), nullable=False),
        sa.Column("pending_label", sa.String(length=8), nullable=False),
        sa.Column("advice", sa.String(length=12), nullable=False),
        sa.Column("costs", sa.Double(), nullable=False),
        sa.Column("realised", sa.Double(), nullable=False),
        sa.Column("marked_at", UtcDateTime(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("exit_rule", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_positions")),
        sa.UniqueConstraint("decision_id", name=op.f("uq_positions_decision_id")),
    )
    op.create_index("ix_positions_open", "positions", ["book", "closed_at"], unique=False)


def _reservations() -> None:
    op.create_table(
        "reservations",
        sa.Column("decision_id", sa.String(length=96), nullable=False),
        sa.Column("book", sa.String(length=16), nullable=False),
        sa.Column("symbol", sa.String(length=48), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("risk", sa.Double(), nullable=False),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.Column("notional", sa.Double(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_reservations")),
    )
    op.create_index("ix_reservations_book", "reservations", ["book", "state"], unique=False)


def _retraining_decisions() -> None:
    op.create_table(
        "retraining_decisions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("model", sa.String(length=48), nullable=False),
        sa.Column("triggers", JSON, nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_retraining_decisions")),
    )
    op.create_index(
        op.f("ix_retraining_decisions_at"), "retraining_decisions", ["at"], unique=False
    )


def _safety_policies() -> None:
    op.create_table(
        "safety_policies",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("policy", sa.String(length=24), nullable=False),
        sa.Column("overall", sa.String(length=16), nullable=False),
        sa.Column("targets", JSON, nullable=False),
        sa.Column("actions", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_safety_policies")),
    )
    op.create_index(op.f("ix_safety_policies_at"), "safety_policies", ["at"], unique=False)


def _universe_members() -> None:
    op.create_table(
        "universe_members",
        sa.Column("symbol", sa.String(length=48), nullable=False),
        sa.Column("inside", sa.Boolean(), nullable=False),
        sa.Column("streak", sa.Integer(), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("trades", sa.Integer(), nullable=False),
        sa.Column("wins", sa.Integer(), nullable=False),
        sa.Column("sum_r", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_universe_members")),
    )


def _universe_snapshots() -> None:
    op.create_table(
        "universe_snapshots",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("profile", sa.String(length=16), nullable=False),
        sa.Column("rebuilt_at", UtcDateTime(), nullable=False),
        sa.Column("selected", JSON, nullable=False),
        sa.Column("excluded", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_universe_snapshots")),
    )
    op.create_index(op.f("ix_universe_snapshots_at"), "universe_snapshots", ["at"], unique=False)


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("cycle_id", sa.String(length=36), nullable=False),
        sa.Column("symbol", sa.String(length=48), nullable=False),
        sa.Column("rule", sa.String(length=40), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("volatility", sa.Double(), nullable=False),
        sa.Column("take_profit", sa.Double(), nullable=False),
        sa.Column("stop_loss", sa.Double(), nullable=False),
        sa.Column("trail", sa.Double(), nullable=False),
        sa.Column("partial", sa.Double(), nullable=False),
        sa.Column("size", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cycle_id"], ["decision_cycles.id"], name=op.f("fk_decisions_cycle_id_decision_cycles")
        ),
        sa.PrimaryKeyConstraint("cycle_id", "symbol", name=op.f("pk_decisions")),
    )
    op.create_index("ix_decisions_rule", "decisions", ["rule"], unique=False)


def _model_aliases() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("artifact_id", sa.String(length=36), nullable=False),
        sa.Column("previous_id", sa.String(length=36), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"],
            ["model_artifacts.id"],
            name=op.f("fk_model_aliases_artifact_id_model_artifacts"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_model_aliases")),
    )
