-- The extension rds_tools of RDS, as far as an RDS Multi-AZ DB cluster needs it. PostgreSQL lets files of
-- extensions lie in its own folders only, which need root: so the row is entered by hand, and the functions
-- are made members of the extension. DROP EXTENSION rds_tools takes them away, as on RDS.
CREATE SCHEMA rds_tools;

CREATE FUNCTION rds_tools.dbi_resource_id() RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT t.resource_id FROM local_cluster.topology() AS t WHERE t.server_id = current_setting('cluster_name')
$$;

CREATE FUNCTION rds_tools.multi_az_db_cluster_source_dbi_resource_id() RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT t.resource_id FROM local_cluster.topology() AS t
  WHERE t.writer OR t.listed_writer ORDER BY t.writer DESC LIMIT 1
$$;

CREATE FUNCTION rds_tools.show_topology(client text DEFAULT NULL)
RETURNS TABLE (id text, endpoint text, port int)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT t.resource_id, t.endpoint, t.port FROM local_cluster.topology() AS t
$$;

INSERT INTO pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
  SELECT max(oid)::bigint + 1, 'rds_tools', current_user::regrole, 'rds_tools'::regnamespace, false, '1.9'
  FROM pg_catalog.pg_extension;
ALTER EXTENSION rds_tools ADD FUNCTION rds_tools.dbi_resource_id();
ALTER EXTENSION rds_tools ADD FUNCTION rds_tools.multi_az_db_cluster_source_dbi_resource_id();
ALTER EXTENSION rds_tools ADD FUNCTION rds_tools.show_topology(text);

-- On RDS too, an ordinary user needs grants for the schema and its functions.
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA rds_tools FROM PUBLIC;
GRANT USAGE ON SCHEMA rds_tools TO {user};
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA rds_tools TO {user};
