"""The steps from every released schema to the present one, run by Alembic when the server starts."""
