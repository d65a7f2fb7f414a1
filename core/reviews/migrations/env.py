"""Runs the migrations on the connection that ``core.reviews.database`` hands over."""

from alembic import context

from core.reviews.tables import Base

connection = context.config.attributes["connection"]
# SQLite changes tables by copying them.
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
