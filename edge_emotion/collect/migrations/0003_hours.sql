-- Histograms of the faces of each hour (UTC) and camera, as nodes report them in stats; bins in docs/reference/mqtt.md.
CREATE TABLE emotion_hour (
    hour        TIMESTAMPTZ NOT NULL,
    prefix      TEXT NOT NULL,
    node        TEXT NOT NULL,
    camera      TEXT NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    faces       BIGINT NOT NULL,
    confidence  JSON NOT NULL,
    quality     JSON NOT NULL,
    size        JSON NOT NULL,
    score       JSON NOT NULL,
    emotions    JSON NOT NULL,
    PRIMARY KEY (prefix, node, camera, hour)
);
