"""Alembic's entry: runs the steps on the connection that `twinlock.server.db.migrate` brings."""

from __future__ import annotations

from alembic import context

from twinlock.server.db.schema import metadata

if hasattr(context, "config"):  # false where a tool only imports every module
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()
