"""Ways to segment: the contract, our own model and the systems that it is compared with."""
