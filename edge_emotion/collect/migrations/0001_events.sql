-- Events as they came; the key keeps out what is delivered twice. Runs on PostgreSQL 13 or newer and on DuckDB.
CREATE TABLE emotion_event (
    prefix         TEXT NOT NULL,
    node           TEXT NOT NULL,
    seq            BIGINT NOT NULL,
    id             TEXT NOT NULL,
    ts             TIMESTAMPTZ NOT NULL,
    received_at    TIMESTAMPTZ NOT NULL,
    camera         TEXT NOT NULL,
    zone           TEXT,
    type           TEXT NOT NULL,
    emotion        TEXT NOT NULL,
    previous       TEXT,
    reason         TEXT,
    confidence     DOUBLE PRECISION NOT NULL,
    probabilities  JSON NOT NULL,
    quality        DOUBLE PRECISION NOT NULL,
    latency_ms     DOUBLE PRECISION NOT NULL,
    track          TEXT NOT NULL,
    track_started  TIMESTAMPTZ NOT NULL,
    track_duration DOUBLE PRECISION NOT NULL,
    box_x          DOUBLE PRECISION NOT NULL,
    box_y          DOUBLE PRECISION NOT NULL,
    box_width      DOUBLE PRECISION NOT NULL,
    box_height     DOUBLE PRECISION NOT NULL,
    model          TEXT NOT NULL,
    model_version  TEXT NOT NULL,
    replayed       BOOLEAN NOT NULL,
    -- A node that has lost its counter begins again with 1: other ids. Hypertables need the time in the key.
    PRIMARY KEY (prefix, node, seq, id, ts)
);

-- Numbers that are missing between two that came. A run ends where the node has lost its counter: a further number 1.
CREATE VIEW emotion_gaps AS
WITH counted AS (
    SELECT prefix, node, seq, received_at,
           sum(CASE WHEN seq = 1 THEN 1 ELSE 0 END)
               OVER (PARTITION BY prefix, node ORDER BY received_at, seq ROWS UNBOUNDED PRECEDING) AS firsts
    FROM emotion_event
), pairs AS (
    SELECT prefix, node, seq, received_at, greatest(firsts, 1) AS run,
           lag(seq) OVER (PARTITION BY prefix, node, greatest(firsts, 1) ORDER BY seq) AS previous
    FROM counted
)
SELECT prefix, node, CAST(run AS BIGINT) AS run, previous + 1 AS first_missing, seq - 1 AS last_missing,
       seq - previous - 1 AS missing, received_at AS noticed
FROM pairs WHERE seq > previous + 1;
