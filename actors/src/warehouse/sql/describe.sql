-- Metadata: what is in force, and the transaction that puts another content in force.
-- "load_metadata" holds the rows about sensors as the table has them, "load_sensors" the sensors of which the content says
-- anything else than the one before.

-- name: InForce
-- Answers which content is in force.
SELECT "number", "digest", "stream", "sensors" + "locations" AS "known"
FROM {schema}."metadata_versions"
ORDER BY "number" DESC
LIMIT 1

-- name: Guard
-- One row if the content is new, none if it, or a newer one, is in force. Every write is joined with it.
CREATE TEMP TABLE "load_guard" AS
SELECT "x"."ok"
FROM (SELECT 1 AS "ok") "x"
WHERE NOT EXISTS (SELECT 1 FROM {schema}."metadata_versions" WHERE "number" >= {number})

-- name: Rows
-- The rows about sensors as the table has them.
CREATE TEMP TABLE "load_metadata" AS
SELECT
    {values}
FROM "stg_sensor_metadata"

-- name: ValidFrom
NVL({from}, TIMESTAMP '0001-01-01 00:00:00') AS {name}

-- name: Touched
-- The sensors of which it says anything else than the content before.
CREATE TEMP TABLE "load_sensors" AS
SELECT "sensor_id" FROM (
    SELECT {columns} FROM "load_metadata"
    EXCEPT
    SELECT {columns} FROM {schema}."sensor_metadata"
) "x"
UNION
SELECT "sensor_id" FROM (
    SELECT {columns} FROM {schema}."sensor_metadata"
    EXCEPT
    SELECT {columns} FROM "load_metadata"
) "x"

-- name: ForgetSensors
-- What it says of them takes the place of what was said before.
DELETE FROM {schema}."sensor_metadata"
USING "load_sensors" "t", "load_guard" "g"
WHERE "sensor_metadata"."sensor_id" = "t"."sensor_id"

-- name: Sensors
-- What it says of them.
INSERT INTO {schema}."sensor_metadata" (
    {columns}
)
SELECT
    {values}
FROM "load_metadata" "s"
JOIN "load_sensors" "t" ON "t"."sensor_id" = "s"."sensor_id"
CROSS JOIN "load_guard" "g"

-- name: Clear
-- All rows give way to the staged ones.
DELETE FROM {table} WHERE (SELECT COUNT(*) FROM "load_guard") = 1

-- name: Fill
-- The staged rows.
INSERT INTO {table} (
    {columns}
)
SELECT
    {values}
FROM {staged} "s", "load_guard" "g"

-- name: Version
-- From here on it is in force.
INSERT INTO {schema}."metadata_versions" (
    "number", "digest", "stream", "sensors", "locations", "refused", "applied_at"
)
SELECT {number}, {digest}, {stream}, {sensors}, {locations}, {refused}, GETDATE()
FROM "load_guard"
