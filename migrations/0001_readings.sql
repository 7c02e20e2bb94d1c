-- What sensors measured. The same file serves SQLite and Postgres, so an id is text and a time is
-- the number of microseconds since 1970 in UTC.
CREATE TABLE readings (
    id          TEXT             NOT NULL PRIMARY KEY,
    sensor      TEXT             NOT NULL,
    value       DOUBLE PRECISION NOT NULL,
    measured_at BIGINT           NOT NULL,
    arrived_at  BIGINT           NOT NULL
);
