-- The table that Telegraf fills (timescale.conf), and what one asks it. Runs on plain PostgreSQL 13 or newer too.
CREATE TABLE IF NOT EXISTS emotion_event (
    time           timestamptz NOT NULL,
    node           text NOT NULL,
    camera         text NOT NULL,
    type           text NOT NULL,
    emotion        text NOT NULL,
    seq            bigint NOT NULL,
    confidence     double precision NOT NULL,
    quality        double precision,
    latency_ms     double precision,
    track          text,
    track_duration double precision,
    replayed       boolean
);
CREATE INDEX IF NOT EXISTS emotion_event_node_seq ON emotion_event (node, seq);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        PERFORM create_hypertable('emotion_event', 'time', if_not_exists => true, migrate_data => true);
        PERFORM add_retention_policy('emotion_event', INTERVAL '90 days', if_not_exists => true);
    END IF;
END $$;

-- Delivery is at least once: each event once.
CREATE OR REPLACE VIEW emotion_events AS
SELECT DISTINCT ON (node, seq) * FROM emotion_event ORDER BY node, seq, time;

-- What never arrived: numbers that are missing between two that came.
CREATE OR REPLACE VIEW emotion_gaps AS
SELECT node, previous + 1 AS first_missing, seq - 1 AS last_missing, seq - previous - 1 AS missing, time AS noticed
FROM (SELECT node, seq, time, lag(seq) OVER (PARTITION BY node ORDER BY seq) AS previous FROM emotion_events) AS pairs
WHERE seq > previous + 1;

-- How visits went, by the hour: visits that ended, their mean length, and the emotion that was seen last most often.
CREATE OR REPLACE VIEW emotion_hours AS
SELECT date_trunc('hour', time) AS hour, node, camera, count(*) AS visits,
       avg(track_duration) AS mean_seconds, mode() WITHIN GROUP (ORDER BY emotion) AS usual_emotion
FROM emotion_events WHERE type = 'end' GROUP BY 1, 2, 3;
