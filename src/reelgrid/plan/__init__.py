"""Planning: prediction, demand, offers and simulation, without torch and without a network."""
