-- Sums of each day (UTC), node, camera and emotion. They are kept when old events are deleted.
CREATE TABLE emotion_day (
    day            DATE NOT NULL,
    prefix         TEXT NOT NULL,
    node           TEXT NOT NULL,
    camera         TEXT NOT NULL,
    emotion        TEXT NOT NULL,
    starts         BIGINT NOT NULL,
    changes        BIGINT NOT NULL,
    ends           BIGINT NOT NULL,
    visit_seconds  DOUBLE PRECISION NOT NULL,
    confidence_sum DOUBLE PRECISION NOT NULL,
    quality_sum    DOUBLE PRECISION NOT NULL,
    latency_ms_sum DOUBLE PRECISION NOT NULL,
    latency_ms_max DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (day, prefix, node, camera, emotion)
);
INSERT INTO emotion_day
SELECT CAST(ts AT TIME ZONE 'UTC' AS DATE), prefix, node, camera, emotion,
       sum(CASE WHEN type = 'start' THEN 1 ELSE 0 END), sum(CASE WHEN type = 'change' THEN 1 ELSE 0 END),
       sum(CASE WHEN type = 'end' THEN 1 ELSE 0 END), sum(CASE WHEN type = 'end' THEN track_duration ELSE 0 END),
       sum(confidence), sum(quality), sum(latency_ms), max(latency_ms)
FROM emotion_event GROUP BY 1, 2, 3, 4, 5;
