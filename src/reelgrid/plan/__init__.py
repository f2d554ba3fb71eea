"""What would it take: prediction, demand, offers and simulation. No torch, no network."""
