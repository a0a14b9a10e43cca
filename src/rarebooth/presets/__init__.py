"""Settings for bases that want other values than the papers': one TOML file a base."""
