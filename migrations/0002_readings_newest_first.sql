-- GET /readings without a sensor.
CREATE INDEX readings_newest_first ON readings (measured_at, arrived_at);
