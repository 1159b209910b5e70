-- What the transactions of loads and of metadata have in common.

-- name: Lock
-- Transactions of the loader run one after the other, and each sees what the one before has done: the snapshot of a
-- transaction begins with its first read, not with the lock.
LOCK {schema}."load_ledger"

-- name: Fresh
-- Answers whether this was new: 1 if it was, 0 if it had been done before and nothing has changed.
SELECT COUNT(*) AS "fresh" FROM "load_guard"

-- name: Stage
-- A temporary table with exactly the columns of the files: COPY takes columns by place.
CREATE TEMP TABLE {stage} (
    {columns}
)

-- name: StageBySensor
-- Spread as the tables that it is joined with: the rows of a sensor meet where they lie.
CREATE TEMP TABLE {stage} (
    {columns}
)
DISTSTYLE KEY DISTKEY ("sensor_id")

-- name: StageColumn
{name} {kind}

-- name: SinceEpoch
-- A time by its microseconds since 1970, in days, seconds and microseconds: DATEADD takes an INTEGER. Before 1970 all three
-- are negative.
DATEADD(
        microsecond, CAST({us} % 1000000 AS INTEGER),
        DATEADD(
            second, CAST({us} / 1000000 % 86400 AS INTEGER),
            DATEADD(day, CAST({us} / 86400000000 AS INTEGER), TIMESTAMP '1970-01-01 00:00:00')
        )
    )

-- name: Copy
-- The files of a manifest. It lies in the bucket and never changes.
COPY {stage}
FROM {from}
IAM_ROLE {role}
FORMAT AS {format} MANIFEST

-- name: Parquet
PARQUET

-- name: Json
JSON 'auto'

-- name: GzippedJson
JSON 'auto' GZIP
