-- What every flavour with metadata builds on: the topology file, as this server shall see it.
-- {folder} is the folder of the topology files.
CREATE SCHEMA local_cluster;

-- A server with a file of its own answers from it as it stands. Otherwise the shared file holds, except that
-- a server never errs about itself: not in recovery, it is the writer; in recovery, it is not.
CREATE FUNCTION local_cluster.topology()
RETURNS TABLE (server_id text, resource_id text, endpoint text, port int, writer bool, listed_writer bool, seen timestamptz)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
  WITH own AS (
    SELECT current_setting('cluster_name') AS id,
           pg_read_file('{folder}/' || current_setting('cluster_name') || '.json', 0, 1000000, true) AS text
  )
  SELECT t.server_id, t.resource_id, t.endpoint, t.port,
         CASE WHEN own.text IS NOT NULL THEN t.writer
              WHEN NOT pg_is_in_recovery() THEN t.server_id = own.id
              ELSE t.writer AND t.server_id <> own.id END,
         t.writer,
         coalesce(to_timestamp(t.seen), clock_timestamp())
  FROM own, json_to_recordset(coalesce(own.text, pg_read_file('{folder}/topology.json'))::json)
       AS t (server_id text, resource_id text, endpoint text, port int, writer bool, seen float8)
$$;

-- A parameter with a dot that no library defines is missing in pg_settings; on RDS this one is there.
SET allow_system_table_mods = on;
CREATE OR REPLACE VIEW pg_catalog.pg_settings AS
  SELECT * FROM pg_show_all_settings()
  UNION ALL
  SELECT 'rds.extensions', current_setting('rds.extensions', true), NULL, 'Customized Options',
         'List of extensions provided by RDS', NULL, 'postmaster', 'string', 'configuration file', NULL, NULL, NULL,
         current_setting('rds.extensions', true), current_setting('rds.extensions', true), NULL, NULL, false;
RESET allow_system_table_mods;
