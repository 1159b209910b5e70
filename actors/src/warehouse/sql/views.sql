-- The zones of the lake as views, in DuckDB's SQL: for readers that open the files themselves.

-- name: View
CREATE OR REPLACE VIEW {name} AS
{rows}

-- name: Files
SELECT * FROM read_parquet({files}, hive_partitioning = true, hive_types = {{types}}, union_by_name = true)

-- name: PartType
{part}: INTEGER

-- name: Windows
-- What a shard has counted of a window has a row for each time that it was written; the highest revision holds. The
-- shards add up. The squared deviations are those within each part, and of the parts' means from the mean of all
-- (Chan, Golub and LeVeque 1979). The powers of two are those of windows.sql.
WITH parts AS (
    {files}
    QUALIFY ROW_NUMBER() OVER (
        PARTITION BY sensor_id, field, window_start, shard ORDER BY revision DESC, epoch DESC
    ) = 1
), whole AS (
    SELECT *,
        CASE
            WHEN count(*) OVER w = 1 THEN mean
            ELSE sum(count * (mean * 5.421010862427522e-20)) OVER w / sum(count) OVER w * 1.8446744073709552e19
        END AS whole_mean
    FROM parts
    WINDOW w AS (PARTITION BY sensor_id, field, window_start)
)
SELECT p.sensor_id, p.field, p.window_start,
    CAST(sum(p.revision) AS INTEGER) AS revision,
    CAST(sum(p.count) AS BIGINT) AS count,
    least(greatest(sum(p.sum), -1.7976931348623157e308), 1.7976931348623157e308) AS sum,
    min(p.min) AS min, max(p.max) AS max,
    any_value(p.whole_mean) AS mean,
    CASE
        WHEN count(*) = 1 THEN any_value(p.stddev)
        WHEN bool_or(
            p.count > 1 AND p.stddev IS NULL OR coalesce(p.stddev, 0) >= 1e145
            OR abs(p.mean * 0.5 - p.whole_mean * 0.5) >= 1e145
        ) THEN NULL
        WHEN sum(p.count) > 1 THEN sqrt(
            sum(
                coalesce(p.stddev * p.stddev * (p.count - 1), 0)
                + p.count * (p.mean - p.whole_mean) * (p.mean - p.whole_mean)
            ) / (sum(p.count) - 1)
        )
    END AS stddev,
    first(p.first ORDER BY p.first_time, p.shard) AS first,
    last(p.last ORDER BY p.last_time, p.shard) AS last,
    min(p.shard) AS shard, max(p.epoch) AS epoch, min(p.first_time) AS first_time, max(p.last_time) AS last_time,
    count(*) AS shards
    {parts}
FROM whole p
GROUP BY p.sensor_id, p.field, p.window_start

-- name: PartOfWindow
, any_value(p.{part}) AS {part}
