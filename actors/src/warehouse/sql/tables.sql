-- How tables are brought up to the event schema. What makes one is written column by column, in tables.rs.

-- name: HasNamespace
-- Answers whether the schema is there: making one needs a right that somebody who finds one made does not have.
SELECT schema_name FROM svv_all_schemas WHERE database_name = CURRENT_DATABASE() AND schema_name = {namespace}

-- name: CreateNamespace
CREATE SCHEMA IF NOT EXISTS {schema}

-- name: Columns
-- Answers which columns every table of the schema has.
SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
FROM information_schema.columns
WHERE table_schema = {namespace}
ORDER BY table_name, ordinal_position

-- name: Record
-- Remembers a change.
INSERT INTO {schema}."schema_versions" ("applied_at", "fingerprint", "statement")
SELECT GETDATE(), {fingerprint}, {statement}

-- name: AddColumn
-- The rows that are there have no value for it.
ALTER TABLE {table} ADD COLUMN {name} {kind}

-- name: Widen
ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}

-- name: Keep
-- A warehouse from before the table that another is made of has its rows in that other one alone.
INSERT INTO {source} (
    {columns}
)
SELECT
    {columns}
FROM {table}
WHERE NOT EXISTS (SELECT 1 FROM {source})
