-- no-transaction
-- requires: 0005
/* a */
CREATE INDEX CONCURRENTLY a ON b (c);
