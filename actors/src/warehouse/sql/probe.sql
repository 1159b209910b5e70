-- A file of known rows, copied and read back before anything that matters is loaded.

-- name: Version
-- Asked alone: the leader node alone knows it, and refuses a question that is of a table, too.
SELECT VERSION() AS "version"

-- name: Known
-- Answers whether this file was read back right by a warehouse of this version.
SELECT 1 FROM {schema}."schema_versions" WHERE "statement" = {mark} LIMIT 1

-- name: Mark
-- Remembers it.
INSERT INTO {schema}."schema_versions" ("applied_at", "fingerprint", "statement")
SELECT GETDATE(), {digest}, {mark}

-- name: Read
-- Times by their microseconds, so that no way of writing them matters; texts by their length and their beginning: a row of
-- a result holds 64 KB at most.
SELECT
    "n",
    DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', "micros") AS "micros",
    DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', "millis") AS "millis",
    "word",
    OCTET_LENGTH("text") AS "text_bytes",
    SUBSTRING("text", 1, 40) AS "text",
    "number",
    "small",
    "whole",
    "flag"
FROM {stage}
ORDER BY "n"
