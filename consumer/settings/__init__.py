"""Settings: their models, the layers they come from (file, environment, flags), and their error messages."""
