"""One file per experiment; each returns a :class:`jssm.config.Config`."""
