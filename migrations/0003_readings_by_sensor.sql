-- GET /readings?sensor= and GET /sensors/{id}.
CREATE INDEX readings_by_sensor ON readings (sensor, measured_at, arrived_at);
