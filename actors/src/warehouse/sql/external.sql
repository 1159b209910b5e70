-- The cleansed zone as an external table: Redshift Spectrum reads the files where they lie.

-- name: CreateNamespace
CREATE EXTERNAL SCHEMA IF NOT EXISTS {namespace}
FROM DATA CATALOG DATABASE {database}
IAM_ROLE {role}
CREATE EXTERNAL DATABASE IF NOT EXISTS

-- name: Create
-- Sent as it is laid out here: by its text it is known whether the table was last made so.
CREATE EXTERNAL TABLE {table} (
  {columns}
) PARTITIONED BY ({parts}) STORED AS PARQUET LOCATION {location}

-- name: Column
{name} {kind}

-- name: Part
{name} INTEGER

-- name: Drop
-- The files stay.
DROP TABLE IF EXISTS {table}

-- name: Exists
-- Answers whether the table is there.
SELECT tablename FROM svv_external_tables WHERE schemaname = {namespace} AND tablename = {table}

-- name: Made
-- Answers by which statements external tables were made, the last one last. A row of a result holds 64 KB at most.
SELECT SUBSTRING("statement", 1, 60000) AS "statement"
FROM {schema}."schema_versions"
WHERE "statement" LIKE 'CREATE EXTERNAL TABLE %'
ORDER BY "applied_at"

-- name: Add
-- Registers folders; twice is as once.
ALTER TABLE {table} ADD IF NOT EXISTS
    {partitions}

-- name: Partition
PARTITION ({values}) LOCATION {url}

-- name: Value
{name}={value}
