-- The functions of Aurora PostgreSQL that clients ask, in the schema where Aurora has them.
CREATE FUNCTION pg_catalog.aurora_version() RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) || '.1'
$$;

CREATE FUNCTION pg_catalog.aurora_db_instance_identifier() RETURNS text
LANGUAGE sql STABLE AS $$ SELECT pg_catalog.current_setting('cluster_name') $$;

CREATE FUNCTION pg_catalog.aurora_replica_status()
RETURNS TABLE (
  server_id text, session_id text, durable_lsn bigint, highest_lsn_rcvd bigint, current_read_lsn bigint,
  cur_replay_latency_in_usec bigint, active_txns bigint, is_current boolean, last_transport_error bigint,
  last_error_timestamp timestamptz, last_update_timestamp timestamptz, feedback_xmin bigint, feedback_epoch bigint,
  replica_lag_in_msec double precision, log_stream_speed_in_kib_per_second double precision,
  log_buffer_sequence_number bigint, oldest_read_view_trx_id bigint, oldest_read_view_lsn bigint,
  pending_read_ios bigint, read_ios bigint, iops bigint, cpu double precision
)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT t.server_id,
         CASE WHEN t.writer THEN 'MASTER_SESSION_ID' ELSE md5(t.resource_id)::uuid::text END,
         0, CASE WHEN NOT t.writer THEN 0 END, CASE WHEN NOT t.writer THEN 0 END,
         CASE WHEN NOT t.writer THEN 20000 END, 0, true, 0,
         NULL::timestamptz, t.seen, CASE WHEN NOT t.writer THEN 0 END, CASE WHEN NOT t.writer THEN 0 END,
         -- Aurora has no lag for its writer.
         CASE WHEN NOT t.writer THEN 20.0::float8 END, CASE WHEN NOT t.writer THEN 0.0::float8 END,
         0, 0, 0, 0, 0, 0, CASE WHEN t.writer THEN 9.5::float8 ELSE 4.25::float8 END
  FROM local_cluster.topology() AS t
$$;
