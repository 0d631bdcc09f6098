"""Alembic's door into the ledger: runs the migrations on the connection that the opening hands over."""

from alembic import context

from gateway.ledger.schema import metadata

# The transaction, and the lock around it, belong to gateway.ledger.opening: all of a migration or none.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
