"""The cheapest GPU offers to lease for a demand."""
