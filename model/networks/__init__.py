"""The networks. Their configurations (:mod:`model.networks.configs`) need no torch; everything else here does."""
